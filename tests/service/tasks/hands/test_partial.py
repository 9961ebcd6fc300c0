"""Tests of hands that were seen in part: short pasts, missing joints, gaps and lost hands, for models that are told what was seen."""

import io

import msgspec
import numpy as np
import pytest
from hand_motion import moving_hands

from models.contract.symmetry import SYMMETRIES
from models.skeletons.hand import ASSEMBLY101, HANDS, PALM

from ...exchange import problem_of
from .test_answers import UNSURE
from .test_endpoint import FPS, MSGPACK, NPY, URL, forecast, npy

PAST = 10  # frames of hands-unsure
TIP = ASSEMBLY101.joints.index("index_tip")


@pytest.fixture
def one() -> np.ndarray:
    return moving_hands(PAST, hands=1)


def seen_means(past: np.ndarray, seen: np.ndarray, frames: int) -> np.ndarray:
    """Compute the answer of the model for (past, joints, 3) and (past, joints), as a reference implementation."""
    recent = 1000.0 ** np.maximum(np.arange(PAST) - PAST + 1, -9)[:, None, None]
    weight = seen[..., None]
    known = np.where(weight, past, 0)
    mean = known.sum(axis=0) / weight.sum(axis=0)
    last = (known * recent).sum(axis=0) / (weight * recent).sum(axis=0)
    return np.stack([last + step * (last - mean) / PAST for step in range(1, frames + 1)])


def nulls(past: np.ndarray, seen: np.ndarray) -> list:
    """Return frames with null for each joint that was not seen."""
    rows = zip(past.tolist(), seen.tolist(), strict=True)
    return [[point if there else None for point, there in zip(*row, strict=True)] for row in rows]


@pytest.mark.parametrize("frames", [2, 3, 9])
def test_a_short_past_is_forecast_and_the_answer_says_so(client, one, frames):
    answer = forecast(client, past=one[-frames:], **UNSURE)
    seen = np.arange(PAST)[:, None] >= np.full((1, 21), PAST - frames)
    np.testing.assert_allclose(answer["future"], seen_means(one, seen, 10), atol=2e-6)
    assert answer["warnings"] == [
        f"the hand: forecast from {(frames - 1) / FPS:.3f} s of motion, not 0.300 s: less accurate"
    ]
    assert forecast(client, past=one, **UNSURE)["warnings"] == []


@pytest.mark.parametrize("frames", [0, 1])
def test_a_single_frame_shows_no_motion(client, one, frames):
    response = client.post(URL, json={"fps": FPS, "past": one[:frames].tolist(), **UNSURE})
    assert f"at least 2 frames, which show a motion, got {frames}" in problem_of(response, "too-few-frames")["detail"]


def test_joints_that_were_not_seen_in_some_frames_are_marked(client, one):
    seen = np.random.default_rng(0).random((PAST, 21)) < 0.8
    seen[:3, TIP] = seen[-4:, TIP] = False  # a gap at the end is not interpolated
    answer = forecast(client, past=nulls(one, seen), spread=True, **UNSURE)
    raw = np.where(seen[..., None], one, np.nan)
    binary = client.post(
        URL, params={"fps": FPS, "spread": "true", **UNSURE}, content=npy(raw), headers={"content-type": NPY}
    ).json()
    lists = msgspec.msgpack.encode({"fps": FPS, "past": nulls(one, seen), "spread": True, **UNSURE})
    packed = client.post(URL, content=lists, headers={"content-type": MSGPACK}).json()
    assert answer == binary == packed
    known = np.zeros(PAST, bool)
    known[3:6] = True
    expected = seen_means(one[:, [TIP]], (seen[:, [TIP]] | known[:, None]) & known[:, None], 10)
    np.testing.assert_allclose(np.array(answer["future"])[:, [TIP]], expected, atol=2e-6)
    assert "% of the places of joints not seen: less accurate" in answer["warnings"][-1]
    std = np.array(answer["std"]["future"])
    assert std[0, TIP] == pytest.approx(0.008), "expected a millimetre and one for each of 7 unseen frames"


