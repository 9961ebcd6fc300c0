"""Body clips as the arrays that networks take: windows for lifting, samples for forecasting, clips for recognition.

All functions commute with the chirality transform: the result for a mirrored clip is the mirror image of the result. A missing point is NaN
in a clip and, after centring, 0 in the input of a network, so that the mirror leaves it in place.
"""

import numpy as np
from jaxtyping import Float, Int

from models.skeletons.body import sides
from models.skeletons.skeleton import Skeleton

AXES = {  # points times these are in axes with y up; the camera's y is down and its z points away
    "y-up": np.eye(3),
    "camera": np.diag([1.0, -1.0, -1.0]),
    "z-up": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
}


def resampled(
    points: Float[np.ndarray, "frames joints dims"], fps: float, to: float
) -> Float[np.ndarray, "new joints dims"]:
    """Resample a motion from `fps` to `to` frames per second, from its first frame on, by linear interpolation."""
    if fps == to:
        return points
    return at_places(points, np.round(np.arange(int((len(points) - 1) * to / fps + 1e-6) + 1) * fps / to, 6))


def at_places(
    points: Float[np.ndarray, "frames joints dims"], places: Float[np.ndarray, " new"]
) -> Float[np.ndarray, "new joints dims"]:
    """Interpolate a motion linearly at fractions of frame numbers; beyond the last frame it stands still."""
    before = np.minimum(places.astype(int), len(points) - 1)
    after = np.minimum(before + 1, len(points) - 1)
    share = (places - before)[:, None, None]
    exact = share == 0  # a frame that coincides with an old one does not depend on the next, which may be missing
    return np.where(exact, points[before], points[before] * (1 - share) + points[after] * share).astype(points.dtype)


def edge_padded(keypoints: Float[np.ndarray, " frames *rest"], receptive: int) -> Float[np.ndarray, " padded *rest"]:
    """Repeat the first and the last frame receptive // 2 times each, so that every frame is in the middle of a window.

    Frame t of the clip is the middle of padded[t : t + receptive]. `receptive` is odd, such as 1, 27, 81 or 243.
    """
    half = receptive // 2
    return np.concatenate([keypoints[:1].repeat(half, axis=0), keypoints, keypoints[-1:].repeat(half, axis=0)])


def box_of(points: Float[np.ndarray, "frames joints dims"]) -> tuple[Float[np.ndarray, " dims"], float]:
    """Return the centre of the axis-parallel box around all visible points, and half its longer side; (0, 1) if none is visible."""
    known = points[np.isfinite(points).all(axis=-1)].astype(np.float64)
    if len(known) == 0:
        return np.zeros(points.shape[-1]), 1.0
    low, high = known.min(axis=0), known.max(axis=0)
    return (low + high) / 2, float((high - low).max() / 2) or 1.0


def boxed(
    points: Float[np.ndarray, "*batch dims"], box: tuple[Float[np.ndarray, " dims"], float]
) -> Float[np.ndarray, "*batch dims"]:
    """Return the points in units of the box, from -1 to 1 along its longer side; PCK@0.05 is a distance of 0.1 in this unit."""
    middle, half = box
    return ((points - middle) / half).astype(np.float32)


def boxed_by_past(
    poses: Float[np.ndarray, "samples frames joints 2"], past: int
) -> Float[np.ndarray, "samples frames joints 2"]:
    """Return each sample in units of the box around its first `past` frames, as `boxed` does with `box_of` of these."""
    seen = poses[:, :past].astype(np.float64)
    known = np.isfinite(seen).all(axis=-1, keepdims=True)
    low, high = (near(np.where(known, seen, far), axis=(1, 2)) for near, far in ((np.min, np.inf), (np.max, -np.inf)))
    empty = ~np.isfinite(low)
    low[empty], high[empty] = 0, 0
    middle, half = (low + high) / 2, ((high - low) / 2).max(axis=-1)
    half[half == 0] = 1
    return ((poses - middle[:, None, None]) / half[:, None, None, None]).astype(np.float32)


