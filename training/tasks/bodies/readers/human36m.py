"""Readers of Human3.6M (Ionescu et al., TPAMI 2014) and HumanEva-I (Sigal et al., IJCV 2010) from VideoPose3D's .npz files.

Human3.6M: data_3d_h36m.npz has 32 joints, of which 17 move, at 50 fps. Keypoints are gt, cpn_ft_h36m_dbb, detectron_ft_h36m,
detectron_pt_coco, ... of four cameras each. S1, S5, S6 and S7 train, S8 validates, S9 and S11 test. The first word of a recording's name is
its action, of which there are fifteen.

HumanEva-I: data_3d_humaneva15.npz has 15 joints at 60 fps; keypoints are gt or detectron_pt_coco of three cameras. If the capture has gaps,
an action comes in chunks, such as "Walking 1 chunk2"; each chunk is a clip here, because they do not join. Train/* train, with the last
chunk of each action (if it has two) held out for validation. Validate/* test. Unlabeled/* has no poses and is left out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.motion.bodies import normalise
from models.skeletons.body import convert_body
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton
from training.data.splits import Split
from training.tasks.bodies.clips import BodyClip, MalformedBodies, check_handedness, confidence_of, hold_out
from training.tasks.bodies.lift_clips import LiftClip, measured
from training.tasks.bodies.readers.cameras import Camera, Placement, project, to_camera
from training.tasks.bodies.readers.studio_cameras import human36m_cameras, humaneva_cameras
from training.tasks.bodies.readers.videopose3d import Detections, read_detections, read_motion

H36M = get_body_order("h36m-17")
RECORDED = 32
MOVING = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # of the 32, the 17 in their order
_SPLITS: dict[str, Split] = {"S8": "validation", "S9": "test", "S11": "test"}
_NAMES = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}
CORRUPT = ("S11", "Directions")
_TOED = Skeleton(  # the 17 and the toes, which are among the joints left out
    "h36m-17 with toes",
    (*H36M.joints, "right_toe", "left_toe"),
    (),
    (*H36M.mirror, len(H36M.joints) + 1, len(H36M.joints)),
)
_TOES = (4, 9)
UP = (0.0, 0.0, 1.0)
FAR = 0.1  # of the image's half width: 50 pixels, in the median over joints and frames


def read_human36m(folder: Path, keypoints: str = "cpn_ft_h36m_dbb") -> list[LiftClip]:
    """Read every subject, action and camera from data_3d_h36m.npz and data_2d_h36m_<keypoints>.npz in `folder`.

    Raises UnknownBodies, MalformedBodies (also if keypoints are not where the cameras see the poses), MirroredMotion, UntrustedFile.
    """
    motion, cameras = read_motion(folder / "data_3d_h36m.npz", RECORDED), human36m_cameras()
    detections = read_detections(path := folder / f"data_2d_h36m_{keypoints}.npz")
    clips = []
    for subject, actions in motion.items():
        if subject not in cameras:
            raise MalformedBodies(f"{path}: expected subjects {', '.join(cameras)}, got {subject}")
        recorded = []
        for name, positions in actions.items():
            if (subject, name) == CORRUPT:
                continue
            word, _, take = name.partition(" ")
            label = _NAMES.get(word, word)
            points, split = positions[:, MOVING].astype(np.float32), _SPLITS.get(subject, "train")
            title = f"{subject} {label} {take}".rstrip()
            clip = BodyClip("human36m", title, split, subject, label, H36M, 50.0, points, confidence_of(points))
            recorded.append(positions[:, (*MOVING, *_TOES)])
            clips += _views(path, detections, subject, name, clip, cameras[subject])
        if recorded:
            check_handedness(np.concatenate(recorded), _TOED, UP, f"{folder / 'data_3d_h36m.npz'}, {subject}")
    return clips


def read_humaneva(folder: Path, keypoints: str = "gt") -> list[LiftClip]:
    """Read every subject, chunk and camera from data_3d_humaneva15.npz and data_2d_humaneva15_<keypoints>.npz in `folder`.

    Raises UnknownBodies, MalformedBodies, UntrustedFile. Without toes in the data, a reflection goes unnoticed.
    """
    skeleton, cameras = get_body_order("humaneva-15"), humaneva_cameras()
    motion = read_motion(folder / "data_3d_humaneva15.npz", len(skeleton.joints))
    detections = read_detections(path := folder / f"data_2d_humaneva15_{keypoints}.npz")
    chunks = [(part, name) for part, actions in motion.items() for name in actions if not part.startswith("Unlabeled/")]
    for part, _ in chunks:
        if part.partition("/")[0] not in ("Train", "Validate") or part.partition("/")[2] not in cameras:
            raise MalformedBodies(f"{path}: expected subjects Train/ or Validate/ {', '.join(cameras)}, got {part}")
    own: list[Split] = ["train" if part.startswith("Train/") else "test" for part, _ in chunks]
    splits = hold_out(own, [f"{part} {name.partition(' chunk')[0]}" for part, name in chunks])
    clips = []
    for (part, name), split in zip(chunks, splits, strict=True):
        subject = part.partition("/")[2]
        points, label = motion[part][name].astype(np.float32), name.partition(" ")[0]
        clip = BodyClip(
            "humaneva", f"{part} {name}", split, subject, label, skeleton, 60.0, points, confidence_of(points)
        )
        clips += _views(path, detections, part, name, clip, cameras[subject])
    return clips


def _views(
    path: Path, detections: Detections, subject: str, name: str, clip: BodyClip, cameras: Sequence[Placement]
) -> list[LiftClip]:
    """Join the clip with the keypoints of each camera that has any, cut to the length of the poses."""
    views = detections.positions.get(subject, {}).get(name)
    if views is None:
        raise MalformedBodies(f"{path}: expected keypoints for the poses of {subject}, {name}, got none")
    if len(views) != len(cameras):
        raise MalformedBodies(
            f"{path}, {subject}, {name}: expected keypoints of {len(cameras)} cameras, got {len(views)}"
        )
    joined = []
    for camera, pixels in zip(cameras, views, strict=True):
        if pixels is None:
            continue
        if len(pixels) < len(clip.points):
            raise MalformedBodies(
                f"{path}, {subject}, {name}, camera {camera.name}: expected keypoints of at least the {len(clip.points)} frames "
                f"that have poses, got {len(pixels)}"
            )
        view = measured(clip, camera, pixels[: len(clip.points)], detections.seen)
        if isinstance(camera, Camera) and (distance := _reprojection(clip, camera, view)) > FAR:
            raise MalformedBodies(
                f"{path}, {subject}, {name}: expected keypoints where camera {camera.name} sees the poses, got keypoints "
                f"{distance / 2:.0%} of the image's width off; poses are in metres, keypoints in pixels, and the cameras in the order "
                f"{', '.join(camera.name for camera in cameras)}"
            )
        joined.append(view)
    return joined


def _reprojection(clip: BodyClip, camera: Camera, view: LiftClip) -> float:
    """Return the median distance of keypoints from the projected poses, in normalised units, over every fiftieth frame."""
    points = to_camera(clip.points[::50].astype(np.float64), camera)
    expected = normalise(project(convert_body(points, clip.skeleton, view.seen, partial=True), camera), camera.size)
    distances = np.linalg.norm(view.keypoints[::50] - expected, axis=-1)
    known = np.isfinite(distances)
    return float(np.median(distances[known])) if known.any() else np.inf
