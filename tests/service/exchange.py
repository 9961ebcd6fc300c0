"""Common requests of tests, and the check of a problem response."""

import io

import numpy as np
from clouds import bumpy_cloud

from service.http.problems import KINDS, MEDIA_TYPE

HANDS_URL, FACE_URL = "/forecast/hands", "/landmarks/face"
NPY = "application/x-npy"
CLOUD = 0.7 * bumpy_cloud(3000)


def npy(points: np.ndarray) -> bytes:
    """Return the content of a .npy file."""
    np.save(file := io.BytesIO(), points)
    return file.getvalue()


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
