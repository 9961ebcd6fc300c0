"""Tests of the times of frames: units, rates, evenness, and refused times."""

import numpy as np
import pytest

from models.motion.timing import UNITS, BadTimes, even_timing, timing_of


@pytest.mark.parametrize("fps", [5, 29.97, 60, 200])
@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_follows_from_the_steps(unit: str, fps: float):
    seconds = np.arange(50) / fps
    timing = timing_of(1_700_000 / UNITS[unit] + seconds / UNITS[unit])
    assert timing.fps == pytest.approx(fps, rel=1e-5)
    assert timing.even
    assert timing.warnings == ()
    np.testing.assert_allclose(timing.times, seconds, atol=1e-6)


def test_a_clock_that_counts_whole_milliseconds_is_even_at_the_mean_rate():
    timing = timing_of(np.round(np.arange(300) * 1000 / 30))
    assert timing.even
    assert timing.fps == pytest.approx(30, rel=1e-3)


def test_a_dropped_frame_makes_a_clip_uneven_and_does_not_change_the_rate():
    stamps = np.delete(np.arange(40) / 25, 12)
    timing = timing_of(stamps)
    assert timing.fps == pytest.approx(25)
    assert not timing.even
    assert timing.longest_step == (11, pytest.approx(0.08))
    assert "40 to 80 ms apart" in timing.warnings[0]
    np.testing.assert_allclose(np.interp(timing.grid(), np.arange(39), stamps), np.arange(40) / 25)


def test_an_even_grid_begins_at_the_first_frame_or_ends_at_the_last():
    rng = np.random.default_rng(0)
    stamps = np.cumsum(rng.uniform(0.02, 0.05, 60))
    timing = timing_of(stamps)
    for places, end in ((timing.grid(), 0), (timing.grid(from_end=True), -1)):
        times = np.interp(places, np.arange(60), timing.times)
        np.testing.assert_allclose(np.diff(times), 1 / timing.fps)
        assert times[end] == timing.times[end]


def test_even_frames_at_a_known_rate_have_their_times():
    np.testing.assert_array_equal(even_timing(3, 10).times, [0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("stamps", "text"),
    [
        ([1.0], "at least 2 times"),
        ([0, 0.1, np.nan], "finite"),
        ([0, 0.1, 0.1, 0.2], "got 0.1 in frame 2 after 0.1"),
        ([0.3, 0.2, 0.1], "increase"),
        (np.arange(9.0), "got a median step of 1"),
        (np.arange(9) * 0.5, "got a median step of 0.5"),
        (np.arange(9) * 1e-6, "got a median step of 1e-06"),
        (np.arange(9) * 1e12, "got a median step of 1e"),
        ([-1e308, 1e308], "got a median step of inf"),
    ],
)
def test_times_that_cannot_be_those_of_frames_are_refused(stamps: list[float], text: str):
    with pytest.raises(BadTimes, match=text.replace("+", r"\+")):
        timing_of(np.array(stamps, np.float64))
