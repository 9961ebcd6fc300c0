"""The data sets of bodies by name, as each of the three tasks wants them: poses to lift to, poses to forecast, clips of actions."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.motion.bodies import about_y, resampled
from models.skeletons.body import (
    convert_body,
    convert_confidence,
    get_body_order,
    undefined_joints,
)
from models.skeletons.skeleton import Skeleton
from training.tasks.bodies.action_clips import ActionSet, actions_of
from training.tasks.bodies.clips import BodyClip, UnknownBodies
from training.tasks.bodies.lift_clips import LiftClip, in_order, projected
from training.tasks.bodies.readers.cameras import read_rig
from training.tasks.bodies.readers.human36m import read_human36m, read_humaneva
from training.tasks.bodies.readers.kinetics_skeleton import read_kinetics
from training.tasks.bodies.readers.npz import SOURCES, read_bodies
from training.tasks.bodies.readers.nw_ucla import Protocol, read_nw_ucla
from training.tasks.bodies.readers.penn_action import read_penn

MOTION = tuple(
    name for name, source in SOURCES.items() if "xy_norm" not in source.points
)  # three dimensions, no images
RIG = Path("cameras") / "virtual_rig_4cam.json"


def lift_clips(
    folder: Path,
    source: str,
    seen: Skeleton,
    skeleton: Skeleton,
    *,
    keypoints: str,
    fps: float | None = None,
    turns: tuple[float, ...] = (),
) -> list[LiftClip]:
    """All clips of a source by all cameras: motion as the virtual rig sees it, at `fps`, or measured `keypoints` at the rate they have.

    Motion to train on is seen once more after each of `turns`, degrees about the vertical: as by so many more cameras.

    Raises UnknownBodies, also for measured keypoints that lack a joint of `seen`, and what reading the source raises.
    """
    if source in MOTION:
        rig, clips = read_rig(folder / RIG), read_bodies(folder, source)
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
    found = reader(folder / source, keypoints)
    if lost := [joint for clip in found[:1] for joint in undefined_joints(clip.seen, seen)]:
        raise UnknownBodies(
            f"{source}'s {keypoints} keypoints are {found[0].seen.name} and have no {', '.join(lost)}, wanted for {seen.name}"
        )
    return [in_order(clip, seen, skeleton) for clip in found]


def flat_clips(folder: Path, source: str, skeleton: Skeleton, fps: float | None = None) -> list[BodyClip]:
    """All clips of a source in two dimensions and this order, at `fps`: Penn Action's, or motion as the virtual rig sees it.

    Raises UnknownBodies, and what reading the source raises.
    """
    if source == "penn_action":
        return [_converted(clip, skeleton, fps) for clip in read_penn(folder / source)]
    if source not in MOTION:
        raise UnknownBodies(f"no poses to forecast in {source!r}; sources are penn_action, {', '.join(MOTION)}")
    rig, clips, any_order = read_rig(folder / RIG), read_bodies(folder, source), get_body_order("h36m-17")
    return [_filmed(projected(clip, camera, skeleton, any_order, fps)) for clip in clips for camera in rig]


def action_set(
    folder: Path, source: str, *, turned: bool, protocol: Protocol, fold: int, order: str | None = None
) -> ActionSet:
    """The clips of a source and their classes, in its own joint order or, of all but kinetics, in another.

    Raises UnknownBodies, and what reading the source raises.
    """
    if source == "kinetics":
        return read_kinetics(folder / source)
    if source == "penn_action":
        clips = read_penn(folder / source)
    elif source == "nw_ucla":
        clips = read_nw_ucla(folder / source, protocol)
    elif source in SOURCES:
        clips = read_bodies(folder, source, fold=fold)
    else:
        raise UnknownBodies(
            f"no actions in {source!r}; sources are kinetics, penn_action, nw_ucla, {', '.join(SOURCES)}"
        )
    if order is not None:
        clips = [_converted(clip, get_body_order(order), None) for clip in clips]
    return actions_of(clips, turned=turned)


def _filmed(clip: LiftClip) -> BodyClip:
    """The keypoints alone."""
    return BodyClip(
        clip.source,
        f"{clip.name} {clip.camera}",
        clip.split,
        clip.subject,
        clip.label,
        clip.seen,
        clip.fps,
        clip.keypoints,
        clip.confidence,
    )


def _converted(clip: BodyClip, skeleton: Skeleton, fps: float | None) -> BodyClip:
    """The clip in another order, at another rate."""
    points, confidence = clip.points, clip.confidence
    if clip.skeleton.name != skeleton.name:
        points = convert_body(points, clip.skeleton, skeleton, partial=True)
        confidence = convert_confidence(confidence, clip.skeleton, skeleton)
    if fps is not None and fps != clip.fps:
        points = resampled(points, clip.fps, fps)
        confidence = np.floor(resampled(confidence[..., None], clip.fps, fps)[..., 0])  # seen where both neighbours are
    return replace(clip, skeleton=skeleton, points=points, confidence=confidence, fps=fps or clip.fps)
