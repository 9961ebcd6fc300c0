"""Changes that give a captured 3D clip the faults of one that was lifted from a video, so that a recogniser knows both.

A lifted clip is tilted with its camera, stays at one place, lacks joints that the detector lacks, and is off by some centimetres, most
along the line of sight, by errors that last for several frames.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.skeletons.skeleton import Skeleton

KNOTS = 5  # of an error over a clip
SHARES = (0.6, 0.6, 1.5)  # of an error across, up, and along the line of sight


@dataclass(frozen=True)
class LiftedLike:
    """The sizes of the changes. A clip without an error, without a tilt or with its path stays as likely as one with.

    `tilt_deg` is the largest tilt of a camera; it rolls by half as much. `error_m` is the largest standard deviation of the errors, which
    half of the clips have. `rooted` is the share of clips whose pelvis stays at 0. `lacking` is the share of joints that are missing
    throughout a clip; the top of the head, which most detectors lack, is missing in half of the clips. `warp` is the largest change of pace
    from the beginning to the end.
    """

    tilt_deg: float = 15.0
    error_m: float = 0.05
    rooted: float = 0.5
    lacking: float = 0.04
    warp: float = 0.3

    def places(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, " {count}"]:
        """Return `count` increasing places from 0 to 1 in a clip, at a pace that changes evenly."""
        time = np.linspace(0, 1, count)
        return time + rng.uniform(-self.warp, self.warp) * time * (1 - time)

    def change(
        self, points: Float[np.ndarray, "persons frames joints 3"], skeleton: Skeleton, rng: np.random.Generator
    ) -> Float[np.ndarray, "persons frames joints 3"]:
        """Return a clip with the faults of a lifted one; missing points are NaN."""
        if rng.random() < self.rooted:
            pelvis = skeleton.indices(("pelvis",))[0]
            points = points - points[:, :, pelvis : pelvis + 1]
        pitch, roll = np.deg2rad(rng.uniform(-self.tilt_deg, self.tilt_deg, size=2) * (1, 0.5))
        points = points @ (_turn(pitch, 1, 2) @ _turn(roll, 0, 1)).T
        level = self.error_m * max(0.0, rng.uniform(-1, 1))
        knots = rng.normal(size=(KNOTS, len(skeleton.joints), 3)) * level * SHARES
        points = points + _interpolated(knots, points.shape[1])
        lacking = np.full(len(skeleton.joints), self.lacking)
        if "head_top" in skeleton.joints:
            lacking[skeleton.joints.index("head_top")] = 0.5 * bool(self.lacking)
        points[:, :, rng.random(len(lacking)) < lacking] = np.nan
        return points.astype(np.float32)


def _turn(angle: float, first: int, second: int) -> Float[np.ndarray, "3 3"]:
    """Return the rotation by an angle in the plane of two axes."""
    turn = np.eye(3)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


def _interpolated(knots: Float[np.ndarray, "knots joints 3"], frames: int) -> Float[np.ndarray, "{frames} joints 3"]:
    """Return a motion through evenly spaced knots."""
    places = np.linspace(0, len(knots) - 1, frames)
    before = np.minimum(places.astype(int), len(knots) - 2)
    share = (places - before)[:, None, None]
    return knots[before] * (1 - share) + knots[before + 1] * share
