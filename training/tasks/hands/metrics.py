"""training.tasks.hands.metrics."""

import numpy as np
from jaxtyping import Float

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
