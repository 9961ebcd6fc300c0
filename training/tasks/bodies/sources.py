"""The body data sets by name: clips to lift, clips of 2D poses to forecast, and clips of actions."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.motion.bodies import about_y, resampled
from models.skeletons.body import convert_body, convert_confidence, undefined_joints
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton
from training.tasks.bodies.action_clips import ActionSet, actions_of
from training.tasks.bodies.clips import BodyClip, UnknownBodies
from training.tasks.bodies.lift_clips import LiftClip, in_order, projected
from training.tasks.bodies.lift_views import View, around
from training.tasks.bodies.named_actions import NAMED, named_clips
from training.tasks.bodies.own.sets import OwnBodies
from training.tasks.bodies.readers.cameras import Camera, read_rig
from training.tasks.bodies.readers.human36m import read_human36m, read_humaneva
from training.tasks.bodies.readers.kinetics_skeleton import read_kinetics
from training.tasks.bodies.readers.npz import SOURCES, read_bodies
from training.tasks.bodies.readers.nw_ucla import Protocol, read_nw_ucla
from training.tasks.bodies.readers.penn_action import read_penn

MOTION = tuple(name for name, source in SOURCES.items() if "xy_norm" not in source.points)  # 3D, without images
RIG = Path("cameras") / "virtual_rig_4cam.json"
OWN_RIG = View("own", (40.0, 140.0, 220.0, 320.0), elevation_deg=7, distance_m=5)  # much like that of the file
HIPS_M = 0.95  # the height above the floor that these cameras look at


def lift_clips(
    folder: Path,
    source: str | OwnBodies,
    seen: Skeleton,
    skeleton: Skeleton,
    *,
    keypoints: str,
    fps: float | None = None,
    turns: tuple[float, ...] = (),
) -> list[LiftClip]:
    """Return all clips of a source by all cameras: motion as the virtual rig sees it, or measured `keypoints`.

    `fps` resamples motion; measured keypoints keep their rate. Training motion is added once more for each of `turns`, turned by so many
    degrees about the vertical, which amounts to more cameras.

    Raises UnknownBodies, also if the measured keypoints lack a joint of `seen`, and what reading the source raises.
    """
    if isinstance(source, OwnBodies) or source in MOTION:
        rig, clips = _rig(folder, source), _captured(folder, source)
        clips += [
            replace(clip, name=f"{clip.name} turned {turn:g}", points=about_y(clip.points, np.deg2rad(turn)))
            for clip in clips
            if clip.split == "train"
            for turn in turns
        ]
        return [projected(clip, camera, seen, skeleton, fps) for clip in clips for camera in rig]
    if source not in ("human36m", "humaneva"):
        raise UnknownBodies(f"no poses to lift to in {source!r}; sources are {', '.join(MOTION)}, human36m, humaneva")
    reader = read_human36m if source == "human36m" else read_humaneva
    clips = reader(folder / source, keypoints)
    if missing := [joint for clip in clips[:1] for joint in undefined_joints(clip.seen, seen)]:
        raise UnknownBodies(
            f"{source}'s {keypoints} keypoints are in the order {clips[0].seen.name} and lack {', '.join(missing)}, "
            f"which {seen.name} needs; choose another seen_order"
        )
    return [in_order(clip, seen, skeleton) for clip in clips]


def motion_clips(folder: Path, source: str | OwnBodies, skeleton: Skeleton, fps: float | None = None) -> list[BodyClip]:
    """Return all clips of a source of 3D motion in this order, at `fps`. Raises UnknownBodies, and what reading the source raises."""
    if not isinstance(source, OwnBodies) and source not in MOTION:
        raise UnknownBodies(f"no captured motion in {source!r}; sources are {', '.join(MOTION)}")
    return [converted(clip, skeleton, fps) for clip in _captured(folder, source)]


def flat_clips(folder: Path, source: str | OwnBodies, skeleton: Skeleton, fps: float | None = None) -> list[BodyClip]:
    """Return all 2D clips of a source in this order, at `fps`: Penn Action's own, or motion as the virtual rig sees it.

    Raises UnknownBodies, and what reading the source raises.
    """
    if source == "penn_action":
        return [converted(clip, skeleton, fps) for clip in read_penn(folder / "penn_action")]
    if not isinstance(source, OwnBodies) and source not in MOTION:
        raise UnknownBodies(f"no poses to forecast in {source!r}; sources are penn_action, {', '.join(MOTION)}")
    rig, clips, any_order = _rig(folder, source), _captured(folder, source), get_body_order("h36m-17")
    return [_keypoints_only(projected(clip, camera, skeleton, any_order, fps)) for clip in clips for camera in rig]


def _captured(folder: Path, source: str | OwnBodies) -> list[BodyClip]:
    return source.read(folder) if isinstance(source, OwnBodies) else read_bodies(folder, source)


def _rig(folder: Path, source: str | OwnBodies) -> tuple[Camera, ...]:
    """Return the cameras that see a source: those of the data folder or, for a set of one's own, which is without them, OWN_RIG."""
    if not isinstance(source, OwnBodies):
        return read_rig(folder / RIG)
    return tuple(replace(one, position=one.position + np.array([0.0, HIPS_M, 0.0])) for one in around(OWN_RIG))


