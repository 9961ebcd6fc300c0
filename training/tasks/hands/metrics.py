"""Errors of hand forecasts: mean joint distance in mm, mean squared distance in dm^2, at fixed horizons."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

HORIZONS_MS = (100, 333, 500, 1000)

Poses = Float[np.ndarray, "windows future nodes 3"]
PerWindow = Float[np.ndarray, "windows future"]


def distances_mm(forecast: Poses, true: Poses) -> PerWindow:
    """Return the MPJPE of each window and future frame in mm: the distance of a joint from its true position, averaged over joints."""
    return 1000 * np.linalg.norm(forecast - true, axis=-1).mean(axis=-1)


def squares_dm2(forecast: Poses, true: Poses) -> PerWindow:
    """Return the squared distance of a joint from its true position, averaged over joints, in dm^2, of each window and frame."""
    return 100 * np.square(forecast - true).sum(axis=-1).mean(axis=-1)


def at_horizons(
    errors: Float[np.ndarray, " future"], fps: float, horizons_ms: Sequence[int] = HORIZONS_MS
) -> dict[str, float]:
    """Return the errors at those horizons that the forecast reaches, each at the nearest frame."""
    frames = {ms: round(ms / 1000 * fps) for ms in horizons_ms}
    return {f"{ms} ms": float(errors[frame - 1]) for ms, frame in frames.items() if 1 <= frame <= len(errors)}
