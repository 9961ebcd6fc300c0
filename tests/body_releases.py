"""Small copies of the body data sets in their published forms: the names, layouts and splits of the real files, few frames."""

from pathlib import Path

import numpy as np
from body_files import (
    H36M,
    human36m_motion,
    human36m_pixels,
    kinetics_video,
    metadata,
    write_converted,
    write_dicts,
    write_human36m,
    write_mat,
)

from models.skeletons.body import convert_body
from models.skeletons.body_orders import get_body_order
from training.data.splits import Split
from training.tasks.bodies.cells import HUMAN36M
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.readers.human36m import MOVING
from training.tasks.bodies.readers.kinetics_skeleton import HELD_OUT

FRAMES = 12
SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
EVA_CHUNKS = ("Walking 1 chunk0", "Walking 1 chunk1", "Jog 1 chunk0", "Box 1 chunk0", "Gestures 1 chunk0")
RIGID_FRAMES = 19  # of a clip of Penn Action: its sample of 2 + 16 frames has consecutive frames


def write_release(body: Path, data_folder: Path) -> Path:
    """Write Human3.6M, HumanEva-I, Penn Action and Kinetics-skeleton under `body`."""
    motion = human36m_motion(data_folder)["Walking"]
    for name in ("human36m", "humaneva", "penn_action"):
        (body / name).mkdir(parents=True)
    _human36m(body / "human36m", motion)
    _humaneva(body / "humaneva", motion)
    for number, split in enumerate(("train", "train", "test")):
        write_mat(body / "penn_action/labels", penn_clip(f"{number:04d}", split))
    (body / "kinetics").mkdir()
    videos = [kinetics_video(seed, label=seed % 3) for seed in range(3)]
    write_converted(body / "kinetics", "train", [videos[i % 3] for i in range(HELD_OUT)])  # the last of them validates
    write_converted(body / "kinetics", "val", videos[:2])
    return body.parent


def _human36m(folder: Path, motion: np.ndarray) -> None:
    """Write all subjects and the fifteen actions, each from another frame of the motion on."""
    names = {"Photo": "TakingPhoto", "WalkDog": "WalkingDog"}
    poses = {
        subject: {
            names.get(action, action): motion[(7 * i + 3 * j + np.arange(FRAMES)) % len(motion)]
            for i, action in enumerate(HUMAN36M)
        }
        for j, subject in enumerate(SUBJECTS)
    }
    keypoints = {
        subject: {action: human36m_pixels(points, subject) for action, points in actions.items()}
        for subject, actions in poses.items()
    }
    for detector in ("gt", "cpn_ft_h36m_dbb"):
        write_human36m(folder, poses, keypoints, name=detector)


def _humaneva(folder: Path, motion: np.ndarray) -> None:
    """Write chunks of three subjects in both parts; the keypoints are arbitrary and all different."""
    points, rng = convert_body(motion[:, MOVING], H36M, get_body_order("humaneva-15")), np.random.default_rng(0)
    poses = {
        f"{part}/{subject}": {name: points[5 * i : 5 * i + FRAMES] for i, name in enumerate(EVA_CHUNKS)}
        for part in ("Train", "Validate")
        for subject in ("S1", "S2", "S3")
    }
    keypoints = {
        subject: {
            name: [rng.uniform(100, 400, (len(p), 17, 2)).astype(np.float32) for _ in range(3)]
            for name, p in actions.items()
        }
        for subject, actions in poses.items()
    }
    write_dicts(folder / "data_3d_humaneva15.npz", positions_3d=poses)
    path = folder / "data_2d_humaneva15_detectron_pt_coco.npz"
    write_dicts(path, positions_2d=keypoints, metadata=metadata("coco", 17))


def penn_clip(name: str, split: Split) -> BodyClip:
    """Return a clip with a box of 200 pixels in which only the first joint moves, by 3 pixels a frame to the right."""
    order = get_body_order("penn-13")
    points = np.zeros((RIGID_FRAMES, 13, 2), np.float32)
    points[:, 1], points[:, 2] = (0, 0), (200, 200)
    points[:, 3:] = np.linspace(20, 180, 20).reshape(10, 2)
    points[:, 0] = [40, 100]
    points[:, 0, 0] += 3 * np.arange(RIGID_FRAMES)
    return BodyClip(
        "penn_action",
        name,
        split,
        "",
        "squat",
        order,
        30.0,
        points,
        np.ones((RIGID_FRAMES, 13), np.float32),  # pyright: ignore[reportArgumentType] - a split
    )
