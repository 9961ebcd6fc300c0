"""Tests of a tracker of 90 Hz that hides its latency: the shipped forecaster of 0.2 s, asked for by name in a stream of raw frames."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands

from service.app import create_app
from service.settings import Settings

from .streams import assert_same_hands, opened, posted, raw_answer

SHIPPED = Path(__file__).resolve().parents[4] / "bundles"
MODELS = ("hands-forecast", "hands-latency")
AT = [0.033, 0.067, 0.1]
RATE = 90


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("shipped")
    for name in MODELS:
        shutil.copytree(SHIPPED / name, folder / name)
    with TestClient(create_app(Settings(bundles=folder)), raise_server_exceptions=False) as client:
        yield client


def test_a_stream_of_raw_frames_gets_the_answer_of_post(shipped):
    pair = moving_hands(60, hands=2).astype("<f4")
    expected = posted(shipped, pair[:, :21].tolist(), pair[:, 21:].tolist(), fps=RATE, at=AT, model="hands-latency")
    assert expected["model"]["name"] == "hands-latency"
    with opened(shipped, fps=RATE, at=AT, model="hands-latency", form="raw") as stream:
        content = b""
        for number, pose in enumerate(pair):
            message = raw_answer(stream, number, pose)
            content = message.get("bytes") or content
    points = np.frombuffer(content, "<f4", offset=16).reshape(len(AT), 2, 21, 3)
    assert_same_hands({"left": points[:, 0], "right": points[:, 1]}, expected)


def test_a_request_that_names_no_model_gets_the_forecaster_that_reaches_a_second(shipped):
    pair = moving_hands(60, hands=2)
    for options in ({"at": AT}, {"at": None, "horizon": 0.1}, {"at": None}):
        answer = posted(shipped, pair[:, :21].tolist(), pair[:, 21:].tolist(), fps=RATE, **options)
        assert answer["model"]["name"] == "hands-forecast"


def test_a_time_that_it_does_not_reach_is_refused_with_its_horizon(shipped):
    pair = moving_hands(60, hands=2)
    body = {"left": pair[:, :21].tolist(), "right": pair[:, 21:].tolist(), "fps": RATE, "at": [0.3]}
    response = shipped.post("/forecast/hands", json={**body, "model": "hands-latency"})
    assert response.status_code == 422
    assert "0.2 s, the horizon of hands-latency" in response.text
