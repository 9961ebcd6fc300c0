"""Plausibility of a person: a stature in metres, a size in pixels, and a head that is not always below the hips."""

import numpy as np
from jaxtyping import Float

from models.motion.proportions import SHARES
from models.skeletons.skeleton import Skeleton
from models.skeletons.units import Implausible, check_size, describe_size

STATURE_M = (0.5, 2.6)  # 1.17 to 1.88 m on recordings of four sources
USUAL_M = (0.9, 2.2)  # a warning beyond
SMALLEST_PX = 8.0  # of a person's extent in an image; below it there is nothing to lift
DROP = 0.18  # of the stature: a head so far below the hips is upside down; at most 0.10 on recordings, for a person bending to the floor

Points = Float[np.ndarray, "frames joints dims"]


def stature(points: Points, order: Skeleton) -> float | None:
    """Return a person's stature in the unit of `points`, from the median length of each limb; None if no limb is ever seen.

    `points` (frames, joints, 3) are NaN where missing.
    """
    joints, estimates = order.joints, []
    for (a, b), share in SHARES.items():
        for side in ("left", "right"):
            if f"{side}_{a}" in joints and f"{side}_{b}" in joints:
                i, j = order.indices((f"{side}_{a}", f"{side}_{b}"))
                lengths = np.linalg.norm(points[:, i] - points[:, j], axis=-1)
                if (known := np.isfinite(lengths)).any():
                    estimates.append(float(np.median(lengths[known])) / share)
    return float(np.median(estimates)) if estimates else None


def check_person(points: Points, order: Skeleton, unit: str) -> list[str]:
    """Check the stature and the uprightness of a person in metres, y up, that was given in `unit`.

    Returns warnings about doubtful points. Raises Implausible.
    """
    check_extent(points)
    warnings = []
    if (metres := stature(points, order)) is not None:
        check_size("a person", metres, unit, *STATURE_M)
        if not USUAL_M[0] <= metres <= USUAL_M[1]:
            warnings.append(f"the person is {describe_size(metres)} tall, read in {unit}; check `units`")
    if is_upside_down(points, order):
        raise Implausible(
            "expected a person with y up, got one whose head is below the hips throughout; state the axes, "
            "as axes=camera for poses from /poses/lift, or axes=z-up"
        )
    if (lying := _lies(points, order)) is not None:
        warnings.append(lying)
    return warnings


def _lies(points: Points, order: Skeleton) -> str | None:
    """Return a warning if a person's trunk lies along z throughout: z may be up."""
    if not {"left_hip", "right_hip", "left_shoulder", "right_shoulder"} <= set(order.joints):
        return None
    hips, shoulders = (
        points[:, order.indices((f"left_{part}", f"right_{part}"))].mean(axis=1) for part in ("hip", "shoulder")
    )
    trunk = shoulders - hips
    trunk = trunk[np.isfinite(trunk).all(axis=-1)]
    if not len(trunk) or np.median(trunk[:, 2]) <= 3 * np.abs(trunk[:, 1]).max():
        return None
    return "the person lies on their back throughout; if z is up, send axes=z-up"


def is_upside_down(points: Points, order: Skeleton) -> bool:
    """Return whether the head is far below the hips, along the second coordinate, in the median of the frames that show both."""
    heads = ("head_top", "head", "head_base", "nose", "neck", "thorax")
    head = next((joint for joint in heads if joint in order.joints), None)
    metres = stature(points, order)
    if head is None or metres is None or not {"left_hip", "right_hip"} <= set(order.joints):
        return False
    hips = points[:, order.indices(("left_hip", "right_hip")), 1].mean(axis=-1)
    drop = hips - points[:, order.joints.index(head), 1]
    drop = drop[np.isfinite(drop)]
    return bool(len(drop)) and float(np.median(drop)) > DROP * metres


def check_in_image(points: Points, image: tuple[float, float]) -> None:
    """Check that keypoints (frames, joints, 2), NaN where missing, are pixels of an image (width, height). Raises Implausible."""
    check_extent(points)
    size = _extent(points)
    if size < SMALLEST_PX:
        advice = (
            "coordinates from 0 to 1 must be multiplied by the image's width and height"
            if size < 2.5
            else "check the unit and `image`"
        )
        raise Implausible(
            f"expected a person of {SMALLEST_PX:g} pixels or more in an image of {image[0]:g} x {image[1]:g}, got {size:.3g}; {advice}"
        )


def check_extent(points: Points) -> None:
    """Check that the points of a person (NaN where missing) are not all at one place. Raises Implausible."""
    if _extent(points) == 0:
        raise Implausible(
            "expected the joints of a person, got all joints at one point; send null for what was not seen"
        )


def _extent(points: Points) -> float:
    """Return the median over frames of a person's largest side; frames with fewer than two points do not count."""
    known = np.asarray(np.isfinite(points).all(axis=-1))
    frames = known.sum(axis=-1) > 1
    if not frames.any():
        return np.inf  # a single point has no size that could be wrong
    low, high = (np.where(known[..., None], points, fill)[frames] for fill in (np.inf, -np.inf))
    return float(np.median((high.max(axis=1) - low.min(axis=1)).max(axis=-1)))
