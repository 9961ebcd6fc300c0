"""Errors of hand forecasts: mean joint distance in mm, mean squared distance in dm^2, at fixed horizons; and how steady forecasts are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

HORIZONS_MS = (33, 67, 100, 333, 500, 1000)

Poses = Float[np.ndarray, "windows future nodes 3"]
PerWindow = Float[np.ndarray, "windows future"]


def distances_mm(forecast: Poses, true: Poses) -> PerWindow:
    """Return the MPJPE of each window and future frame in mm: the distance of a joint from its true position, averaged over joints."""
    return 1000 * np.linalg.norm(forecast - true, axis=-1).mean(axis=-1)


def squares_dm2(forecast: Poses, true: Poses) -> PerWindow:
    """Return the squared distance of a joint from its true position, averaged over joints, in dm^2, of each window and frame."""
    return 100 * np.square(forecast - true).sum(axis=-1).mean(axis=-1)


def jitter_mm(forecast: Poses, follows: Bool[np.ndarray, " windows-1"]) -> Float[np.ndarray, " future"] | None:
    """Return the jitter at each future frame in mm, as a viewer sees it who is shown the forecast at that horizon frame by frame.

    It is the second difference over three windows, each a frame after the one before it, averaged over joints. `follows` says which windows
    are a frame before the next one of `forecast`. None if there are no three such windows.
    """
    middle = np.flatnonzero(follows[:-1] & follows[1:]) + 1
    if len(middle) == 0:
        return None
    change = forecast[middle + 1] - 2 * forecast[middle] + forecast[middle - 1]
    return 1000 * np.linalg.norm(change, axis=-1).mean(axis=(0, 2))


def seam_mm(past: Float[np.ndarray, "windows past nodes 3"], forecast: Poses) -> Float[np.ndarray, " windows"]:
    """Return how far the first step of a forecast is from the last step of its past, in mm, averaged over joints, for each window."""
    change = forecast[:, 0] - 2 * past[:, -1] + past[:, -2]
    return 1000 * np.linalg.norm(change, axis=-1).mean(axis=-1)


def at_horizons(
    errors: Float[np.ndarray, " future"], fps: float, horizons_ms: Sequence[int] = HORIZONS_MS
) -> dict[str, float]:
    """Return the errors at those horizons that the forecast reaches, each at the nearest frame."""
    frames = {ms: round(ms / 1000 * fps) for ms in horizons_ms}
    return {f"{ms} ms": float(errors[frame - 1]) for ms, frame in frames.items() if 1 <= frame <= len(errors)}