def action_set(
    folder: Path,
    source: str,
    *,
    turned: bool,
    protocol: Protocol,
    fold: int,
    order: str | None = None,
    left_out: tuple[str, ...] = (),
) -> ActionSet:
    """Return a source's clips and classes but those `left_out`, in its own joint order or in `order`, which named_actions need.

    kinetics ignores the last two. Raises UnknownBodies, also for a class to leave out that is not there, and what reading the source
    raises.
    """
    if source == "kinetics":
        return read_kinetics(folder / source)
    if source == "penn_action":
        clips = read_penn(folder / source)
    elif source == "nw_ucla":
        clips = read_nw_ucla(folder / source, protocol)
    elif source == NAMED:
        clips = named_clips(folder)
    elif source in SOURCES:
        clips = read_bodies(folder, source, fold=fold)
    else:
        raise UnknownBodies(
            f"no actions in {source!r}; sources are kinetics, penn_action, nw_ucla, {', '.join(SOURCES)}, {NAMED}"
        )
    if missing := set(left_out) - {clip.label for clip in clips}:
        raise UnknownBodies(f"expected classes of {source} to leave out, got {', '.join(sorted(missing))}")
    clips = [clip for clip in clips if clip.label not in left_out]
    if order is not None:
        clips = [converted(clip, get_body_order(order)) for clip in clips]
    return actions_of(clips, turned=turned, source=NAMED if source == NAMED else None)


def _keypoints_only(clip: LiftClip) -> BodyClip:
    return BodyClip(
        source=clip.source,
        name=f"{clip.name} {clip.camera}",
        split=clip.split,
        subject=clip.subject,
        label=clip.label,
        skeleton=clip.seen,
        fps=clip.fps,
        points=clip.keypoints,
        confidence=clip.confidence,
    )


def converted(clip: BodyClip, skeleton: Skeleton, fps: float | None = None) -> BodyClip:
    """Convert a clip to another joint order and another rate."""
    points, confidence = clip.points, clip.confidence
    if clip.skeleton.name != skeleton.name:
        points = convert_body(points, clip.skeleton, skeleton, partial=True)
        confidence = convert_confidence(confidence, clip.skeleton, skeleton)
    if fps is not None and fps != clip.fps:
        points = resampled(points, clip.fps, fps)
        # a new frame is visible if both its neighbours are
        confidence = np.floor(resampled(confidence[..., None], clip.fps, fps)[..., 0])
    return replace(clip, skeleton=skeleton, points=points, confidence=confidence, fps=fps or clip.fps)
