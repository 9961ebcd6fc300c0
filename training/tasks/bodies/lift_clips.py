"""Clips of 2D keypoints with the 3D poses behind them, for training and measuring lifting."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from models.motion.bodies import normalise, resampled
from models.skeletons.body import convert_body, convert_confidence
from models.skeletons.skeleton import Skeleton
from training.data.splits import Split
from training.tasks.bodies.clips import BodyClip, confidence_of
from training.tasks.bodies.readers.cameras import Camera, Placement, on_the_spot, project, to_camera

Keypoints = Float[np.ndarray, "frames seen_joints 2"]
Targets = Float[np.ndarray, "frames joints 3"]


@dataclass(frozen=True)
class LiftClip:
    """A clip as one camera sees it.

    `keypoints` are in the order `seen`, from -1 to 1 across the image's width (`models.motion.bodies.normalise`); a missing one is NaN
    with confidence 0. `targets` are in the order `skeleton`, in metres from the pelvis, in the camera's axes (x right, y down, z forward);
    an unknown pose is NaN. The two orders may differ.
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
    """Project 3D motion (y up), moved to where the camera looks, at `fps` frames a second (by default its own).

    Joints that the motion's own order cannot give are missing among keypoints and targets.
    """
    pelvis = clip.skeleton.indices(("pelvis",))[0]
    points = on_the_spot(clip.points.astype(np.float64), pelvis)
    points = to_camera(resampled(points, clip.fps, fps or clip.fps), camera)
    visible = convert_body(points, clip.skeleton, seen, partial=True)
    poses = visible if seen.name == skeleton.name else convert_body(points, clip.skeleton, skeleton, partial=True)
    keypoints = normalise(project(visible, camera), camera.size)
    return LiftClip(
        source=clip.source,
        name=clip.name,
        camera=camera.name,
        split=clip.split,
        subject=clip.subject,
        label=clip.label,
        fps=fps or clip.fps,
        seen=seen,
        skeleton=skeleton,
        keypoints=keypoints.astype(np.float32),
        confidence=confidence_of(keypoints),
        targets=from_pelvis(poses, skeleton),
    )


def measured(
    clip: BodyClip, camera: Placement, pixels: Float[np.ndarray, "frames seen_joints xy_or_xyc"], seen: Skeleton
) -> LiftClip:
    """Join 3D motion in world coordinates with the keypoints, in pixels, that a detector found in the images of `camera`.

    A third number of a keypoint is its confidence.
    """
    keypoints = normalise(pixels[..., :2].astype(np.float64), camera.size).astype(np.float32)
    confidence = confidence_of(keypoints)
    if pixels.shape[-1] == 3:
        confidence = confidence * np.maximum(pixels[..., 2], 0).astype(np.float32)
    return LiftClip(
        source=clip.source,
        name=clip.name,
        camera=camera.name,
        split=clip.split,
        subject=clip.subject,
        label=clip.label,
        fps=clip.fps,
        seen=seen,
        skeleton=clip.skeleton,
        keypoints=keypoints,
        confidence=confidence,
        targets=from_pelvis(to_camera(clip.points.astype(np.float64), camera), clip.skeleton),
    )


def in_order(clip: LiftClip, seen: Skeleton, skeleton: Skeleton) -> LiftClip:
    """Convert keypoints and targets to other orders; joints that these cannot be computed for are missing."""
    if (clip.seen.name, clip.skeleton.name) == (seen.name, skeleton.name):
        return clip
    return replace(
        clip,
        seen=seen,
        skeleton=skeleton,
        keypoints=convert_body(clip.keypoints, clip.seen, seen, partial=True),
        confidence=convert_confidence(clip.confidence, clip.seen, seen),
        targets=from_pelvis(convert_body(clip.targets, clip.skeleton, skeleton, partial=True), skeleton),
    )


def from_pelvis(points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton) -> Targets:
    """Return float32 positions relative to the pelvis, which becomes exactly 0."""
    pelvis = skeleton.indices(("pelvis",))[0]
    return (points - points[:, pelvis : pelvis + 1]).astype(np.float32)
