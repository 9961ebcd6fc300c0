"""Tests of the faults of trackers: each hides what it says, and leaves enough for a forecast."""

import numpy as np
import pytest
from laws import hand_motion

from training.tasks.hands.faults import NONE, Faults, with_faults, without_unseen_hands

BATCH, FRAMES = 400, 12


def pasts(nodes: int = 42, batch: int = BATCH) -> np.ndarray:
    return hand_motion(FRAMES, nodes, batch=batch).astype(np.float32)


def faulty(faults: Faults, past: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return pasts with faults and what is seen, after checks that hold for all faults."""
    past = pasts() if past is None else past
    before = past.copy()
    answer, seen = with_faults(past, faults, np.random.default_rng(0))
    assert np.array_equal(past, before, equal_nan=True)
    assert answer.dtype == np.float32
    assert not answer[~seen].any()
    assert (seen.any(axis=2).sum(axis=1) >= 2).all()
    return answer, seen


def test_without_faults_everything_is_seen_as_it_is():
    answer, seen = faulty(NONE)
    assert seen.all()
    assert np.array_equal(answer, pasts())


def test_positions_that_do_not_exist_are_not_seen():
    past = pasts()
    past[0, :3] = np.nan
    answer, seen = faulty(NONE, past)
    assert np.flatnonzero(~seen.any(axis=2).reshape(-1)).tolist() == [0, 1, 2]
    assert np.isfinite(answer).all()


def test_jitter_has_the_given_deviation_and_hides_nothing():
    answer, seen = faulty(Faults(jitter_mm=(2, 2)))
    assert seen.all()
    assert (1000 * (answer - pasts())).std() == pytest.approx(2, rel=0.01)
    each = (1000 * (faulty(Faults(jitter_mm=(0, 2)))[0] - pasts())).std(axis=(1, 2, 3))
    assert 0 <= each.min() < 0.1 < 1.9 < each.max() < 2.2
    assert not Faults(jitter_mm=(0, 2)).hide


def test_a_share_of_the_joints_is_missing_in_every_frame_or_anew_in_each():
    _, seen = faulty(Faults(joints=(0.2, 0.2)))
    assert (~seen).mean() == pytest.approx(0.2, abs=0.01)
    same = (seen == seen[:, :1]).all(axis=(1, 2))
    assert same.mean() == pytest.approx(0.5, abs=0.1)
    shares = 1 - faulty(Faults(joints=(0.1, 0.3)))[1][~same].mean(axis=(1, 2))
    assert 0.05 < shares.min() < 0.15 < 0.25 < shares.max() < 0.35


def test_a_burst_is_a_run_of_up_to_a_third_of_the_frames():
    _, seen = faulty(Faults(burst=0.5))
    frames = np.asarray(seen.all(axis=2))
    assert (frames == seen.any(axis=2)).all()
    missing = (~frames).sum(axis=1)
    assert set(missing) == {0, 1, 2, 3, 4}
    assert (missing == 0).mean() == pytest.approx(0.5, abs=0.08)
    for row in ~frames[missing > 0]:
        places = np.flatnonzero(row)
        assert places[-1] - places[0] == len(places) - 1
    assert (~frames[:, -1]).any()
    assert (~frames[:, 0]).any()


def test_a_lost_hand_is_not_seen_from_some_frame_on():
    _, seen = faulty(Faults(lost=1))
    hands = seen.reshape(BATCH, FRAMES, 2, 21)
    assert (hands.all(axis=3) == hands.any(axis=3)).all()
    shown = np.asarray(hands.all(axis=3))
    assert (np.diff(shown.astype(int), axis=1) <= 0).all()
    assert (shown[:, -1].sum(axis=1) == 1).all()
    assert set(shown.sum(axis=1).min(axis=1)) == set(range(FRAMES))
    assert faulty(Faults(lost=1), pasts(nodes=21))[1].all()


def test_a_short_past_has_its_last_frames_and_at_least_two():
    _, seen = faulty(Faults(short=1))
    shown = seen.all(axis=2)
    assert (np.diff(shown.astype(int), axis=1) >= 0).all()
    assert set(shown.sum(axis=1)) == set(range(2, FRAMES + 1))


def test_all_faults_together_leave_two_frames_also_of_incomplete_pasts():
    past = pasts()
    past[: BATCH // 2, :9] = np.nan
    faulty(Faults((0, 2), (0.1, 0.3), burst=1, lost=1, short=1), past)
    faulty(Faults((0, 2), (0.1, 0.3), burst=1, lost=1, short=1), pasts(nodes=21))


def test_a_hand_that_is_never_seen_has_no_future_and_one_that_was_seen_once_has():
    seen = np.zeros((2, FRAMES, 42), bool)
    seen[:, 0, 30] = True
    seen[1, 5, :20] = True
    future = without_unseen_hands(np.zeros((2, 4, 42, 3), np.float32), seen)
    assert np.isnan(future[0, :, :21]).all()
    assert np.isfinite(future[0, :, 21:]).all()
    assert np.isfinite(future[1]).all()