def penn_sample(frames: int, past: int = 1, future: int = 16) -> Int[np.ndarray, "frames {past}+{future}"]:
    """Return the frame numbers of the sample that begins at each frame of a clip, as TP-RNN does after 3D-PFNet.

    The frames of a sample are (frames - 1) // (past + future) apart, so that the first sample spans the clip, and at least 1 apart. A
    sample that reaches beyond the clip repeats the last frame.
    """
    step = max(1, (frames - 1) // (past + future))
    return np.minimum(np.arange(frames)[:, None] + step * np.arange(past + future), frames - 1)


def steady_sample(frames: int, past: int, future: int) -> Int[np.ndarray, "samples {past}+{future}"]:
    """Return the frame numbers of every sample of past + future consecutive frames within a clip."""
    return np.arange(max(0, frames - past - future + 1))[:, None] + np.arange(past + future)


def evenly(frames: int, count: int) -> Int[np.ndarray, " {count}"]:
    """Return `count` frame numbers spread evenly from the first to the last frame of a clip, with repeats if it is shorter."""
    return np.linspace(0, frames - 1, count).round().astype(int)


def cropped(
    points: Float[np.ndarray, "persons frames joints channels"], start: int, count: int
) -> Float[np.ndarray, "persons {count} joints channels"]:
    """Return `count` frames from `start` on; every number after the clip's end is 0, the confidence included."""
    piece = points[:, start : start + count]
    return np.pad(piece, ((0, 0), (0, count - piece.shape[1]), (0, 0), (0, 0)))


def facing(points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton) -> Float[np.ndarray, "frames joints 3"]:
    """Rotate a motion about y so that the person's left is along +x on average, which removes the camera's direction.

    y is up. The direction is a sum over all mirror pairs in all frames, so that a tracker that exchanges the legs now and then has little
    influence.
    """
    pairs = sides(skeleton)
    x, _, z = (points[:, list(pairs.left)] - points[:, list(pairs.right)]).reshape(-1, 3).T
    across = np.array([np.nansum(x), np.nansum(z)], dtype=np.float64)
    return about_y(points, float(np.arctan2(across[1], across[0])))


def about_y(points: Float[np.ndarray, "*batch 3"], angle: float) -> Float[np.ndarray, "*batch 3"]:
    """Rotate the points about the y axis so that (cos angle, 0, sin angle) maps to +x."""
    cos, sin = np.cos(angle), np.sin(angle)
    return (points @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T).astype(points.dtype)


def shown(
    points: Float[np.ndarray, "*batch joints dims"], confidence: Float[np.ndarray, "*batch joints"]
) -> Float[np.ndarray, "*batch joints dims+1"]:
    """Append the confidence to the coordinates; a point that is missing or has confidence 0 becomes 0 in every number."""
    missing = ~np.isfinite(points).all(axis=-1) | (confidence <= 0)
    together = np.concatenate([points, confidence[..., None]], axis=-1, dtype=np.float32)
    together[missing] = 0
    return together


def normalise(pixels: Float[np.ndarray, "*batch 2"], size: tuple[float, float]) -> Float[np.ndarray, "*batch 2"]:
    """Map pixels to x in -1..1 across the width and y in the same unit from the middle: x/w*2 - 1, y/w*2 - h/w, as VideoPose3D does."""
    width, height = size
    return (pixels / width * 2 - np.array([1, height / width])).astype(pixels.dtype)


def denormalise(keypoints: Float[np.ndarray, "*batch 2"], size: tuple[int, int]) -> Float[np.ndarray, "*batch 2"]:
    """Map normalised keypoints back to pixels; the inverse of `normalise`."""
    width, height = size
    return ((keypoints + np.array([1, height / width])) * width / 2).astype(keypoints.dtype)
