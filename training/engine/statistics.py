"""Confidence intervals of errors over recordings."""

import numpy as np
from jaxtyping import Float, Int


def bootstrap_interval(
    errors: Float[np.ndarray, " windows"],
    recording_of: Int[np.ndarray, " windows"],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over windows, from a bootstrap over recordings; None if there is a single recording.

    Windows of one recording overlap, so a bootstrap over windows would give too narrow an interval (Efron and Tibshirani 1993, ch. 8).
    """
    _, member = np.unique(recording_of, return_inverse=True)
    return interval_of_sums(np.bincount(member, weights=errors), np.bincount(member), draws=draws, seed=seed)


def interval_of_sums(
    sums: Float[np.ndarray, " recordings"],
    counts: Int[np.ndarray, " recordings"],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the same interval from each recording's sum of errors and number of windows.

    With sums of differences between two models, window by window, it is the interval of a paired comparison.
    """
    if len(sums) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)
