"""Tests of what a hand forecast answers on request: other times, standard deviations, alternatives with probabilities."""

import io
import json

import msgspec
import numpy as np
import pytest
from hand_motion import moving_hands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.contract.symmetry import SYMMETRIES
from models.motion.bones import bone_lengths
from models.skeletons.hand import ASSEMBLY101, HANDS, PALM

from ...exchange import problem_of
from .test_endpoint import FPS, MSGPACK, NPY, URL, forecast, npy

UNSURE = {"model": "hands-unsure"}
MIRROR = "mirror-swap"


@pytest.fixture
def pair() -> np.ndarray:
    return moving_hands(30, hands=2)


def interpolated(past: np.ndarray, frames: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Interpolate the last pose and the frames after it, coordinate by coordinate, as a reference implementation."""
    known = np.concatenate([past[-1:], frames]).reshape(len(frames) + 1, -1)
    grid = np.arange(len(known)) / FPS
    return np.stack([np.interp(times, grid, column) for column in known.T], axis=1).reshape(-1, *frames.shape[1:])


def test_the_answer_has_the_times_that_were_asked_for_in_their_order(client, pair):
    times = [0.03, 0.9999, 1 / 30, 0.05, 0.05, 1.0]
    frames = np.array(forecast(client, past=pair)["future"])
    answer = forecast(client, past=pair, at=times)
    assert answer["times"] == times
    np.testing.assert_allclose(answer["future"], interpolated(pair, frames, np.array(times)), atol=2e-6)


@pytest.mark.parametrize(
    ("fps", "horizon", "times"),
    [
        (30, 0.1, [1 / 30, 2 / 30, 0.1]),
        (30, 0.08, [1 / 30, 2 / 30, 0.08]),
        (30, 0.02, [0.02]),
        (90, 0.05, [1 / 90, 2 / 90, 3 / 90, 4 / 90, 0.05]),
        (30, 1, [frame / 30 for frame in range(1, 31)]),
    ],
)
def test_a_horizon_ends_the_answer_at_that_time(client, fps, horizon, times):
    answer = forecast(client, past=moving_hands(100, hands=2), fps=fps, horizon=horizon)
    np.testing.assert_allclose(answer["times"], times, atol=1e-6)
    assert len(answer["future"]) == len(times)


BAD_TIMES = {  # fields, pointer, text
    "at beyond the horizon": ({"at": [0.5, 1.01]}, "/at/1", "at most 1 s, the horizon of hands-thirty, got 1.01"),
    "horizon beyond the horizon": ({"horizon": 1.5}, "/horizon", "at most 1 s, the horizon of hands-thirty, got 1.5"),
    "at the last frame": ({"at": [0]}, "/at/0", "expected a number above 0, got 0"),
    "before the last frame": ({"at": [0.1, -0.1]}, "/at/1", "expected a number above 0, got -0.1"),
    "no horizon": ({"horizon": 0}, "/horizon", "expected a number above 0, got 0"),
    "no times": ({"at": []}, "/at", "a length of at least 1, got 0"),
    "many times": ({"at": [0.1] * 1001}, "/at", "a length of at most 1000, got 1001"),
    "both": ({"at": [0.1], "horizon": 0.1}, "/at", "got both"),
    "text": ({"at": ["0.1"]}, "/at/0", "got `str`"),
    "a number": ({"at": 0.1}, "/at", "Expected `array | null`"),
    "spread of text": ({"spread": "yes"}, "/spread", "Expected `bool`"),
    "number of hypotheses": ({"hypotheses": 5}, "/hypotheses", "Expected `bool`"),
}


@pytest.mark.parametrize("case", BAD_TIMES)
def test_the_problem_points_at_a_time_that_cannot_be_answered(client, pair, case):
    fields, pointer, text = BAD_TIMES[case]
    problem = problem_of(client.post(URL, json={"fps": FPS, "past": pair.tolist(), **fields}), "invalid-request")
    assert problem["errors"][0]["pointer"] == pointer
    assert text in problem["detail"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["at", "horizon"])
def test_times_that_are_not_finite_are_refused(client, pair, number, field):
    body = {"fps": FPS, "past": pair.tolist(), field: [0.1, number] if field == "at" else number}
    response = client.post(URL, content=msgspec.msgpack.encode(body), headers={"content-type": MSGPACK})
    assert problem_of(response, "invalid-request")["errors"][0]["pointer"] == ("/at/1" if field == "at" else "/horizon")
    query = {"fps": FPS, field: f"0.1,{number}" if field == "at" else str(number)}
    response = client.post(URL, params=query, content=npy(pair), headers={"content-type": NPY})
    assert problem_of(response, "invalid-request")["errors"][0]["pointer"].startswith(f"?{field}")


def test_any_times_get_an_answer_or_the_problem_of_a_bad_one(client, pair):
    past = pair.tolist()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(times=st.lists(st.floats() | st.floats(0, 1) | st.sampled_from([1e-300, 1 + 1e-7, 1 + 1e-5]), max_size=5))
    def post(times: list[float]) -> None:
        body = msgspec.msgpack.encode({"fps": FPS, "past": past, "at": times})
        response = client.post(URL, content=body, headers={"content-type": MSGPACK})
        if times and all(0 < time <= 1 + 1e-6 for time in times):
            assert np.isfinite(np.array(response.json()["future"])).all()
        else:
            problem_of(response, "invalid-request")

    post()


def test_every_format_takes_times_and_gives_spread_and_probabilities(client, pair):
    fields = {"fps": FPS, "at": [0.02, 0.05], "spread": True, "hypotheses": True, **UNSURE}
    expected = client.post(URL, json={**fields, "past": pair.tolist()}).json()
    assert len(expected["future"]) == 2
    packed = msgspec.msgpack.encode({**fields, "past": pair.tolist()})
    answer = client.post(URL, content=packed, headers={"content-type": MSGPACK, "accept": MSGPACK})
    decoded = msgspec.msgpack.decode(answer.content)
    assert (decoded["std"], decoded["probabilities"]) == (expected["std"], expected["probabilities"])
    query = {name: json.dumps(value).strip('[]"') for name, value in fields.items()}
    assert client.post(URL, params=query, content=npy(pair), headers={"content-type": NPY}).json() == expected


def test_an_npy_has_only_the_forecast_and_refuses_what_else_was_asked_for(client, pair):
    query = {"fps": FPS, "at": "0.02", **UNSURE}
    answer = client.post(URL, params=query, content=npy(pair), headers={"content-type": NPY, "accept": NPY})
    assert np.load(io.BytesIO(answer.content)).shape == (1, 42, 3)
    for field in ("spread", "hypotheses"):
        refused = client.post(
            URL, params={**query, field: "true"}, content=npy(pair), headers={"content-type": NPY, "accept": NPY}
        )
        assert "ask for JSON or MessagePack" in problem_of(refused, "not-acceptable")["detail"]


def test_an_answer_is_as_before_unless_more_is_asked_for(client, pair):
    answer = forecast(client, past=pair, **UNSURE)
    assert answer["alternatives"] == []
    assert not {"std", "probabilities"} & set(answer)
    more = forecast(client, past=pair, spread=True, hypotheses=True, **UNSURE)
    assert {name: more[name] for name in answer if name != "alternatives"} == {
        name: value for name, value in answer.items() if name != "alternatives"
    }


def test_alternatives_have_probabilities(client, pair):
    answer = forecast(client, left=pair[:, :21], right=pair[:, 21:], hypotheses=True, at=[0.1], **UNSURE)
    assert len(answer["alternatives"]) == 2
    assert len(answer["probabilities"]) == 3
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert answer["probabilities"] == sorted(answer["probabilities"], reverse=True)
    assert answer["alternatives"][0]["left"] != answer["left"]


@pytest.mark.parametrize(("units", "scale"), [("m", 1), ("mm", 1000), ("ft", 1 / 0.3048)])
def test_the_standard_deviation_grows_from_zero_in_the_unit_of_the_request(client, pair, units, scale):
    answer = forecast(client, past=pair * scale, units=units, spread=True, at=[1 / 60, 1 / 30, 0.1, 1 / 3], **UNSURE)
    std = np.array(answer["std"]["future"]) / scale
    assert std.shape == (4, 42)
    np.testing.assert_allclose(std, np.array([0.5, 1, 3, 10])[:, None] * np.full((1, 42), 1e-3), atol=2e-6)


def test_a_carried_joint_has_the_mean_spread_of_the_palm_that_carries_it(client):
    order = HANDS["openxr"]
    answer = forecast(client, right=moving_hands(30, hands=1, order="openxr"), joints="openxr", spread=True, **UNSURE)
    std = np.array(answer["std"]["right"])
    assert std.shape == (10, 26)
    palm = np.sqrt((std[:, list(order.indices(PALM))] ** 2).mean(axis=1, keepdims=True))
    carried = std[:, list(order.indices(answer["carried_joints"]))]
    np.testing.assert_allclose(carried, np.repeat(palm, carried.shape[1], axis=1), atol=2e-6)


def test_a_hand_out_of_view_has_no_standard_deviation(client):
    one = moving_hands(30, hands=1)
    answer = forecast(client, left=[None] * 30, right=one, spread=True, **UNSURE)
    assert answer["std"]["left"] is None
    assert np.array(answer["std"]["right"]).shape == (10, 21)
    neither = forecast(client, left=[None] * 30, right=[None] * 30, spread=True, hypotheses=True)
    assert neither["left"] is neither["right"] is None


def test_a_model_without_spread_says_so(client, pair):
    answer = forecast(client, past=pair, spread=True, hypotheses=True)
    assert not {"std", "probabilities"} & set(answer)
    assert answer["warnings"] == [
        "hands-thirty gives no standard deviations",
        "hands-thirty gives no probabilities of alternatives",
    ]


@pytest.mark.parametrize("model", ["hands-thirty", "hands-unsure"])
def test_bones_keep_the_length_of_the_last_pose_on_request(client, pair, model):
    last = bone_lengths(pair[-1].reshape(2, 21, 3))
    free, kept = (
        bone_lengths(
            np.array(forecast(client, past=pair, model=model, keep_bones=keep)["future"]).reshape(-1, 2, 21, 3)
        )
        for keep in (False, True)
    )
    assert np.abs(free / last - 1).max() > 0.02
    np.testing.assert_allclose(kept, np.broadcast_to(last, kept.shape), atol=4e-6)
    other = forecast(client, past=moving_hands(30, hands=1, order="mano"), hand="left", joints="mano", keep_bones=True)
    assert np.isfinite(np.array(other["future"])).all()


def test_bones_of_a_hand_that_was_seen_in_part_keep_the_length_that_was_seen(client, pair):
    one = pair[-10:, 21:]
    frames = [
        [None if joint == 8 and frame > 6 else point for joint, point in enumerate(row)]
        for frame, row in enumerate(one.tolist())
    ]
    kept = np.array(forecast(client, right=frames, keep_bones=True, **UNSURE)["right"])
    expected = bone_lengths(one[-1])
    hidden = [8 in ends for ends in ASSEMBLY101.bones]
    expected[hidden] = bone_lengths(one[6])[hidden]
    np.testing.assert_allclose(bone_lengths(kept), np.broadcast_to(expected, (10, 20)), atol=4e-6)


@pytest.mark.parametrize("name", ["translation", "rotation", MIRROR])
def test_the_whole_answer_to_a_moved_request_is_the_moved_answer(client, pair, name):
    fields = {"at": [0.013, 0.05, 0.3], "spread": True, "hypotheses": True, "keep_bones": True, **UNSURE}
    still, rng = forecast(client, past=pair, **fields), np.random.default_rng(3)
    std = np.array(still["std"]["future"])
    for _ in range(3):
        act = SYMMETRIES[name](rng)
        moved = forecast(client, past=act(pair), **fields)
        for a, b in zip([still, *still["alternatives"]], [moved, *moved["alternatives"]], strict=True):
            np.testing.assert_allclose(np.array(b["future"]), act(np.array(a["future"])), atol=1e-5)
        swapped = np.roll(std, 21, axis=1) if name == MIRROR else std
        np.testing.assert_allclose(moved["std"]["future"], swapped, atol=1e-5)
        np.testing.assert_allclose(moved["probabilities"], still["probabilities"], atol=1e-5)
