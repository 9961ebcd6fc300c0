"""Tests of the bootstrap interval over recordings, against a slow reference implementation."""

import numpy as np
import pytest

from training.engine.statistics import bootstrap_interval


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
