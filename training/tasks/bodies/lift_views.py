"""Views of captured motion in which a lifter is measured: from where, how near, through which lens, and with which errors of a detector.

The studio is the rig of four fixed cameras that data sets without images come with. In all other views the cameras stand around the
person, who is turned to face the azimuth 0 on average, and look at the middle of where the pelvis is.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from models.motion.bodies import about_y, facing, shown
from models.skeletons.skeleton import Skeleton
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.lift_clips import LiftClip, projected
from training.tasks.bodies.readers.cameras import Camera
from training.tasks.bodies.virtual_cameras import DetectorNoise, looking_at

SIZE = (1000, 1000)  # pixels of a view's picture
AROUND = (20.0, 110.0, 200.0, 290.0)  # azimuths in degrees, from the front over the person's left


@dataclass(frozen=True)
class View:
    """Cameras around a person, at a distance in metres and with a focal length in half widths of the picture.

    With a `turn`, the cameras are the studio's, and the motion is turned before them by so many degrees. A camera that `follows` keeps its
    distance from the pelvis. `off_deg` aims the cameras past the person.
    """

    title: str
    azimuths_deg: tuple[float, ...] = AROUND
    elevation_deg: float = 8.0
    distance_m: float = 4.0
    focal: float = 2.29
    off_deg: tuple[float, float] = (0.0, 0.0)
    follows: bool = False
    turn: float | None = None
    noise: DetectorNoise | None = None


NOISE = DetectorNoise(clean=0.0)
VIEWS = (
    View("studio", turn=0),
    View("studio, turned by 45 degrees", turn=45),
    View("studio, with a detector's errors", turn=0, noise=NOISE),
    View("front", (0,)),
    View("side", (90, 270)),
    View("back", (180,)),
    View("from below, -15 degrees", elevation_deg=-15),
    View("from above, 40 degrees", elevation_deg=40),
    View("at 0.6 m, wide lens", distance_m=0.6, focal=0.7, follows=True),
    View("at 1 m, wide lens", distance_m=1.0, focal=0.7, follows=True),
    View("at 1.5 m, wide lens", distance_m=1.5, focal=0.9, follows=True),
    View("at 3 m, usual lens", distance_m=3.0, focal=1.5),
    View("at 10 m, long lens", distance_m=10.0, focal=5.0),
    View("15 degrees off the middle, wide lens", focal=0.9, off_deg=(15.0, 0.0)),
)


def seen_in(view: View, clips: list[BodyClip], rig: tuple[Camera, ...], skeleton: Skeleton) -> Iterator[LiftClip]:
    """Yield each clip as each camera of a view sees it, with keypoints and poses in this order."""
    for clip in clips:
        if view.turn is not None:
            moved, cameras = about_y(clip.points, np.deg2rad(view.turn)), rig
        else:
            moved, cameras = _middle(facing(clip.points, clip.skeleton), clip.skeleton, view.follows), around(view)
        for camera in cameras:
            seen = projected(replace(clip, points=moved), camera, skeleton, skeleton)
            yield seen if view.noise is None else disturbed(seen, view.noise)


def around(view: View) -> tuple[Camera, ...]:
    """Return the cameras of a view, which look at the origin."""
    azimuths = np.array(view.azimuths_deg, dtype=float)
    elevations = np.full_like(azimuths, view.elevation_deg)
    direction = -looking_at(azimuths, elevations)[:, 2]
    off = np.array(view.off_deg)[:, None] * np.ones_like(azimuths)
    middle, focal = (SIZE[0] / 2, SIZE[1] / 2), view.focal * SIZE[0] / 2
    return tuple(
        Camera(f"{azimuth:g}", R, view.distance_m * way, SIZE, (focal, focal), middle)
        for azimuth, R, way in zip(azimuths, looking_at(azimuths, elevations, off), direction, strict=True)
    )


def disturbed(clip: LiftClip, noise: DetectorNoise) -> LiftClip:
    """Return a clip with the errors of a detector, which its name and its camera decide."""
    keypoints = shown(clip.keypoints, clip.confidence)[None]
    noise.disturb(keypoints, np.random.default_rng(zlib.crc32(f"{clip.name} {clip.camera}".encode())))
    seen = keypoints[0, ..., 2] > 0
    points = np.where(seen[..., None], keypoints[0, ..., :2], np.nan)
    return replace(clip, keypoints=points.astype(np.float32), confidence=seen.astype(np.float32))


def _middle(
    points: Float[np.ndarray, "frames joints 3"], skeleton: Skeleton, follow: bool
) -> Float[np.ndarray, "frames joints 3"]:
    """Move a motion so that its pelvis is at the origin on average, or above or below it in every frame if the cameras `follow`."""
    pelvis = points[:, skeleton.indices(("pelvis",))[0]]
    shift = np.broadcast_to(pelvis.mean(axis=0), pelvis.shape).copy()
    if follow:
        shift[:, [0, 2]] = pelvis[:, [0, 2]]
    return points - shift[:, None]