def test_a_joint_that_was_never_seen_is_null(client, one):
    seen = np.ones((PAST, 21), bool)
    seen[:, TIP] = False
    answer = forecast(client, right=nulls(one, seen), spread=True, hypotheses=True, at=[0.05], **UNSURE)
    for frames in (answer["right"], answer["alternatives"][0]["right"], answer["std"]["right"]):
        assert [joint for joint, value in enumerate(frames[0]) if value is None] == [TIP]
    assert answer["warnings"] == ["the right hand: index_tip never seen, and null in the answer"]
    query = {"fps": FPS, **UNSURE}
    raw = np.where(seen[..., None], one, np.nan)
    headers = {"content-type": NPY, "accept": NPY}
    future = np.load(io.BytesIO(client.post(URL, params=query, content=npy(raw), headers=headers).content))
    assert np.isnan(future[:, TIP]).all()
    assert np.isfinite(np.delete(future, TIP, axis=1)).all()


def test_joints_at_one_point_are_missing_and_the_others_are_used(client, one):
    zeros, seen = one.copy(), np.ones((PAST, 21), bool)
    zeros[:, 3:6], seen[:, 3:6] = 0.0, False
    assert forecast(client, past=zeros, **UNSURE) == forecast(client, past=nulls(one, seen), **UNSURE)


def test_a_hand_that_was_lost_a_moment_ago_is_forecast(client):
    pair = moving_hands(PAST, hands=2)
    left = [*pair[:-2, :21].tolist(), None, None]
    answer = forecast(client, left=left, right=pair[:, 21:], spread=True, at=[1 / 60, 0.1], **UNSURE)
    assert answer["warnings"] == ["the left hand: last seen 0.067 s before the last frame: less accurate"]
    seen = np.arange(PAST)[:, None] < np.full((1, 21), PAST - 2)
    frames = seen_means(pair[:, :21], seen, 3)
    np.testing.assert_allclose(answer["left"], [(pair[-3, :21] + frames[0]) / 2, frames[2]], atol=2e-6)
    np.testing.assert_allclose(answer["std"]["left"][0], 0.003, atol=1e-6)  # it does not begin at 0
    np.testing.assert_allclose(answer["std"]["right"][0], 0.0005, atol=1e-6)


def test_a_long_gap_is_unseen_and_a_late_hand_is_forecast(client):
    pair = moving_hands(40, hands=2)
    left = [None] * 37 + pair[37:, :21].tolist()
    right = [*pair[:30, 21:].tolist(), *[None] * 8, *pair[38:, 21:].tolist()]
    answer = forecast(client, left=left, right=right, **UNSURE)
    assert "the left hand: forecast from 0.067 s of motion, not 0.300 s: less accurate" in answer["warnings"]
    assert np.isfinite(np.array(answer["right"])).all()
    refused = client.post(URL, json={"fps": FPS, "left": left, "model": "hands-thirty"})
    problem_of(refused, "gap-too-long")


def test_the_example_of_a_model_shows_what_was_not_seen(client):
    example = client.get("/models/hands-unsure/example").json()
    assert [joint for joint, point in enumerate(example["past"][3]) if point is None] == list(range(3, 9))
    assert None not in example["past"][0]
    assert client.post(URL, json=example).status_code == 200


def test_hands_of_which_too_little_was_seen_are_null_or_refused(client):
    pair = moving_hands(PAST, hands=2)
    few = np.arange(21)[None] < np.full((PAST, 1), 8)
    answer = forecast(client, left=nulls(pair[:, :21], few), right=pair[:, 21:], **UNSURE)
    assert answer["left"] is None
    response = client.post(URL, json={"fps": FPS, "left": nulls(pair[:, :21], few), **UNSURE})
    detail = problem_of(response, "gap-too-long")["detail"]
    assert "so little was seen that no forecast is plausible" in detail
    assert "8 of 21 joints of the hand were seen twice in the last 0.300 s" in detail
    gone = [*pair[:4, :21].tolist(), *[None] * 6]
    response = client.post(URL, json={"fps": FPS, "left": gone, **UNSURE})
    assert "not seen in the last 0.150 s" in problem_of(response, "gap-too-long")["detail"]


