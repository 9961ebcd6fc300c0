"""Tests of windows: they span no gap, have consecutive frames, and give known baseline errors on the real sources."""

from dataclasses import replace

import numpy as np
import pytest

from models.motion.hands import clip_of, resample
from training.tasks.hands.npz import read_hands
from training.tasks.hands.recordings import Recording
from training.tasks.hands.windows import (
    PRESETS,
    Usage,
    Window,
    WindowSet,
    WrongHands,
    cut,
    usage,
)


def counting(frames: int, fps: float = 30.0, hands: int = 2, absent=()) -> Recording:
    """Return hands whose coordinates equal the frame number, plus a half for the right hand; `absent` has (frames, hand)."""
    joints = (
        np.arange(frames)[:, None, None, None] + np.zeros((1, hands, 21, 3)) + 0.5 * np.arange(hands)[:, None, None]
    )
    valid = np.ones((frames, hands), bool)
    for gap, hand in absent:
        valid[gap, hand] = False
    return Recording("made", "counting", "count", clip_of(joints.astype(np.float32), np.arange(frames) / fps, valid))


def frames_of(windows: WindowSet, node: int = 0) -> list[list[float]]:
    """Return the frame numbers in each window of counting hands."""
    past, future = windows.past_future(np.arange(len(windows)))
    return np.concatenate([past, future], axis=1)[:, :, node, 0].tolist()


def test_presets_have_the_names_of_their_windows():
    assert set(PRESETS) == {"10+10@30", "30+30@30", "60+60@60", "80+20@60", "70+30@60"}
    assert all(name == window.name for name, window in PRESETS.items())
    assert PRESETS["80+20@60"] == Window(past=80, future=20, fps=60)


def test_every_window_has_consecutive_frames_of_the_left_hand_then_the_right():
    windows = cut([counting(7)], Window(3, 2, 30))
    assert frames_of(windows, node=20) == [[i, i + 1, i + 2, i + 3, i + 4] for i in range(3)]
    assert frames_of(windows, node=21) == [[i + 0.5 for i in row] for row in frames_of(windows, node=20)]
    past, future = windows.past_future(np.array([2, 0]))
    assert past.shape == (2, 3, 42, 3)
    assert future.shape == (2, 2, 42, 3)
    assert past.dtype == future.dtype == np.float32
    assert past[:, 0, 0, 0].tolist() == [2, 0]


def test_no_window_spans_a_gap():
    recording = counting(12, absent=[(5, 1)])
    assert frames_of(cut([recording], Window(2, 2, 30))) == [
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [6, 7, 8, 9],
        [7, 8, 9, 10],
        [8, 9, 10, 11],
    ]


def test_a_missing_frame_between_those_of_a_window_is_a_gap_too():
    recording = counting(9, fps=60, absent=[(3, 0)])
    assert frames_of(cut([recording], Window(1, 1, 30))) == [[0, 2], [4, 6], [5, 7], [6, 8]]


def test_windows_of_a_faster_recording_begin_at_every_frame_or_on_one_grid():
    recording, window = counting(10, fps=90), Window(2, 1, 30)
    assert frames_of(cut([recording], window)) == [[i, i + 3, i + 6] for i in range(4)]
    assert frames_of(cut([recording], window, phases="first")) == [[0, 3, 6], [3, 6, 9]]


def test_the_stride_is_counted_at_the_windows_rate():
    recording, window = counting(20, fps=60), Window(2, 1, 30, stride=2)
    assert frames_of(cut([recording], window, phases="first")) == [[i, i + 2, i + 4] for i in (0, 4, 8, 12)]
    assert frames_of(cut([recording], window)) == [[i, i + 2, i + 4] for i in (0, 1, 4, 5, 8, 9, 12, 13)]


def test_each_single_hand_gives_windows_of_its_own():
    recording = counting(6, absent=[(slice(3, 6), 0)])
    assert frames_of(cut([recording], Window(1, 1, 30), hands=1)) == [
        *([0, 1], [1, 2]),
        *([i + 0.5, i + 1.5] for i in range(5)),
    ]


def test_windows_of_lone_hands_and_of_pairs_together_are_all_windows_of_single_hands():
    recording = counting(9, absent=[(slice(5, 9), 0), (0, 1)])
    window = Window(1, 1, 30)
    one, two = cut([recording], window, hands=1), cut([recording], window, hands=2)
    lone = cut([recording], window, hands=1, lone=True)
    pairs = [row for node in (0, 21) for row in frames_of(two, node)]
    assert sorted(frames_of(lone) + pairs) == sorted(frames_of(one))
    assert frames_of(lone) == [[0, 1], *([i + 0.5, i + 1.5] for i in range(4, 8))]


