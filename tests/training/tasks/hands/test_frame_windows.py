"""Tests of windows that end their past at a frame: they are what the service gives a model that is asked in every frame."""

import numpy as np
import pytest

from models.motion.hands import clip_of
from models.motion.partial_hands import partial_window
from training.tasks.hands.frame_windows import cut_at_frames
from training.tasks.hands.recordings import Recording
from training.tasks.hands.windows import MAX_GAP_S, Window, WindowSet, WrongHands

EVEN = (0.8, 1.2)
ANY = (0.8, 2.2)


def counting(times: np.ndarray, hands: int = 1, absent=()) -> Recording:
    """Return hands whose coordinates are their time in frames of 60 Hz; `absent` has (frame, hand)."""
    joints = np.broadcast_to(60 * times[:, None, None, None], (len(times), hands, 21, 3)).astype(np.float32)
    valid = np.ones((len(times), hands), bool)
    for frame, hand in absent:
        valid[frame, hand] = False
    return Recording("made", "counting", "count", clip_of(joints, times, valid))


def even(frames: int, fps: float) -> np.ndarray:
    return np.arange(frames) / fps


def frames_of(windows: WindowSet) -> list[list[float]]:
    """Return the times of the frames of each window of counting hands."""
    past, future = windows.past_future(np.arange(len(windows)))
    return np.concatenate([past, future], axis=1)[:, :, 0, 0].round(4).tolist()


def test_a_window_ends_its_past_at_a_frame_and_has_the_rate_of_the_window():
    windows = cut_at_frames([counting(even(6, 48))], Window(2, 1, 60), 1, rates=EVEN)
    assert frames_of(windows) == [[newest - 1, newest, newest + 1] for newest in (1.25, 2.5, 3.75, 5.0)]


def test_a_faster_recording_gives_the_windows_of_each_whole_fraction_of_its_rate():
    fast = counting(even(10, 120))
    both = cut_at_frames([fast], Window(2, 1, 60), 1, rates=ANY)
    assert frames_of(both) == [
        *[[newest - 1, newest, newest + 1] for newest in np.arange(1, 4, 0.5)],
        *[[newest - 1, newest, newest + 1] for newest in (1.0, 2.0, 3.0)],
    ]
    assert len(cut_at_frames([fast], Window(2, 1, 60), 1, rates=EVEN)) == 3
    assert len(cut_at_frames([fast], Window(2, 1, 60), 1, rates=(1.3, 2.2))) == 6


def test_a_recording_of_an_unfit_rate_is_slow_and_a_brief_one_is_short():
    windows = cut_at_frames(
        [counting(even(9, 30)), counting(even(9, 85)), counting(even(2, 60))], Window(2, 1, 60), 1, rates=EVEN
    )
    assert (len(windows), windows.slow, windows.short) == (0, [0, 1], [2])


def test_frames_that_were_lost_are_interpolated_up_to_the_longest_gap():
    times = even(12, 60)
    kept = np.delete(times, [4])
    windows = cut_at_frames([counting(kept)], Window(2, 1, 60), 1, rates=EVEN)
    assert frames_of(windows) == [[n - 1, n, n + 1] for n in (1, 2, 3, 5, 6, 7, 8, 9, 10)]
    lost = np.delete(times, range(4, 4 + round(60 * MAX_GAP_S)))
    assert frames_of(cut_at_frames([counting(lost)], Window(2, 1, 60), 1, rates=EVEN)) == [
        [n - 1, n, n + 1] for n in (1, 2, 8, 9, 10)
    ]


def test_windows_follow_each_other_where_no_frame_was_lost_between_them():
    kept = np.delete(even(10, 60), [5])
    windows = cut_at_frames([counting(kept), counting(even(3, 60))], Window(2, 1, 60), 1, rates=EVEN)
    newest = [row[1] for row in frames_of(windows)]
    assert newest == [1, 2, 3, 4, 6, 7, 8, 1]
    assert windows.consecutive(np.arange(8)).tolist() == [True, True, True, False, True, True, False]
    assert windows.consecutive(np.array([0, 2])).tolist() == [False]


def test_incomplete_windows_lack_the_frames_that_the_recording_does_not_have():
    windows = cut_at_frames([counting(even(4, 60))], Window(3, 2, 60), 1, rates=EVEN, least=(2, 1))
    assert windows.lacks_of.tolist() == [[1, 0], [0, 1]]
    assert np.isnan(frames_of(windows)[0][0])
    assert np.isnan(frames_of(windows)[1][4])


def test_a_window_of_one_hand_is_lone_unless_both_have_as_much():
    recording = counting(even(8, 60), hands=2, absent=[(5, 1)])
    lone = cut_at_frames([recording], Window(2, 1, 60), 1, rates=EVEN, lone=True)
    both = cut_at_frames([recording], Window(2, 1, 60), 2, rates=EVEN)
    assert [row[1] for row in frames_of(both)] == [1, 2, 3, 4, 6]
    assert [row[1] for row in frames_of(lone)] == [5]
    assert len(cut_at_frames([recording], Window(2, 1, 60), 1, rates=EVEN)) == 11
    with pytest.raises(WrongHands, match="1 to 1 hands, got 2"):
        cut_at_frames([counting(even(8, 60))], Window(2, 1, 60), 2, rates=EVEN)


def test_the_past_is_the_one_that_the_service_makes_of_the_frames_so_far():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.008, 0.02, size=60))
    joints = rng.normal(size=(60, 2, 21, 3)).astype(np.float32)
    recording = Recording("made", "noise", "", clip_of(joints, times))
    windows = cut_at_frames([recording], Window(24, 6, 60), 2, rates=(0.5, 4.0))
    past, _ = windows.past_future(np.arange(len(windows)))
    starts = windows.start_of[windows.track_of == 0]
    assert len(starts) > 5
    for index, newest in enumerate(starts):
        so_far = slice(0, newest + 1)
        seen = np.ones((newest + 1, 2, 21), bool)
        served = partial_window(joints[so_far].astype(np.float64), seen, times[so_far], 24, 60, MAX_GAP_S)
        assert served.seen.all()
        np.testing.assert_allclose(past[index].reshape(24, 2, 21, 3), served.joints, atol=1e-5)