@pytest.mark.parametrize("order", ["openxr", "mediapipe", "mano"])
def test_a_palm_that_was_never_whole_carries_nothing(client, order):
    hand, joints = moving_hands(PAST, hands=1, order=order), HANDS[order].joints
    seen = np.ones((PAST, len(joints)), bool)
    seen[:, joints.index("pinky_mcp")] = False
    answer = forecast(client, right=nulls(hand, seen), joints=order, at=[0.05], spread=True, **UNSURE)
    null = {joint for joint, point in zip(joints, answer["right"][0], strict=True) if point is None}
    assert null == {"pinky_mcp", *answer["carried_joints"]}
    assert "pinky_mcp" in PALM
    later = seen.copy()
    later[:5] = True  # the palm was whole once, and its joint was seen
    answer = forecast(client, right=nulls(hand, later), joints=order, at=[0.05], **UNSURE)
    assert None not in answer["right"][0]


BAD = {  # one point of a body, kind, pointer
    "one number is null": ([0.1, None, 0.2], "invalid-request", "/past/3/4/1"),
    "two numbers": ([0.1, 0.2], "invalid-request", "/past/3/4"),
    "far away": ([0.1, 2000.0, 0.2], "out-of-range", "/past/3/4/1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_points_are_refused_by_a_model_that_takes_missing_ones(client, one, case):
    point, kind, pointer = BAD[case]
    frames = one.tolist()
    frames[3][4], frames[2][2] = point, None
    problem = problem_of(client.post(URL, json={"fps": FPS, "past": frames, **UNSURE}), kind)
    assert problem["errors"][0]["pointer"] == pointer


def test_a_point_that_is_partly_nan_is_refused(client, one):
    one[3, 4, 1] = np.nan
    response = client.post(URL, params={"fps": FPS, **UNSURE}, content=npy(one), headers={"content-type": NPY})
    assert problem_of(response, "not-finite")["errors"][0]["pointer"] == "/past/3/4/1"


def test_the_unit_of_a_hand_that_was_never_whole_is_checked(client, one):
    seen = np.ones((PAST, 21), bool)
    seen[:, TIP] = False
    response = client.post(URL, json={"fps": FPS, "past": nulls(1000 * one, seen), **UNSURE})
    assert "it would fit in mm" in problem_of(response, "implausible")["detail"]


@pytest.mark.parametrize("name", ["translation", "rotation", "mirror-swap"])
def test_the_answer_for_a_moved_part_is_the_moved_answer(client, name):
    rng = np.random.default_rng(1)
    pair, seen = moving_hands(25, hands=2), rng.random((25, 42)) < 0.8
    seen[:, TIP] = seen[-3:, 21:] = False
    body = {"fps": 60, "spread": True, "at": [0.01, 0.2], **UNSURE}
    still = forecast(client, past=nulls(pair, seen), **body)
    future, std = points_of(still["future"]), np.array(still["std"]["future"], dtype=float)
    for _ in range(3):
        act = SYMMETRIES[name](rng)
        swap = name == "mirror-swap"
        moved = forecast(client, past=nulls(act(pair), np.roll(seen, 21, axis=1) if swap else seen), **body)
        np.testing.assert_allclose(points_of(moved["future"]), act(future), atol=1e-5)
        expected = np.roll(std, 21, axis=1) if swap else std
        np.testing.assert_allclose(np.array(moved["std"]["future"], dtype=float), expected, atol=1e-5)


def points_of(frames: list) -> np.ndarray:
    """Return frames as an array, with NaN for a point that is null."""
    return np.array([[point or [np.nan] * 3 for point in frame] for frame in frames])
