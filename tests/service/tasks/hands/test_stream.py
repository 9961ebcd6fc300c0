"""Tests of the stream of hand forecasts: answers equal to those of POST, in all forms, and the times of frames."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hand_motion import moving_hands

from models.contract.symmetry import SYMMETRIES
from service.tasks.hands.stream.messages import HEADER

from ...exchange import problem_of
from .streams import AT, FPS, URL, answers, assert_same_hands, frame, last_answer, numbered, opened, posted, raw_answer


@pytest.fixture
def pair() -> np.ndarray:
    return moving_hands(34, hands=2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"at": None},
        {"units": "mm"},
        {"axes": "left-handed"},
        {"keep_bones": True},
        {"model": "hands-modes", "at": None, "horizon": 0.2},
    ],
    ids=str,
)
def test_a_stream_answers_as_post_does(client, pair, options):
    scaled = pair * (1000 if "units" in options else 1)
    expected = posted(client, scaled[:, :21].tolist(), scaled[:, 21:].tolist(), **options)
    answer = last_answer(client, numbered(scaled), **options)
    assert_same_hands(answer, expected, atol=2e-3 if "units" in options else 2e-6)
    assert len(answer["alternatives"]) == len(expected["alternatives"])
    if "keep_bones" in options:  # the control: it is not the answer without them
        plain = last_answer(client, numbered(scaled))
        assert np.abs(np.subtract(answer["left"], plain["left"])).max() > 1e-4
    assert (answer["number"], answer["skipped"], answer["late"], answer["filled_frames"]) == (33, 0, 0, 0)


@pytest.mark.parametrize("order", ["openxr", "leap", "mano-smplx"])
def test_a_stream_answers_in_its_joint_order(client, order):
    pair = moving_hands(31, hands=2, order=order)
    left, right = np.split(pair, 2, axis=1)
    expected = posted(client, left.tolist(), right.tolist(), joints=order)
    assert_same_hands(last_answer(client, numbered(pair), joints=order), expected)


@pytest.mark.parametrize("fps", [60, 72])
def test_a_faster_tracker_gets_the_answer_of_post_whether_or_not_it_is_resampled(client, fps):
    pair = moving_hands(fps + 3, hands=2)
    expected = posted(client, pair[:, :21].tolist(), pair[:, 21:].tolist(), fps=fps)
    assert_same_hands(last_answer(client, numbered(pair), fps=fps), expected)


@pytest.mark.parametrize(("clock", "second"), [("milliseconds", 1e3), ("nanoseconds", 1e9)])
def test_uneven_timestamps_are_resampled_as_post_does(client, clock, second):
    times = (np.arange(75) + np.random.default_rng(3).uniform(-0.2, 0.2, 75)) / 60
    pair = moving_hands(75, hands=2)
    stamps = (1.7e9 + times if clock == "nanoseconds" else times) * second
    frames = [frame(pose, timestamp=stamp) for pose, stamp in zip(pair, stamps.tolist(), strict=True)]
    expected = posted(client, pair[:, :21].tolist(), pair[:, 21:].tolist(), fps=None, timestamps=times.tolist())
    answer = last_answer(client, frames, fps=60, clock=clock)
    assert_same_hands(answer, expected)
    assert answer["timestamp"] == stamps[-1]


def test_frames_as_messagepack_and_as_raw_floats_get_the_answers_of_json(client, pair):
    single = pair.astype("<f4")
    expected = last_answer(client, numbered(single.astype(float)))
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(msgspec.msgpack.encode({"fps": FPS, "at": AT}))
        assert msgspec.msgpack.decode(stream.receive_bytes())["kind"] == "ready"
        answer: dict[str, Any] = {}
        for number, pose in enumerate(single):
            halves = {"left": pose[:21].tobytes(), "right": pose[21:].tolist()}
            stream.send_bytes(msgspec.msgpack.encode({"number": number, **halves}))
            answer = msgspec.msgpack.decode(stream.receive_bytes())
    raw = {side: np.frombuffer(answer[side], "<f4").reshape(len(AT), 21, 3) for side in ("left", "right")}
    assert_same_hands(raw, expected)
    with opened(client, form="raw", shape=[42, 3]) as stream:
        received = [raw_answer(stream, number, pose) for number, pose in enumerate(single)]
    assert ["text" in answer for answer in received] == [True] * 29 + [False] * 5  # too few frames are JSON
    content = received[-1]["bytes"]
    number, skipped, timestamp = HEADER.unpack_from(content)
    assert (number, skipped, math.isnan(timestamp)) == (33, 0, True)
    both = np.frombuffer(content, "<f4", offset=HEADER.size).reshape(len(AT), 42, 3)
    assert_same_hands({"left": both[:, :21], "right": both[:, 21:]}, expected)


def test_a_hand_that_is_not_in_view_is_null_or_nan(client, pair):
    frames = [{**message, "left": None} for message in numbered(pair)]
    expected = posted(client, [None] * len(pair), pair[:, 21:].tolist())
    assert_same_hands(last_answer(client, frames), expected)
    alone = [{"number": message["number"], "right": message["right"]} for message in frames]
    np.testing.assert_allclose(last_answer(client, alone, hands=["right"])["right"], expected["right"], atol=2e-6)
    with opened(client, form="raw") as stream:
        received = [raw_answer(stream, number, np.full((42, 3), np.nan, "<f4")) for number in range(30)][-1]
    assert np.isnan(np.frombuffer(received["bytes"], "<f4", offset=HEADER.size)).all()
    assert len(received["bytes"]) == HEADER.size + len(AT) * 42 * 3 * 4


def test_a_model_that_takes_hands_in_part_answers_from_the_second_frame_on(client, pair):
    options = {"model": "hands-unsure", "at": [0.1], "spread": True, "hypotheses": True}
    frames = numbered(pair)
    for message in frames[3:]:
        message["left"][7] = message["right"][2] = None
    frames[20]["left"], frames[21]["left"][7] = None, pair[21, 7].tolist()
    with opened(client, **options) as stream:
        received = answers(stream, frames)
    assert [answer["kind"] for answer in received] == ["waiting"] + ["forecast"] * 33
    for count in (2, 5, 21, 22, 34):
        expected = posted(client, *([f[side] for f in frames[:count]] for side in ("left", "right")), **options)
        for name in ("left", "right", "std", "alternatives", "probabilities", "filled_frames"):
            assert json.dumps(received[count - 1][name]) == json.dumps(expected[name]), (count, name)
        assert set(expected["warnings"]) <= set(received[count - 1]["warnings"])


def test_points_may_be_objects(client, pair):
    named = [
        {side: [dict(zip("xyz", point, strict=True)) for point in message[side]] for side in ("left", "right")}
        for message in numbered(pair)
    ]
    assert_same_hands(last_answer(client, named), last_answer(client, numbered(pair)))


@pytest.mark.parametrize("name", SYMMETRIES)
def test_a_moved_stream_gets_the_moved_answers(client, pair, name):
    act = SYMMETRIES[name](np.random.default_rng(5))
    still, moved = (last_answer(client, numbered(points)) for points in (pair, act(pair)))
    future, moved_future = (np.concatenate([each["left"], each["right"]], axis=1) for each in (still, moved))
    np.testing.assert_allclose(moved_future, act(future), atol=1e-5)


def test_too_few_frames_are_said_to_be(client, pair):
    with opened(client) as stream:
        received = answers(stream, numbered(pair))
    assert [answer["kind"] for answer in received] == ["waiting"] * 29 + ["forecast"] * 5
    assert [(answer["frames"], answer["frames_needed"]) for answer in received[:2]] == [(1, 30), (2, 30)]


def test_late_and_repeated_frames_are_dropped_and_counted(client, pair):
    frames = numbered(pair)
    with opened(client) as stream:
        answers(stream, frames[:33])
        for late in (frames[32], frames[20], frames[31]):
            stream.send_json(late)
        answer = answers(stream, frames[33:])[-1]
    assert answer["late"] == 3
    assert_same_hands(answer, last_answer(client, frames))


def test_dropped_frames_are_filled_like_those_without_a_hand(client, pair):
    dropped, frames = {8, 19, 20}, numbered(pair)
    hands = (
        [None if at in dropped else half.tolist() for at, half in enumerate(half)] for half in np.split(pair, 2, 1)
    )
    answer, expected = last_answer(client, [f for f in frames if f["number"] not in dropped]), posted(client, *hands)
    assert_same_hands(answer, expected)
    assert answer["filled_frames"] == expected["filled_frames"] == 6


def test_a_gap_that_is_too_long_is_a_problem_and_passes(client):
    pair = moving_hands(60, hands=2)
    frames = [message for message in numbered(pair) if not 5 <= message["number"] < 20]
    with opened(client) as stream:
        received = answers(stream, frames)
    problems = [answer for answer in received if answer["kind"] == "problem"]
    assert {answer["type"] for answer in problems} == {"/problems/gap-too-long"}
    assert problems[0]["number"] == 29
    assert received[-1]["kind"] == "forecast"


def test_a_clock_that_is_set_back_begins_the_stream_anew(client, pair):
    with opened(client) as stream:
        answers(stream, [{**message, "number": message["number"] + 1000} for message in numbered(pair)])
        received = answers(stream, numbered(pair))
    assert received[0]["kind"] == "waiting"
    assert_same_hands(received[-1], last_answer(client, numbered(pair)))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_plain_request_is_told_that_the_stream_is_a_websocket(client, method):
    detail = problem_of(client.request(method, URL), "not-found")["detail"]
    assert "expected the handshake of a WebSocket" in detail
