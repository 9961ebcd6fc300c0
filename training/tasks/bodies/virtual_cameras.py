"""Virtual cameras: each sample of captured motion is seen by a camera of its own, and with the errors of a detector.

World axes are y up, camera axes x right, y down, z forward, both in metres. All numbers are drawn from the generator that is given.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from models.motion.bodies import shown
from models.skeletons.skeleton import Skeleton

NEAREST = 0.15  # metres in front of a camera: what is nearer, or behind it, is not seen
KNOT_FRAMES = 9  # between the knots of an error that lasts
LONGEST = 18  # frames that a joint is missing or astray without a break

Motion = Float[np.ndarray, "batch frames joints 3"]
Keypoints = Float[np.ndarray, "batch frames joints xyc"]


@dataclass(frozen=True)
class VirtualCameras:
    """Distribution of cameras around a person's pelvis in the middle of a sample.

    Azimuths are even all around, and distances even on a logarithmic scale within `distance_m`. The camera looks down at the person by an
    angle that is normal with mean and deviation `elevation_deg` or, for a share `any_elevation`, even within `elevations_deg`. `lens` has
    the least and the greatest focal length in half widths of the picture, on a logarithmic scale. The pelvis is off the middle of the
    picture by a normal offset of `off_middle` half widths either way in a share `middle` of the samples, and by any offset up to
    `anywhere` in the others. The camera is rolled by a normal angle of `roll_deg`. A share `cut` of the samples lacks what is outside the
    picture, of an aspect between 9:16 and 16:9.

    Lengths of bones change by factors of a normal logarithm with the deviation `bones`, the same on both sides.
    """

    distance_m: tuple[float, float] = (0.8, 8.0)
    elevation_deg: tuple[float, float] = (8.0, 7.0)
    any_elevation: float = 0.4
    elevations_deg: tuple[float, float] = (-25.0, 50.0)
    middle: float = 0.5
    off_middle: float = 0.15
    anywhere: float = 0.7
    roll_deg: float = 3.0
    lens: tuple[float, float] = (0.9, 4.0)
    cut: float = 0.2
    bones: float = 0.0

    def views(self, points: Motion, skeleton: Skeleton, rng: np.random.Generator) -> tuple[Keypoints, Motion]:
        """Return what a camera for each sample sees, in half widths of the picture with confidences, and the poses in its axes.

        A missing keypoint is 0 in every number. Poses are in metres from the pelvis; an unknown joint is NaN.
        """
        pelvis, n = skeleton.indices(("pelvis",))[0], len(points)
        if self.bones:
            points = with_other_bones(points, skeleton, np.exp(self.bones * rng.normal(size=(n, len(skeleton.bones)))))
        low, high = np.log(self.distance_m)
        distance = np.exp(rng.uniform(low, high, n))
        usual, anywhere = rng.normal(*self.elevation_deg, n), rng.uniform(*self.elevations_deg, n)
        elevation = np.where(rng.random(n) < self.any_elevation, anywhere, usual)
        azimuth = rng.uniform(-180, 180, n)
        short, long = np.log(self.lens)
        focal = np.exp(rng.uniform(short, long, n))
        place = np.clip(self.off_middle * rng.normal(size=(2, n)), -self.anywhere, self.anywhere)
        place = np.where(rng.random(n) < self.middle, place, self.anywhere * rng.uniform(-1, 1, (2, n)))
        aim = np.rad2deg(np.arctan(place / focal))
        R = looking_at(azimuth, elevation, aim, self.roll_deg * rng.normal(size=n)).astype(np.float32)
        from_pelvis = points - points[:, points.shape[1] // 2, None, None, pelvis]
        towards = looking_at(azimuth, elevation)[:, 2].astype(np.float32)  # the way from the camera to the pelvis
        seen = (from_pelvis + (distance[:, None].astype(np.float32) * towards)[:, None, None]) @ np.swapaxes(R, 1, 2)[
            :, None
        ]
        z = seen[..., 2:]
        keypoints = focal.astype(np.float32)[:, None, None, None] * seen[..., :2] / np.maximum(z, NEAREST)
        there = (z > NEAREST)[..., 0] & np.isfinite(keypoints).all(axis=-1)
        height = np.exp(rng.uniform(np.log(9 / 16), np.log(16 / 9), n))
        inside = (np.abs(keypoints) <= np.stack([np.ones(n), height], 1)[:, None, None]).all(axis=-1)
        there &= inside | (rng.random(n) >= self.cut)[:, None, None]
        poses = seen - seen[:, :, pelvis, None]
        return shown(keypoints, there.astype(np.float32)), poses.astype(np.float32)


@dataclass(frozen=True)
class DetectorNoise:
    """Errors of a detector of keypoints, as shares of the person's size: the root mean square distance of the keypoints from their middle.

    A share `clean` of the samples has none. In the others, the deviation is between 0 and `level` for all joints, times a factor of each
    joint. Half of the variance is new in every frame, and half lasts. A share `gone` of the keypoints is missing for a run of frames, and
    another share `astray` is off by about `far` of the size for a run of frames.
    """

    level: float = 0.12
    clean: float = 0.3
    gone: float = 0.03
    astray: float = 0.01
    far: float = 0.5

    def disturb(self, keypoints: Keypoints, rng: np.random.Generator) -> None:
        """Change keypoints in place. A missing keypoint stays 0."""
        n, frames, joints, _ = keypoints.shape
        noisy = (rng.random(n) >= self.clean)[:, None, None, None]
        factors = np.exp(0.5 * rng.normal(size=(n, 1, joints, 1)))
        level = (rng.uniform(0, self.level, (n, 1, 1, 1)) * factors).astype(np.float32)
        weights = _between_knots(frames)
        lasting = rng.standard_normal((n, weights.shape[1], joints, 2), dtype=np.float32)
        offsets = np.tensordot(lasting, weights, ((1,), (1,))).transpose(0, 3, 1, 2)
        offsets += rng.standard_normal((n, frames, joints, 2), dtype=np.float32)
        offsets *= level * np.float32(np.sqrt(0.5))
        stray = _runs(self.astray, n, frames, joints, rng)
        offsets += stray * rng.normal(scale=self.far, size=(n, 1, joints, 2)).astype(np.float32)
        there = (keypoints[..., 2:] > 0) & ~(noisy & _runs(self.gone, n, frames, joints, rng))
        keypoints[..., :2] += noisy * sizes_of(keypoints) * offsets
        keypoints *= there


def _runs(share: float, n: int, frames: int, joints: int, rng: np.random.Generator) -> Bool[np.ndarray, "n f j 1"]:
    """Return runs of frames, of 1 to LONGEST each, that together are about this share of all frames of all joints."""
    begins = rng.random((n, frames + LONGEST, joints)) < 2 * share / (LONGEST + 1)
    sample, frame, joint = np.nonzero(begins)
    edges = np.zeros((n, frames + 2 * LONGEST + 1, joints), dtype=np.int8)
    np.add.at(edges, (sample, frame, joint), 1)
    np.add.at(edges, (sample, frame + rng.integers(1, LONGEST + 1, len(frame)), joint), -1)
    return (edges.cumsum(axis=1, dtype=np.int8)[:, LONGEST : LONGEST + frames] > 0)[..., None]


def sizes_of(keypoints: Keypoints) -> Float[np.ndarray, "batch 1 1 1"]:
    """Return the root mean square distance of the seen keypoints of each sample from their middle in their frame."""
    seen = keypoints[..., 2:] > 0
    middle = keypoints[..., :2].sum(axis=2, keepdims=True) / np.maximum(seen.sum(axis=2, keepdims=True), 1)
    square = (((keypoints[..., :2] - middle) * seen) ** 2).sum(axis=(1, 2, 3), keepdims=True)
    return np.sqrt(square / np.maximum(seen.sum(axis=(1, 2, 3), keepdims=True), 1))


def looking_at(
    azimuth: Float[np.ndarray, " n"],
    elevation: Float[np.ndarray, " n"],
    aim: Float[np.ndarray, "2 n"] | None = None,
    roll: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "n 3 3"]:
    """Return rotations from world to camera axes of cameras that look at a point from these directions; angles are in degrees.

    A camera at azimuth 0 and elevation 0 is in the direction of z from the point. `aim` turns it so that the point is
    off its axis by these angles to the right and down, and `roll` turns it about its own axis.
    """
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    zero = np.zeros_like(a)
    forward = -np.stack([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], 1)
    right = np.stack([np.cos(a), zero, -np.sin(a)], 1)
    R = np.stack([right, np.cross(forward, right), forward], 1)
    if aim is not None:
        R = _turns(np.deg2rad(aim[1]), 2, 1) @ _turns(np.deg2rad(aim[0]), 2, 0) @ R
    return R if roll is None else _turns(np.deg2rad(roll), 0, 1) @ R


def with_other_bones(points: Motion, skeleton: Skeleton, factors: Float[np.ndarray, "batch bones"]) -> Motion:
    """Return motion whose bones are longer by these factors, the same on both sides, and have the directions that they had."""
    at = {bone: i for i, bone in enumerate(skeleton.bones)}
    shift = np.zeros_like(points)
    for near, far in skeleton.bones:
        image = at[skeleton.mirror[near], skeleton.mirror[far]]
        factor = np.sqrt(factors[:, at[near, far]] * factors[:, image]).astype(points.dtype)[:, None, None]
        longer = (factor - 1) * (points[:, :, far] - points[:, :, near])
        shift[:, :, far] = shift[:, :, near] + np.nan_to_num(
            longer
        )  # beyond a missing joint, joints move with those before it
    return points + shift


def _turns(angle: Float[np.ndarray, " n"], first: int, second: int) -> Float[np.ndarray, "n 3 3"]:
    """Return rotations by angles from one axis towards another."""
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, second, first], turn[:, first, second] = np.sin(angle), -np.sin(angle)
    return turn


def _between_knots(frames: int) -> Float[np.ndarray, "{frames} knots"]:
    """Return the weights in every frame of knots that are KNOT_FRAMES apart, by linear interpolation, of unit square sum."""
    places = np.arange(frames)[:, None] / KNOT_FRAMES
    weights = np.maximum(0, 1 - np.abs(places - np.arange(int((frames - 1) / KNOT_FRAMES) + 2)))
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
