"""How wrong a forecast is: mean joint distance in mm, mean squared distance in dm^2, and intervals over recordings."""

import numpy as np
from jaxtyping import Float, Int

HORIZONS_MS = (100, 333, 500, 1000)

Poses = Float[np.ndarray, "windows future nodes 3"]
PerWindow = Float[np.ndarray, "windows future"]


def distances_mm(forecast: Poses, true: Poses) -> PerWindow:
    """MPJPE of each window and future frame, in mm: the mean over joints of the distance between forecast and true position."""
    return 1000 * np.linalg.norm(forecast - true, axis=-1).mean(axis=-1)


def squares_dm2(forecast: Poses, true: Poses) -> PerWindow:
    """Mean over joints of the squared distance, in dm^2, of each window and future frame."""
    return 100 * np.square(forecast - true).sum(axis=-1).mean(axis=-1)


def at_horizons(errors: Float[np.ndarray, " future"], fps: float) -> dict[str, float]:
    """The errors at HORIZONS_MS, of those that the forecast reaches; the frame nearest to each."""
    frames = {ms: round(ms / 1000 * fps) for ms in HORIZONS_MS}
    return {f"{ms} ms": float(errors[frame - 1]) for ms, frame in frames.items() if 1 <= frame <= len(errors)}


def bootstrap_interval(
    errors: Float[np.ndarray, " windows"],
    recording_of: Int[np.ndarray, " windows"],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % interval of the mean over windows when recordings, not windows, are drawn again; None where there is one recording alone.

    Windows of one recording overlap and resemble each other, so drawing windows would promise too much (Efron and Tibshirani 1993, ch. 8).
    """
    recordings, member = np.unique(recording_of, return_inverse=True)
    if len(recordings) < 2:
        return None
    sums, counts = np.bincount(member, weights=errors), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(recordings), size=(draws, len(recordings)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)
