"""Tests of the times of frames in place of a rate, for hands and bodies: even times equal a rate, others are interpolated."""

from typing import Any

import numpy as np
import pytest
from hand_motion import rest_hand

from ..conftest import moving_body
from ..exchange import HANDS_URL, NPY, npy, problem_of
from .bodies.test_endpoint import ACTIONS, FORECAST, LIFT, LIFTED, PAST, ask

RATE = 30  # frames a second of the even clips here
HANDS: dict[str, Any] = {"fps": RATE, "model": "hands-thirty"}
KINDS: dict[str, tuple[str, dict[str, Any], str, str]] = {  # path, request, the request's array, the answer's array
    "hands": (HANDS_URL, HANDS, "right", "right"),
    "lift": (LIFT, {**LIFTED, "fps": RATE}, "keypoints", "poses"),
    "forecast": (FORECAST, {**PAST, "fps": RATE}, "past", "future"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def at(kind: str, times: np.ndarray) -> np.ndarray:
    """Return frames at those times, in seconds, of a motion without acceleration."""
    if kind == "hands":
        return rest_hand()[None] + times[:, None, None] * np.array([0.3, -0.2, 0.1])
    return moving_body(1, 2) + times[:, None, None] * np.linspace(-100, 100, 34).reshape(17, 2)


def stamped(kind: str, times: np.ndarray, **fields: Any) -> dict[str, Any]:
    _, base, field, _ = KINDS[kind]
    base = {name: value for name, value in base.items() if name != "fps"}
    return {**base, field: at(kind, times).tolist(), **fields}


@every_kind
@pytest.mark.parametrize("unit", [1, 1e3, 1e9])
def test_even_times_are_a_rate_in_any_unit_and_from_any_start(client, kind, unit):
    path, base, field, _ = KINDS[kind]
    times = np.arange(40) / RATE
    expected = ask(client, path, base, **{field: at(kind, times)})
    answer = ask(client, path, stamped(kind, times), timestamps=(1000 + times) * unit)
    assert answer["fps"] == pytest.approx(RATE, rel=1e-6)
    array = KINDS[kind][3]
    np.testing.assert_allclose(np.array(answer[array]), np.array(expected[array]), atol=1e-3)
    assert answer["warnings"] == expected["warnings"] == []


@every_kind
def test_uneven_frames_are_interpolated_with_a_warning(client, kind):
    path, base, field, array = KINDS[kind]
    even = np.arange(48) / RATE
    uneven = np.delete(even, [11, 12, 25]) + np.random.default_rng(0).uniform(-0.004, 0.004, 45)
    expected = ask(client, path, base, **{field: at(kind, uneven[-1] - even[::-1] if path != LIFT else uneven)})
    answer = ask(client, path, stamped(kind, uneven), timestamps=uneven)
    assert "ms apart; between them motion is interpolated" in answer["warnings"][0]
    if path == LIFT:
        np.testing.assert_allclose(answer["times"], uneven - uneven[0], atol=1e-6)
        inside = slice(8, -8)
        flat = (at(kind, uneven) - at(kind, uneven)[:, :1]) / 500
        np.testing.assert_allclose(np.array(answer["poses"])[inside, :, :2], flat[inside], atol=1e-3)
    else:
        tolerance = {"hands": 2e-3, "forecast": 3.0}[kind]  # the rate of the answer is near that of the even clip
        np.testing.assert_allclose(answer[array][0], expected[array][0], atol=tolerance)


@every_kind
def test_impossible_times_are_refused_with_the_reason(client, kind):
    path = KINDS[kind][0]
    times = np.arange(40) / RATE
    for stamps, text in (
        (times[:-1], "a time for each of 40 frames, got 39"),
        (times[::-1], "increase"),
        (times * 30, "got a median step of 1; send seconds"),
    ):
        body = stamped(kind, times, timestamps=stamps.tolist())
        assert text in problem_of(client.post(path, json=body), "invalid-request")["detail"]
    both = stamped(kind, times, timestamps=times.tolist(), fps=RATE)
    assert "got both" in problem_of(client.post(path, json=both), "invalid-request")["detail"]
    assert "`fps`" in problem_of(client.post(path, json=stamped(kind, times)), "invalid-request")["detail"]
    gap = np.where(np.arange(40) < 30, times, times + 0.5)
    body = stamped(kind, times, timestamps=gap.tolist())
    problem_of(client.post(path, json=body), "gap-too-long")


def test_a_short_clip_with_times_is_too_short(client):
    times = np.arange(20) / RATE
    body = stamped("hands", times, timestamps=times.tolist())
    assert "send a longer clip" in problem_of(client.post(HANDS_URL, json=body), "too-few-frames")["detail"]


def test_times_are_for_clips_of_one_length(client):
    times = np.arange(20) / RATE
    frames = at("lift", times).tolist()
    base = {name: value for name, value in LIFTED.items() if name != "fps"}
    body = {**base, "clips": [frames, frames[:9]], "timestamps": times.tolist()}
    assert "clips of one length" in problem_of(client.post(LIFT, json=body), "invalid-request")["detail"]
    both = ask(client, LIFT, {**base, "clips": [frames, frames]}, timestamps=times)
    assert both["clips"][0] == both["clips"][1]


def test_an_uneven_clip_gets_the_classes_of_the_even_one(client):
    base = {"joints": "h36m-17", "model": "actions-3d"}
    even = moving_body(41, 3) / 1000
    times = np.arange(41) / RATE
    frames = np.sort(np.random.default_rng(0).choice(np.arange(1, 40), 26, replace=False))
    frames = np.array([0, *frames, 40])
    answer = ask(client, ACTIONS, base, clip=even[frames], timestamps=times[frames])
    expected = ask(client, ACTIONS, base, clip=even)
    for one, other in zip(answer["classes"], expected["classes"], strict=True):
        assert one["name"] == other["name"]
        assert one["probability"] == pytest.approx(other["probability"], abs=0.01)


def test_times_of_a_binary_array_may_be_in_the_query(client):
    times = np.arange(40) / RATE
    query = {"model": "hands-thirty", "hand": "right", "timestamps": ",".join(f"{time:.6f}" for time in times)}
    answer = client.post(HANDS_URL, params=query, content=npy(at("hands", times)), headers={"content-type": NPY})
    assert answer.status_code == 200, answer.text
    assert answer.json()["fps"] == pytest.approx(RATE, rel=1e-4)
    query = {"joints": "h36m-17", "image": "1000,800", "model": "lift-means", "timestamps": query["timestamps"]}
    answer = client.post(LIFT, params=query, content=npy(at("lift", times)), headers={"content-type": NPY})
    assert answer.status_code == 200, answer.text
