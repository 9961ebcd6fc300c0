"""Tests of the bootstrap interval over recordings, against a slow reference implementation."""

import numpy as np
import pytest

from training.engine.statistics import bootstrap_interval, interval_of_sums


def slow_bootstrap(errors: np.ndarray, recording_of: np.ndarray, draws: int) -> tuple[float, float]:
    """Compute the interval with a loop over resamples."""
    rng = np.random.default_rng(7)
    groups = [errors[recording_of == r] for r in np.unique(recording_of)]
    means = [
        np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]).mean() for _ in range(draws)
    ]
    return tuple(np.percentile(means, (2.5, 97.5)))


def test_the_interval_resamples_whole_recordings():
    rng = np.random.default_rng(0)
    recording_of = np.repeat(np.arange(12) * 3, rng.integers(5, 40, size=12))  # numbers need not be consecutive
    errors = 20 + 5 * np.sin(recording_of) + rng.normal(size=len(recording_of))
    low, high = bootstrap_interval(errors, recording_of) or pytest.fail("no interval")
    slow = slow_bootstrap(errors, recording_of, draws=3000)
    assert low < errors.mean() < high
    assert (low, high) == pytest.approx(slow, abs=0.25 * (high - low))
    assert bootstrap_interval(errors, recording_of) == (low, high)


def test_repeated_windows_do_not_narrow_the_interval():
    recording_of, errors = np.arange(8), np.random.default_rng(0).normal(20, 5, size=8)
    once = bootstrap_interval(errors, recording_of)
    often = bootstrap_interval(np.repeat(errors, 50), np.repeat(recording_of, 50))
    by_window = bootstrap_interval(np.repeat(errors, 50), np.arange(400))
    assert once is not None
    assert often == pytest.approx(once)
    assert by_window is not None
    assert by_window[1] - by_window[0] < 0.3 * (once[1] - once[0])


def test_a_single_recording_has_no_interval():
    assert bootstrap_interval(np.arange(5.0), np.zeros(5, int)) is None


def test_differences_of_each_recording_give_the_interval_of_a_paired_comparison():
    """Both models share the difficulty of a recording, which the pairing removes."""
    rng = np.random.default_rng(1)
    recording_of = np.repeat(np.arange(10), 20)
    difficulty = rng.normal(50, 20, size=10)[recording_of]
    one, other = difficulty + rng.normal(size=200), difficulty - 2 + rng.normal(size=200)
    counts, sums = np.bincount(recording_of), np.bincount(recording_of, weights=one - other)
    low, high = interval_of_sums(sums, counts) or pytest.fail("no interval")
    assert 1.5 < low < 2 < high < 2.5
    assert (low, high) == bootstrap_interval(one - other, recording_of)