def test_a_recording_of_one_hand_gives_no_windows_of_two():
    recording = counting(5, hands=1)
    assert len(cut([recording], Window(1, 1, 30), hands=1)) == 4
    with pytest.raises(WrongHands, match="made counting: expected windows of 1 to 1 hands, got 2"):
        cut([recording], Window(1, 1, 30), hands=2)


def test_windows_state_their_recordings_and_short_recordings_have_no_windows():
    recordings = [replace(counting(n), name=f"of {n}") for n in (4, 2, 5)]
    windows = cut(recordings, Window(2, 1, 30))
    assert windows.recordings == [("made", "of 4", "count"), ("made", "of 2", "count"), ("made", "of 5", "count")]
    assert windows.recording_of.tolist() == [0, 0, 2, 2, 2]
    assert frames_of(windows) == [[0, 1, 2], [1, 2, 3], [0, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize("hands", [1, 2])
def test_a_recording_without_windows_gives_an_empty_set(hands):
    windows = cut([counting(3)], Window(2, 2, 30), hands=hands)
    assert (len(windows), windows.nodes) == (0, 21 * hands)
    assert windows.past_future(np.arange(0))[0].shape == (0, 2, 21 * hands, 3)


def test_a_recording_up_to_a_fifth_slower_than_the_window_is_resampled():
    windows = cut([counting(20, fps=27)], Window(3, 2, 30))
    rows = np.array(frames_of(windows))
    np.testing.assert_allclose(rows, [[0.9 * (i + k) for k in range(5)] for i in range(len(rows))], atol=1e-5)
    assert rows[-1, -1] == pytest.approx(18.9, abs=1e-5)  # the last instant of the grid within the recording
    assert (windows.slow, windows.short) == ([], [])
    assert len(cut([counting(20, fps=59.94)], Window(5, 5, 60))) == 11
    assert len(cut([counting(20, fps=13)], Window(3, 2, 15))) > 0  # whose own step is longer than the longest gap


def test_slower_and_shorter_recordings_give_no_windows_and_are_counted():
    recordings = [counting(20, fps=23.9), counting(9), counting(20, fps=24), counting(8)]
    windows = cut(recordings, Window(5, 5, 30))
    assert (windows.slow, windows.short) == ([0], [1, 3])
    assert set(windows.recording_of) == {2}
    faster = replace(recordings[0], clip=resample(recordings[0].clip, 60, max_gap=0.05))
    assert len(cut([faster], Window(5, 5, 60))) > 0


def test_the_use_of_recordings_is_counted_over_sets_of_windows():
    alone = counting(20, absent=[(slice(None), 0)])
    broken = counting(20, absent=[(slice(3, None, 4), slice(None))])
    recordings = [counting(20), alone, broken, counting(4), counting(20, fps=10)]
    two, one = (cut(recordings, Window(3, 3, 30), hands=n, lone=n == 1) for n in (2, 1))
    counted = usage([two, one])
    assert counted == Usage(recordings=5, short=1, slow=1, gaps=1)
    assert counted.used == 2
    assert usage([two]).used == 1


def test_windows_are_consecutive_if_they_are_a_frame_apart_at_their_rate():
    windows = cut([counting(9, fps=60), counting(5)], Window(1, 1, 30))
    starts = [row[0] for row in frames_of(windows)]
    assert starts == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
    assert windows.consecutive(np.array([0, 2, 4, 5, 7, 8, 10])).tolist() == [True, True, False, False, True, False]
    assert windows.consecutive(np.arange(1)).tolist() == []


def known(windows: WindowSet) -> list[list[float | None]]:
    """Return the frame numbers in each window of counting hands, None for a frame that it lacks."""
    return [[None if np.isnan(x) else x for x in row] for row in frames_of(windows)]


def test_windows_may_lack_the_frames_beyond_the_ends_of_a_recording():
    windows = cut([counting(4)], Window(2, 2, 30), least=(1, 1))
    assert known(windows) == [[None, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, None]]
    assert known(cut([counting(4)], Window(2, 2, 30), least=(2, 1))) == known(windows)[1:]
    assert known(cut([counting(4)], Window(2, 2, 30), least=(1, 2))) == known(windows)[:2]
    assert cut([counting(3)], Window(2, 2, 30)).short == [0]
    assert known(cut([counting(3)], Window(2, 2, 30), least=(2, 1))) == [[0, 1, 2, None]]


def test_an_incomplete_window_has_no_frame_from_beyond_a_gap_or_of_another_step():
    recording = counting(13, fps=60, absent=[(6, 0)])
    windows = cut([recording], Window(2, 2, 30), least=(1, 1))
    assert known(windows) == [
        *([None, i, i + 2, i + 4 if i < 2 else None] for i in (0, 1)),
        *([i, i + 2, i + 4 if i < 2 else None, None] for i in (0, 1)),
        *([None, i, i + 2, i + 4] for i in (7, 8)),
        *([i, i + 2, i + 4, None] for i in (7, 8)),
    ]


def test_a_lone_hand_keeps_the_incomplete_windows_that_have_more_than_those_of_both_hands():
    recording = counting(5, absent=[(slice(3, 5), 0)])
    two, lone = (cut([recording], Window(1, 2, 30), hands=n, lone=n == 1, least=(1, 1)) for n in (2, 1))
    assert known(two) == [[0, 1, 2], [1, 2, None]]
    assert known(lone) == [[1.5, 2.5, 3.5], [2.5, 3.5, 4.5], [3.5, 4.5, None]]


def test_an_irregular_recording_is_resampled_and_no_window_spans_its_pause():
    times = np.cumsum(np.random.default_rng(0).uniform(0.012, 0.02, size=200))
    times[100:] += 0.5
    joints = np.broadcast_to(times[:, None, None, None], (200, 2, 21, 3)).astype(np.float32)
    windows = cut([Recording("made", "irregular", "", clip_of(joints, times))], Window(5, 5, 30))
    rows = np.array(frames_of(windows))
    np.testing.assert_allclose(np.diff(rows, axis=1), 1 / 30, atol=1e-5)
    before = rows[:, -1] <= times[99] + 1e-5
    assert (before | (rows[:, 0] >= times[100] - 1e-5)).all()
    assert 0 < before.sum() < len(rows)
    assert len(rows) > 1.5 * len(
        cut([Recording("made", "", "", clip_of(joints, times))], Window(5, 5, 30), phases="first")
    )


def errors_mm(windows: WindowSet) -> tuple[float, float]:
    """Return the mean distance over the horizon of holding the last pose, and of continuing at its velocity."""
    hold, velocity = [], []
    for chunk in np.array_split(np.arange(len(windows)), max(1, len(windows) // 512)):
        past, future = windows.past_future(chunk)
        step = (past[:, -1:] - past[:, -2:-1]) * np.arange(1, future.shape[1] + 1)[:, None, None]
        hold.append(np.linalg.norm(past[:, -1:] - future, axis=-1).mean(axis=(1, 2)))
        velocity.append(np.linalg.norm(past[:, -1:] + step - future, axis=-1).mean(axis=(1, 2)))
    return 1000 * float(np.concatenate(hold).mean()), 1000 * float(np.concatenate(velocity).mean())


@pytest.mark.parametrize(
    ("source", "preset", "count", "hold_mm", "velocity_mm"),
    [
        ("assembly101_sample", "10+10@30", 96, 33.81, 43.30),
        ("manipnet", "10+10@30", 3244, 26.30, 25.11),
        ("manipnet", "70+30@60", 6303, 33.48, 39.27),
        ("humoto", "10+10@30", 6625, 68.97, 41.76),
        ("humoto", "30+30@30", 5645, 164.27, 166.71),
        ("tzionas", "10+10@30", 693, 9.85, 6.82),
        ("leap", "10+10@30", 314, 26.43, 27.66),
        ("ultraleap_tracking", "10+10@30", 1414, 21.18, 30.28),
        ("leap_vrcollage", "10+10@30", 88, 19.51, 14.20),
    ],
)
def test_the_baselines_have_their_known_errors_on_real_motion(data_folder, source, preset, count, hold_mm, velocity_mm):
    windows = cut(
        read_hands(data_folder / "hands", source), replace(PRESETS[preset], stride=2), hands=2, phases="first"
    )
    assert len(windows) == count
    assert errors_mm(windows) == pytest.approx((hold_mm, velocity_mm), abs=0.01)


@pytest.mark.parametrize("source", ["manipnet", "tzionas", "leap"])
@pytest.mark.parametrize("hands", [1, 2])
def test_windows_of_real_sources_are_finite_and_of_the_size_of_hands(data_folder, source, hands):
    windows = cut(read_hands(data_folder / "hands", source), PRESETS["30+30@30"], hands=hands, phases="first")
    past, future = windows.past_future(np.arange(0, len(windows), 7))
    points = np.concatenate([past, future], axis=1)
    assert np.isfinite(points).all()
    per_hand = points.reshape(*points.shape[:2], hands, 21, 3)
    assert np.linalg.norm(per_hand - per_hand[..., 5:6, :], axis=-1).max() < 0.3  # no joint is a foot from its wrist
