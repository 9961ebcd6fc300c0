"""A client of the stream of hand forecasts, and the answers of POST to compare with."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketTestSession

from service.tasks.hands.stream.messages import HEADER

from ...exchange import HANDS_URL

URL = f"{HANDS_URL}/stream"
AT = [1 / 30, 0.05, 0.5]
FPS = 30


def frame(points: np.ndarray, **fields: Any) -> dict[str, Any]:
    """Return a frame of two hands, (2 joints, 3), as JSON has it."""
    left, right = np.split(points, 2)
    return {"left": left.tolist(), "right": right.tolist(), **fields}


def numbered(points: np.ndarray) -> list[dict[str, Any]]:
    return [frame(pose, number=number) for number, pose in enumerate(points)]


@contextmanager
def opened(client: TestClient, **settings: Any) -> Iterator[WebSocketTestSession]:
    """Open a stream; its first answer must be `ready`."""
    with client.websocket_connect(URL) as stream:
        stream.send_json({"fps": FPS, "at": AT, **settings})
        ready = stream.receive_json()
        assert ready["kind"] == "ready", ready
        yield stream


def answers(stream: WebSocketTestSession, frames: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send frames one after the other; return the answer to each."""
    received = []
    for message in frames:
        stream.send_json(message)
        received.append(stream.receive_json())
    return received


def raw_answer(stream: WebSocketTestSession, number: int, points: np.ndarray) -> dict[str, Any]:
    stream.send_bytes(HEADER.pack(number, 0, math.nan) + points.tobytes())
    return dict(stream.receive())


def last_answer(client: TestClient, frames: Sequence[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    with opened(client, **settings) as stream:
        answer = answers(stream, frames)[-1]
    assert answer["kind"] == "forecast", answer
    return answer


def posted(client: TestClient, left: Any, right: Any, **options: Any) -> dict[str, Any]:
    response = client.post(HANDS_URL, json={"fps": FPS, "at": AT, "left": left, "right": right, **options})
    assert response.status_code == 200, response.text
    return response.json()


def assert_same_hands(got: dict[str, Any], expected: dict[str, Any], atol: float = 2e-6) -> None:
    for side in ("left", "right"):
        if expected[side] is None:
            assert got[side] is None
        else:
            np.testing.assert_allclose(got[side], expected[side], atol=atol)
