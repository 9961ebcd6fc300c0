"""Tests of invalid requests about bodies: each problem states expected and actual values."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.skeletons.body_orders import BODIES
from service.http.problems import MEDIA_TYPE

from ...conftest import moving_body
from ...damage import damaged
from ...exchange import problem_of
from ..hands.test_endpoint import MSGPACK, NPY, npy
from .test_endpoint import ACTIONS, CLIP, FORECAST, LIFT, LIFTED, PAST

FLAT = np.round(moving_body(12, 2), 2).tolist()
DEEP = np.round(moving_body(12, 3) / 1000, 4).tolist()
PAIRS = {"joints": "coco-17", "model": "actions-pairs"}


def changed(frames: list, index: tuple[int, ...], value: object) -> list:
    """Return the clip with one frame, keypoint or number replaced."""
    copy = json.loads(json.dumps(frames))
    place = copy
    for i in index[:-1]:
        place = place[i]
    place[index[-1]] = value
    return copy


def lift(frames: Any = FLAT, **fields: object) -> dict:
    return {**LIFTED, "keypoints": frames, **fields}


def past(frames: Any = FLAT, **fields: object) -> dict:
    return {**PAST, "past": frames, **fields}


def clip(frames: Any = DEEP, **fields: object) -> dict:
    return {**CLIP, "clip": frames, **fields}


def without(body: dict, *names: str) -> dict:
    return {name: value for name, value in body.items() if name not in names}


ERRORS: dict[str, tuple[str, object, str, str]] = {  # path, body, kind of problem, text in it
    "nothing": (LIFT, b"", "malformed-body", "expected a body, got none"),
    "NaN": (LIFT, b'{"keypoints": [[[NaN, 1]]]}', "malformed-body", ""),
    "1e400": (FORECAST, json.dumps(past()).replace(str(FLAT[3][4][1]), "1e400", 1).encode(), "invalid-request", "range"),
    "deep": (ACTIONS, b'{"clip":' + b"[" * 100_000, "invalid-request", "/clip/0/0/0"),
    "no joints": (LIFT, without(lift(), "joints"), "invalid-request", "`joints`"),
    "no image": (LIFT, without(lift(), "image"), "invalid-request", "`image`"),
    "no fps": (FORECAST, without(past(), "fps"), "invalid-request", "`fps`"),
    "image of nothing": (LIFT, lift(image=[0, 100]), "invalid-request", "/image/0"),
    "image of three": (LIFT, lift(image=[10, 100, 3]), "invalid-request", "/image"),
    "misspelt field": (LIFT, lift(unit="mm"), "invalid-request", "`unit`"),
    "hands": (FORECAST, past(left=FLAT), "invalid-request", "`left`"),
    "no clip": (LIFT, without(lift(), "keypoints"), "invalid-request", "expected one of keypoints, persons, clips, got none"),
    "two clips": (LIFT, lift(clips=[FLAT]), "invalid-request", "got keypoints, clips"),
    "no clips": (LIFT, {**without(lift(), "keypoints"), "clips": []}, "wrong-shape", "/clips: expected at least one"),
    "many clips": (LIFT, {**without(lift(), "keypoints"), "clips": [[None]] * 257}, "invalid-request", "/clips"),
    "no frames": (LIFT, lift([]), "too-few-frames", "/keypoints: expected at least one frame"),
    "a clip of no frames": (FORECAST, {**PAST, "clips": [FLAT, []]}, "too-few-frames", "/clips/1"),
    "empty frames": (LIFT, lift([[]] * 3), "wrong-shape", "/keypoints"),
    "16 joints": (LIFT, lift([f[:16] for f in FLAT]), "wrong-shape", "[frames][17] keypoints in h36m-17 order, got [12][16]"),
    "18 joints by order": (FORECAST, past(joints="openpose-18"), "wrong-shape", "[frames][18]"),
    "a frame short of a joint": (LIFT, lift(changed(FLAT, (7,), FLAT[0][:16])), "wrong-shape", "/keypoints/7: expected 17 joints"),
    "one number": (LIFT, lift(changed(FLAT, (7, 2), [1])), "invalid-request", "/keypoints/7/2"),
    "four numbers": (LIFT, lift(changed(FLAT, (7, 2), [1, 2, 1, 1])), "invalid-request", "/keypoints/7/2"),
    "null number": (LIFT, lift(changed(FLAT, (7, 2), [1, None])), "invalid-request", "/keypoints/7/2/1"),
    "true": (FORECAST, past(changed(FLAT, (7, 2), [1, True])), "invalid-request", "/past/7/2/1: Expected `float`, got `bool`"),
    "two numbers in 3D": (ACTIONS, clip(changed(DEEP, (7, 2), [1, 2])), "wrong-shape", "/clip/7/2: expected 3 coordinates"),
    "four numbers in 2D": (ACTIONS, {**PAIRS, "clip": changed(FLAT, (7, 2), [1, 2, 3, 1])}, "wrong-shape", "/clip/7/2: expected 2"),
    "confidence above": (LIFT, lift(changed(FLAT, (7, 2), [1, 2, 15])), "out-of-range", "2/2: expected a confidence from 0 to 1"),
    "confidence below": (FORECAST, past(changed(FLAT, (7, 2), [1, 2, -0.1])), "out-of-range", "/past/7/2/2"),
    "a pixel tall": (LIFT, lift([[[x / 1000, y / 1000] for x, y in frame] for frame in FLAT]), "implausible", "width and height"),
    "a kilometre tall": (ACTIONS, clip([[[100 * x for x in point] for point in frame] for frame in DEEP]), "implausible",
                         "it would fit in cm"),
    "one point": (FORECAST, past([[[5, 6]] * 17] * 12), "implausible", "all joints at one point"),
    "a pelvis alone": (ACTIONS, clip([[frame[0], *[None] * 16] for frame in DEEP]), "implausible", "6 joints of a person or more"),
    "an arm alone": (LIFT, lift([[None] * 14 + frame[14:] for frame in FLAT]), "implausible", "in most frames, got 3"),
    "upside down": (ACTIONS, clip([[[x, -y, -z] for x, y, z in frame] for frame in DEEP]), "implausible", "axes=camera"),
    "per cent": (ACTIONS, clip(changed(DEEP, (7, 2), [1, 2, 3, 99])), "out-of-range", "/clip/7/2/3"),
    "off the image": (LIFT, lift(changed(FLAT, (7, 2), [12000, 3])), "out-of-range", "/keypoints/7/2/0: expected at most 10 image widths"),
    "far": (FORECAST, past(changed(FLAT, (7, 2), [3, -1e300])), "out-of-range", "/past/7/2/1"),
    "millimetres as metres": (ACTIONS, clip(changed(DEEP, (7, 2), [3, 1001, 3])), "out-of-range", "expected at most 1000 m"),
    "too few": (FORECAST, past(FLAT[:5]), "too-few-frames", "at least 10 frames at 10 fps, since poses-onwards"),
    "too few at 60": (FORECAST, past(fps=60), "too-few-frames", "at least 55 frames at 60 fps"),
    "nobody": (LIFT, lift([None] * 5), "gap-too-long", "/keypoints: expected a person"),
    "nobody sure": (FORECAST, past([[[1, 2, 0]] * 17] * 12), "gap-too-long", "/past: expected a person"),
    "gone": (FORECAST, {**PAST, "fps": 5, "past": FLAT + [None] * 10}, "gap-too-long", "joints that poses-onwards knows in its past"),
    "no joint the model has": (
        FORECAST, past([[[1, 2], *[None] * 16]] * 12, joints="coco-17"), "gap-too-long", "expected joints of h36m-17 bodies"
    ),
    "no confidence, no joints": (LIFT, lift(joints="coco-17", model="lift-sure"), "missing-joints", "expects spine, head_base, head_top"),
    "no confidence, no wrist": (
        LIFT, lift(changed(FLAT, (11, 13), None), model="lift-sure"), "gap-too-long", "expects left_wrist in every frame"
    ),
    "no confidence, no head": (
        FORECAST, past([[None] * 5 + f[5:] for f in FLAT], joints="coco-17", model="poses-sure"), "gap-too-long", "expects head in every"
    ),
    "no pelvis": (
        ACTIONS, clip([[None] * 7 + frame[7:] for frame in DEEP]), "gap-too-long", "/clip: actions-3d measures from"
    ),
    "persons of two lengths": (ACTIONS, {**PAIRS, "persons": [FLAT, FLAT[:3]]}, "wrong-shape", "got 3, 12"),
    "top of none": (ACTIONS, clip(top=0), "invalid-request", "/top"),
    "joints": (LIFT, lift(joints="mano"), "unknown-joints", "h36m-17, coco-17, openpose-18"),
    "model": (LIFT, lift(model="gpt"), "unknown-model", "lift-means, lift-sure"),
    "model of hands": (FORECAST, past(model="hands-thirty"), "unknown-model", "poses-onwards, poses-sure"),
    "too many frames": (LIFT, lift([None] * 10_001), "too-many-frames", "at most 10000"),
    "too many in all": (FORECAST, {**PAST, "clips": [[None] * 3000] * 4}, "too-many-frames", "got 12000"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_an_invalid_body_gets_a_problem_that_names_the_error(client, case):
    path, body, kind, text = ERRORS[case]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(path, content=content, headers={"content-type": "application/json"})
    assert text in problem_of(response, kind)["detail"]


def test_a_joint_that_can_be_computed_is_not_missing(client):
    """The head of penn-13 is midway between the ears of coco-17."""
    answer = client.post(FORECAST, json=past(joints="coco-17", model="poses-sure")).json()
    assert answer["missing_joints"] == []


RAW = np.array(FLAT).astype("<f4")
pack = msgspec.msgpack.encode
NAN = np.where(np.arange(34).reshape(17, 2) == 5, np.nan, RAW)
BINARY_ERRORS: dict[str, tuple[str, bytes, str]] = {
    "nan": (MSGPACK, pack(lift(changed(FLAT, (3, 4, 1), float("nan")))), "not-finite"),
    "inf": (MSGPACK, pack(lift(changed(FLAT, (3, 4, 1), float("inf")))), "not-finite"),
    "confidence nan": (MSGPACK, pack(lift(changed(FLAT, (3, 4), [1, 2, float("nan")]))), "not-finite"),
    "no shape": (MSGPACK, pack(lift(RAW.tobytes())), "invalid-request"),
    "wrong shape": (MSGPACK, pack(lift(RAW.tobytes(), shape=[12, 16, 2])), "wrong-shape"),
    "shape of clips": (MSGPACK, pack(lift(RAW.tobytes(), shape=[1, 12, 17, 2])), "wrong-shape"),
    "five numbers": (MSGPACK, pack(lift(b"\0" * 20, shape=[1, 1, 5])), "wrong-shape"),
    "huge shape": (MSGPACK, pack(lift(RAW.tobytes(), shape=[2**62, 2**62, 2])), "wrong-shape"),
    "half a point nan": (NPY, npy(NAN), "not-finite"),
    "flat": (NPY, npy(RAW.reshape(-1)), "wrong-shape"),
    "all nan": (NPY, npy(RAW * np.nan), "gap-too-long"),
    "claims 4 TiB": (NPY, npy(RAW).replace(b"(12, 17, 2)", b"(99999999999, 17, 2)"), "wrong-shape"),
}


@pytest.mark.parametrize("case", BINARY_ERRORS)
def test_an_invalid_binary_body_gets_a_problem(client, case):
    media, body, kind = BINARY_ERRORS[case]
    query = {**LIFTED, "image": "1000,800"} if media == NPY else None
    problem_of(client.post(LIFT, params=query, content=body, headers={"content-type": media}), kind)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "?"),
        ({"image": "1000"}, "?image"),
        ({"image": "1000,800,3"}, "?image"),
        ({"image": "wide,high"}, "?image"),
        ({"joints": "kinect-9"}, "?joints"),
        ({"fps": "nan"}, "?fps"),
        ({"frames": "3"}, "`frames`"),
    ],
)
def test_the_problem_points_at_an_invalid_parameter_of_an_npy_request(client, query, text):
    query = {**LIFTED, "image": "1000,800", **query} if query else {}
    response = client.post(LIFT, params=query, content=npy(RAW), headers={"content-type": NPY})
    assert response.status_code == 422
    assert text in response.text or not query


def test_npy_answers_are_refused_for_classes_and_for_clips_of_different_lengths(client):
    accept_npy = {"accept": NPY}
    problem_of(client.post(ACTIONS, json=clip(), headers=accept_npy), "not-acceptable")
    body = {**LIFTED, "clips": [FLAT, FLAT[:3]]}
    problem_of(client.post(LIFT, json=body, headers=accept_npy), "not-acceptable")


VALID = {LIFT: lift(FLAT[:2]), FORECAST: past(), ACTIONS: clip()}


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize("media", ["application/json", MSGPACK])
def test_random_bytes_get_an_answer_or_a_documented_problem(client, path, media):
    valid = pack(VALID[path]) if media == MSGPACK else json.dumps(VALID[path]).encode()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(body=damaged(valid))
    def post(body: bytes) -> None:
        response = client.post(path, content=body, headers={"content-type": media})
        assert response.status_code in (200, 400, 404, 422), response.text
        if response.status_code != 200:
            assert response.headers["content-type"] == MEDIA_TYPE

    post()


@pytest.mark.parametrize("path", VALID)
def test_random_numbers_get_an_answer_or_a_documented_problem(client, path):
    number = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, 1e-300, 1.0, 1000.0])
    base = {name: value for name, value in VALID[path].items() if name not in ("keypoints", "past", "clip")}
    base = {**base, "image": "1000,800"} if path == LIFT else base
    models = {
        LIFT: ["lift-means", "lift-sure"],
        FORECAST: ["poses-onwards", "poses-sure"],
        ACTIONS: ["actions-3d", "actions-pairs"],
    }

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        numbers=st.lists(number, min_size=1, max_size=9),
        order=st.sampled_from(sorted(BODIES)),
        width=st.integers(2, 4),
        model=st.sampled_from(models[path]),
        fps=st.sampled_from([5, 10, 25.5, 1000]),
    )
    def post(numbers: list[float], order: str, width: int, model: str, fps: float) -> None:
        array = np.resize(np.array(numbers), (12, len(BODIES[order].joints), width))
        query = {**base, "joints": order, "model": model, "fps": fps}
        response = client.post(path, params=query, content=npy(array), headers={"content-type": NPY})
        assert response.status_code in (200, 422), response.text

    post()
