"""Tests of the frames that a stream keeps, against all of its frames in a list."""

import numpy as np
import pytest
from hand_motion import moving_hands

from models.contract.task import HandForecast
from models.motion.hands import GapTooLong, HandClip, TooFewFrames, past_window
from models.motion.partial_hands import partial_window
from service.http.problems import Problem
from service.tasks.hands.stream.window import Recent

TASK = HandForecast(past=10, future=10, fps=30)
MASKED = TASK.model_copy(update={"masked": True})
GAP_S, CAPACITY = 0.1, 60


def add(recent: Recent, joints: np.ndarray, time: float, *, follows: bool) -> None:
    seen = np.all(~np.isnan(joints), axis=2)
    recent.add(joints, seen, time, follows=follows)
    recent.convert(lambda points, seen: (points, seen))


@pytest.mark.parametrize(("fps", "seed"), [(30, 0), (60, 1), (90, 2), (72, 3)])
def test_a_past_is_that_of_all_frames_so_far_whatever_is_missing(fps, seed):
    rng, frames = np.random.default_rng(seed), 400
    joints = moving_hands(frames, hands=2).reshape(frames, 2, 21, 3)
    seen = rng.random((frames, 2)) > 0.02
    seen[150:200] &= [True, False]  # one hand is away for a while
    dropped = rng.random(frames) < 0.02
    seen[dropped] = False
    joints = np.where(seen[:, :, None, None], joints, np.nan)
    times, recent, outcomes = np.arange(frames) / fps, Recent(CAPACITY, 2, 21, 21), set()
    for at in range(frames):
        if dropped[at]:
            recent.skip(float(times[at]))  # and is converted with the next frame
            continue
        add(recent, joints[at], float(times[at]), follows=bool(at and not dropped[at - 1]))
        assert len(recent) == min(at + 1, CAPACITY)
        np.testing.assert_array_equal(recent.times, times[: at + 1][-CAPACITY:])
        clip = HandClip(joints[: at + 1], seen[: at + 1], times[: at + 1])
        try:
            expected = past_window(clip, TASK.past, TASK.fps, GAP_S)
        except (TooFewFrames, GapTooLong) as error:
            with pytest.raises(type(error)):
                recent.window(TASK, fps, GAP_S)
            outcomes.add(type(error).__name__)
            continue
        past = recent.window(TASK, fps, GAP_S).past
        outcomes.add(len(past.hands))
        assert (past.hands, past.filled) == (expected.hands, expected.filled)
        np.testing.assert_allclose(past.joints, expected.joints, atol=1e-12)
    assert outcomes >= {"TooFewFrames", 1, 2}


def test_a_masked_past_is_that_of_all_frames_with_the_joints_that_were_seen():
    rng, frames, fps = np.random.default_rng(4), 150, 60
    joints = moving_hands(frames, hands=2).reshape(frames, 2, 21, 3)
    unseen = rng.random((frames, 2, 21)) < 0.1
    unseen[60:90] = False  # whole for a while
    joints[unseen] = np.nan
    times, recent = np.arange(frames) / fps, Recent(CAPACITY, 2, 21, 21)
    for at, pose in enumerate(joints):
        add(recent, pose, float(times[at]), follows=True)
        if not at:
            continue
        clip = joints[: at + 1], ~unseen[: at + 1], times[: at + 1]
        expected, (past, seen, part) = partial_window(*clip, 10, 30, GAP_S), recent.window(MASKED, fps, GAP_S)
        assert (past.hands, past.filled) == (expected.hands, expected.filled)
        np.testing.assert_array_equal(seen, expected.seen)
        np.testing.assert_allclose(past.joints, expected.joints, atol=1e-12)
        assert (part is None) is (at in range(78, 90))  # nothing is missing


def test_a_past_on_the_grid_of_the_model_has_the_frames_bit_for_bit_and_is_a_copy():
    joints, recent = moving_hands(61, hands=2).reshape(61, 2, 21, 3), Recent(100, 2, 21, 21)
    for at, pose in enumerate(joints):
        add(recent, pose, at / 60, follows=True)
    past = recent.window(TASK, 60, GAP_S).past
    np.testing.assert_array_equal(past.joints, joints[42::2])
    before = past.joints.copy()
    for at, pose in enumerate(joints, start=61):
        add(recent, 1 + pose, at / 60, follows=True)
    np.testing.assert_array_equal(past.joints, before)


@pytest.mark.parametrize("task", [TASK, MASKED])
def test_no_hand_in_the_whole_window_is_a_past_without_hands(task):
    recent = Recent(100, 2, 21, 21)
    for at in range(12):
        add(recent, np.full((2, 21, 3), np.nan), at / 30, follows=False)
    assert recent.window(task, 30, GAP_S).past.joints.shape == (10, 0, 21, 3)


def test_forgotten_frames_are_not_counted():
    recent = Recent(100, 1, 21, 21)
    for at in range(12):
        add(recent, np.zeros((1, 21, 3)), at / 30, follows=True)
    recent.clear()
    assert (len(recent), recent.newest, recent.seconds) == (0, None, 0.0)
    add(recent, np.zeros((1, 21, 3)), 0.0, follows=False)
    with pytest.raises(TooFewFrames):
        recent.window(TASK, 30, GAP_S)


def test_frames_that_cannot_be_converted_count_as_unseen_and_the_others_are_kept():
    def refuse_ones(points: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if (points == 1).any():
            raise Problem("degenerate-hand", "collinear")
        return points, seen

    recent = Recent(100, 1, 21, 21)
    for at in range(4):
        recent.add(np.full((1, 21, 3), float(at)), np.ones((1, 21), bool), at / 30, follows=at > 0)
    with pytest.raises(Problem, match="collinear"):
        recent.convert(refuse_ones)
    assert recent.known[:, 0, 0].tolist() == recent.seen[:, 0, 0].tolist() == [True, False, True, True]
    np.testing.assert_array_equal(recent.joints[:, 0, 0, 0], [0, np.nan, 2, 3])
    recent.convert(refuse_ones)
