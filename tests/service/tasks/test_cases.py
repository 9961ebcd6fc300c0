"""Tests of realistic faulty requests to the shipped models: they are answered correctly or refused with the reason."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

from ..exchange import problem_of

CHECKOUT = Path(__file__).resolve().parents[3]
CASES = CHECKOUT / "tests" / "cases"
REFUSED = {
    "03a": ("/forecast/hands", "implausible", "got 169 m read in m; it would fit in mm"),
    "03b": ("/poses/lift", "implausible", "multiplied by the image's width and height"),
    "03c": ("/actions/recognize", "implausible", "got 1.61 km read in m; it would fit in mm"),
    "03e": ("/actions/recognize", "implausible", "axes=camera"),
    "09": ("/forecast/hands", "implausible", "the points fit mano-smplx"),
    "11": ("/forecast/hands", "malformed-body", "send null for what was not seen"),
}


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(Settings(bundles=CHECKOUT / "bundles"))) as client:
        yield client


def post(client, path: str, case: str, **changes):
    content = (CASES / f"{case}.json").read_bytes()
    for old, new in changes.items():
        content = content.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
    return client.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("case", REFUSED)
def test_an_implausible_request_is_refused_with_the_reason(client, case):
    path, kind, text = REFUSED[case]
    assert text in problem_of(post(client, path, case), kind)["detail"]


def test_a_clip_in_manos_original_order_has_its_own_name(client):
    answer = post(client, "/forecast/hands", "09", mano="mano-smplx")
    assert answer.status_code == 200
    assert answer.json()["joints"] == "mano-smplx"


def test_frames_with_a_hand_of_zeros_are_interpolated(client):
    answer = post(client, "/forecast/hands", "05a")
    assert answer.status_code == 200
    assert answer.json()["filled_frames"] == 4


def test_two_joints_at_zero_are_missing(client):
    body = json.loads((CASES / "05d.json").read_bytes())
    nulls = [[None if point == [0, 0] else point for point in frame] for frame in body["keypoints"]]
    assert nulls != body["keypoints"]
    answer, expected = (
        client.post("/poses/lift", json={**body, "keypoints": sent}) for sent in (body["keypoints"], nulls)
    )
    assert answer.status_code == 200
    assert answer.json() == expected.json()


def test_a_webxr_hand_of_zeros_is_null(client):
    answer = post(client, "/forecast/hands", "10")
    assert answer.status_code == 200
    assert answer.json()["joints"] == "webxr"
    assert answer.json()["right"] is None


def test_a_score_above_one_is_clipped_and_counted(client):
    answer = post(client, "/poses/lift", "12")
    assert answer.status_code == 200
    assert answer.json()["clipped_confidences"] >= 1


def test_integral_floats_are_accepted_as_image_sizes(client):
    assert post(client, "/poses/lift", "13").status_code == 200
