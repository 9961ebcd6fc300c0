"""Common requests of tests, and the check of a problem response."""

import io

import numpy as np
import pytest
from clouds import bumpy_cloud
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from service.http.problems import KINDS, MEDIA_TYPE

HANDS_URL, FACE_URL = "/forecast/hands", "/landmarks/face"
NPY = "application/x-npy"
CLOUD = 0.7 * bumpy_cloud(3000)


def npy(points: np.ndarray) -> bytes:
    """Return the content of a .npy file."""
    np.save(file := io.BytesIO(), points)
    return file.getvalue()


def refusal_of(client: TestClient, path: str, kind: str, **options) -> dict:
    """Check that a WebSocket is refused before it is open, with a problem of `kind`; return it."""
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path, **options):
        pass
    return problem_of(refused.value, kind)


def problem_of(response, kind: str) -> dict:
    """Check that a response is a well-formed problem of `kind`; return it."""
    assert response.headers["content-type"] == MEDIA_TYPE, response.text
    problem = response.json()
    assert problem["type"] == f"/problems/{kind}", problem
    assert response.status_code == problem["status"] == KINDS[kind].status
    assert problem["title"] == KINDS[kind].title
    assert problem["instance"] == f"urn:chiron:request:{response.headers['x-request-id']}"
    assert len(response.content) < 1000, "expected a problem that does not echo its request"
    for error in problem["errors"]:
        assert set(error) == {"pointer", "detail"}
    return problem
