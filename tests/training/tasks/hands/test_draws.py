"""Tests of the chances of training windows: by source, and by the motion of the past."""

import numpy as np
import pytest

from models.motion.hands import clip_of
from training.tasks.hands.draws import STILL_M_S, Draw, chances, speeds
from training.tasks.hands.recordings import Recording
from training.tasks.hands.windows import Window, WindowSet, cut

WINDOW = Window(4, 2, 30)


def moving(source: str, frames: int, speed: float) -> Recording:
    """Return two hands that move at a speed in m/s; the right hand is there in the first half only."""
    times = np.arange(frames) / 30
    joints = np.zeros((frames, 2, 21, 3), np.float32)
    joints[..., 0] = speed * times[:, None, None]
    valid = np.stack([np.ones(frames, bool), np.arange(frames) < frames / 2], axis=1)
    return Recording(source, f"{source} at {speed}", "", clip_of(joints, times, valid))


def sets(*recordings: Recording) -> list[WindowSet]:
    return [cut(recordings, WINDOW, hands=hands, lone=hands == 1) for hands in (1, 2)]


def share(windows: list[WindowSet], draw: Draw, source: str, still: bool | None = None) -> float:
    """Return the chance of drawing a window of a source, which is still or not."""
    total = 0.0
    for one, chance in zip(windows, chances(windows, draw), strict=True):
        own = np.array([one.recordings[i][0] == source for i in one.recording_of])
        if still is not None:
            own &= (speeds(one) < STILL_M_S) == still
        total += float(chance[own].sum())
    return total


@pytest.mark.parametrize("least", [None, (2, 1)])
def test_the_speed_of_a_past_does_not_depend_on_its_future_or_on_missing_frames(least):
    windows = cut([moving("a", 20, 0.3)], WINDOW, hands=1, least=least)
    np.testing.assert_allclose(speeds(windows), 0.3, rtol=1e-4)
    stopped = moving("a", 6, 0.3)
    stopped.clip.joints[4:] = stopped.clip.joints[3]
    np.testing.assert_allclose(speeds(cut([stopped], WINDOW, hands=1))[0], 0.3, rtol=1e-4)


def test_sources_are_drawn_by_their_windows_the_root_of_these_or_evenly():
    windows = sets(moving("large", 60, 1.0), moving("small", 20, 1.0))
    counts = {name: sum(int((w.recording_of == i).sum()) for w in windows) for i, name in enumerate(("large", "small"))}
    ratio = counts["large"] / counts["small"]
    assert ratio > 3
    for draw, expected in ((Draw("windows"), ratio), (Draw("sqrt"), ratio**0.5), (Draw("even"), 1)):
        assert share(windows, draw, "large") / share(windows, draw, "small") == pytest.approx(expected)
    assert sum(float(chance.sum()) for chance in chances(windows, Draw("even"))) == pytest.approx(1)


def test_the_share_of_still_windows_of_a_source_is_limited():
    windows = sets(
        moving("mixed", 60, 0.001), moving("mixed", 20, 1.0), moving("lively", 20, 1.0), moving("dead", 20, 0.0)
    )
    draw = Draw("even", still=0.3)
    assert share(windows, draw, "mixed", still=True) == pytest.approx(0.3 / 3)
    assert share(windows, draw, "mixed", still=False) == pytest.approx(0.7 / 3)
    assert share(windows, draw, "lively") == pytest.approx(1 / 3)
    assert share(windows, draw, "dead") == pytest.approx(1 / 3)  # it has no other windows
    assert share(windows, Draw("even", still=0.95), "mixed", still=True) < 0.9 / 3  # and no more than it has
