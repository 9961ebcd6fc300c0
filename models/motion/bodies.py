"""What networks on bodies are shown: keypoints of windows for lifting, of samples for forecasting, of clips for recognition.

All functions keep the chirality symmetry: what they make of a mirrored clip is the mirror image of what they make of the clip. In a clip a
missing point is NaN; in what a network is shown it is 0, after centring, so that the mirror leaves it where it is.
"""

import numpy as np
from jaxtyping import Float, Int

from models.skeletons.body import sides
from models.skeletons.skeleton import Skeleton


def resampled(
    points: Float[np.ndarray, "frames joints dims"], fps: float, to: float
) -> Float[np.ndarray, "new joints dims"]:
    """The motion at `to` frames a second, from its first frame on, points of new frames on the line between their neighbours."""
    if fps == to:
        return points
    times = np.round(np.arange(int((len(points) - 1) * to / fps + 1e-6) + 1) * fps / to, 6)
    before = np.minimum(times.astype(int), len(points) - 1)
    after = np.minimum(before + 1, len(points) - 1)
    share = (times - before)[:, None, None]
    exact = share == 0  # a missing neighbour does not spoil a frame that falls on another
    return np.where(exact, points[before], points[before] * (1 - share) + points[after] * share).astype(points.dtype)


def edge_padded(keypoints: Float[np.ndarray, " frames *rest"], receptive: int) -> Float[np.ndarray, " padded *rest"]:
    """The clip with its first and last frame repeated, receptive // 2 times each, so that every frame is in the middle of a window.

    Frame t of the clip is the middle of padded[t : t + receptive]; `receptive` is odd, such as 1, 27, 81 or 243.
    """
    half = receptive // 2
    return np.concatenate([keypoints[:1].repeat(half, axis=0), keypoints, keypoints[-1:].repeat(half, axis=0)])


def box_of(points: Float[np.ndarray, "frames joints dims"]) -> tuple[Float[np.ndarray, " dims"], float]:
    """The middle of the axis-parallel box round all points that are not missing, and half its longer side; (0, 1) where there are none."""
    known = points[np.isfinite(points).all(axis=-1)].astype(np.float64)
    if len(known) == 0:
        return np.zeros(points.shape[-1]), 1.0
    low, high = known.min(axis=0), known.max(axis=0)
    return (low + high) / 2, float((high - low).max() / 2) or 1.0


def boxed(
    points: Float[np.ndarray, "*batch dims"], box: tuple[Float[np.ndarray, " dims"], float]
) -> Float[np.ndarray, "*batch dims"]:
    """The points in units of the box: from -1 to 1 along its longer side. PCK@0.05 is a distance of 0.1 here."""
    middle, half = box
    return ((points - middle) / half).astype(np.float32)


def penn_sample(frames: int, past: int = 1, future: int = 16) -> Int[np.ndarray, "frames {past}+{future}"]:
    """The frames of the sample that begins at each frame of a clip (TP-RNN's, after 3D-PFNet).

    They are (frames - 1) // (past + future) frames apart, so that the first sample spans the clip; where a sample runs out of it, the last
    frame is repeated. A clip too short for that is taken frame by frame.
    """
    step = max(1, (frames - 1) // (past + future))
    return np.minimum(np.arange(frames)[:, None] + step * np.arange(past + future), frames - 1)


def steady_sample(frames: int, past: int, future: int) -> Int[np.ndarray, "samples {past}+{future}"]:
    """The frames of every sample of past + future consecutive frames that lies within a clip."""
    return np.arange(max(0, frames - past - future + 1))[:, None] + np.arange(past + future)


def evenly(frames: int, wanted: int) -> Int[np.ndarray, " {wanted}"]:
    """`wanted` frame numbers spread evenly from the first to the last of a clip, repeating where it is shorter."""
    return np.linspace(0, frames - 1, wanted).round().astype(int)


def cropped(
    points: Float[np.ndarray, "persons frames joints channels"], start: int, wanted: int
) -> Float[np.ndarray, "persons {wanted} joints channels"]:
    """`wanted` frames from `start` on; after the clip's end everything is missing: 0, confidence included."""
    piece = points[:, start : start + wanted]
    return np.pad(piece, ((0, 0), (0, wanted - piece.shape[1]), (0, 0), (0, 0)))


def facing(points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "frames joints 3"]:
    """The motion turned about y, as a whole, so that the person's left is along +x on average: what cameras at different places saw alike.

    y is up. Left is told from all mirror pairs in all frames, so that a tracker's confusing the legs at times does little.
    """
    pairs = sides(skeleton)
    x, _, z = (points[:, list(pairs.left)] - points[:, list(pairs.right)]).reshape(-1, 3).T
    across = np.array([np.nansum(x), np.nansum(z)], dtype=np.float64)
    return about_y(points, float(np.arctan2(across[1], across[0])))


def about_y(points: Float[np.ndarray, "*batch 3"], angle: float) -> Float[np.ndarray, "*batch 3"]:
    """The points turned about the y axis so that (cos angle, 0, sin angle) comes to lie on +x."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (points @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T).astype(points.dtype)


def shown(
    points: Float[np.ndarray, "*batch joints dims"], confidence: Float[np.ndarray, "*batch joints"]
) -> Float[np.ndarray, "*batch joints dims+1"]:
    """Coordinates, then the confidence; what is missing or has confidence 0 is 0 in all of them."""
    missing = ~np.isfinite(points).all(axis=-1) | (confidence <= 0)
    together = np.concatenate([points, confidence[..., None]], axis=-1, dtype=np.float32)
    together[missing] = 0
    return together


def normalise(pixels: Float[np.ndarray, "*batch 2"], size: tuple[int, int]) -> Float[np.ndarray, "*batch 2"]:
    """x in -1..1 across the width, y in the same unit from the middle of the height: x/w*2 - 1, y/w*2 - h/w (VideoPose3D's)."""
    width, height = size
    return (pixels / width * 2 - np.array([1, height / width])).astype(pixels.dtype)


def denormalise(keypoints: Float[np.ndarray, "*batch 2"], size: tuple[int, int]) -> Float[np.ndarray, "*batch 2"]:
    """The inverse of `normalise`."""
    width, height = size
    return ((keypoints + np.array([1, height / width])) * width / 2).astype(keypoints.dtype)
