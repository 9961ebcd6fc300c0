"""A stretch of 2D keypoints with the 3D poses behind them: what lifting is trained and measured on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.motion.bodies import normalise, resampled
from models.skeletons.body import convert_body, convert_confidence
from models.skeletons.skeleton import Skeleton
from training.data.splits import Split
from training.tasks.bodies.clips import BodyClip, confidence_of
from training.tasks.bodies.readers.cameras import (
    Camera,
    Placement,
    on_the_spot,
    project,
    to_camera,
)

Keypoints = Float[np.ndarray, "frames seen_joints 2"]
Targets = Float[np.ndarray, "frames joints 3"]


@dataclass(frozen=True)
class LiftClip:
    """`keypoints` are normalised (-1 to 1 across the image: `body_motion.normalise`), in the order `seen`; missing ones are NaN with
    confidence 0.

    `targets` are in the order `skeleton`, in the camera's axes (x right, y down, z forward), in metres from the pelvis, which is exactly 0;
    NaN where the pose is not known. The two orders may differ.
    """

    source: str
    name: str
    camera: str
    split: Split
    subject: str
    label: str
    fps: float
    seen: Skeleton
    skeleton: Skeleton
    keypoints: Keypoints
    confidence: Float[np.ndarray, "frames seen_joints"]
    targets: Targets


def projected(clip: BodyClip, camera: Camera, seen: Skeleton, skeleton: Skeleton, fps: float | None = None) -> LiftClip:
    """Motion of y up as `camera` sees it, brought to where the camera looks, at `fps` frames a second (by default its own).

    Joints that the motion's own order cannot give are missing, on either side.
    """
    pelvis = clip.skeleton.indices(("pelvis",))[0]
    points = on_the_spot(clip.points.astype(np.float64), pelvis)
    points = to_camera(resampled(points, clip.fps, fps or clip.fps), camera)
    visible = convert_body(points, clip.skeleton, seen, partial=True)
    poses = visible if seen.name == skeleton.name else convert_body(points, clip.skeleton, skeleton, partial=True)
    keypoints = normalise(project(visible, camera), camera.size)
    return LiftClip(
        clip.source,
        clip.name,
        camera.name,
        clip.split,
        clip.subject,
        clip.label,
        fps or clip.fps,
        seen,
        skeleton,
        keypoints.astype(np.float32),
        confidence_of(keypoints),
        from_pelvis(poses, skeleton),
    )


def measured(
    clip: BodyClip, camera: Placement, pixels: Float[np.ndarray, "frames seen_joints xy_or_xyc"], seen: Skeleton
) -> LiftClip:
    """Motion in world coordinates with keypoints that a detector found in the images of `camera`, with or without a confidence."""
    keypoints = normalise(pixels[..., :2].astype(np.float64), camera.size).astype(np.float32)
    confidence = confidence_of(keypoints)
    if pixels.shape[-1] == 3:
        confidence = confidence * np.maximum(pixels[..., 2], 0).astype(np.float32)
    return LiftClip(
        clip.source,
        clip.name,
        camera.name,
        clip.split,
        clip.subject,
        clip.label,
        clip.fps,
        seen,
        clip.skeleton,
        keypoints,
        confidence,
        from_pelvis(to_camera(clip.points.astype(np.float64), camera), clip.skeleton),
    )


def in_order(clip: LiftClip, seen: Skeleton, skeleton: Skeleton) -> LiftClip:
    """The same clip with its keypoints and targets in other orders; joints that cannot be had are missing."""
    if (clip.seen.name, clip.skeleton.name) == (seen.name, skeleton.name):
        return clip
    return LiftClip(
        clip.source,
        clip.name,
        clip.camera,
        clip.split,
        clip.subject,
        clip.label,
        clip.fps,
        seen,
        skeleton,
        convert_body(clip.keypoints, clip.seen, seen, partial=True),
        convert_confidence(clip.confidence, clip.seen, seen),
        from_pelvis(convert_body(clip.targets, clip.skeleton, skeleton, partial=True), skeleton),
    )


def from_pelvis(points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton) -> Targets:
    """Positions relative to the pelvis, float32."""
    pelvis = skeleton.indices(("pelvis",))[0]
    return (points - points[:, pelvis : pelvis + 1]).astype(np.float32)
