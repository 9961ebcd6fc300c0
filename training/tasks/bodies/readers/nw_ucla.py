"""Reader of Northwestern-UCLA Multiview Action 3D (Wang et al., CVPR 2014): Kinect v1, ten people, ten actions, three views.

It reads CTR-GCN's all_sqe/aXX_sXX_eXX_vXX.json, {"file_name", "skeletons": (frames, 20, 3), "label": 1 to 10}, or one nw_ucla.npz of all
clips. Points are metres in the camera's right-handed axes: x to the sensor's left, y up, z away from it. The rate is about 30 fps; no file
has it.

There are two protocols. "cross-view": views 1 and 2 train, with subject 10 held out for validation, and view 3 tests. "cross-subject",
ours: subjects 1 to 6 train, 7 validates, 8 to 10 test.
"""

import re
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from models.skeletons.body_orders import get_body_order
from training.data.splits import Split
from training.tasks.bodies.clips import BodyClip, MalformedBodies, UnknownBodies, check_handedness, confidence_of
from training.tasks.bodies.readers.files import (
    check_joint_names,
    check_per_sequence,
    read_arrays,
    read_json,
    sequence_rows,
)

KINECT = get_body_order("nw-ucla-20")
_KINECT_NAMES = {"pelvis": "hip_center", "thorax": "shoulder_center"}
OFFICIAL_NAMES = tuple(_KINECT_NAMES.get(joint, joint) for joint in KINECT.joints)
CLASSES = (  # label 1 to 10, file codes a01 to a06, a08, a09, a11, a12
    "pick up with one hand",
    "pick up with two hands",
    "drop trash",
    "walk around",
    "sit down",
    "stand up",
    "donning",
    "doffing",
    "throw",
    "carry",
)
CODES = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)
FPS = 30.0
UP = (0.0, 1.0, 0.0)
_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")

Protocol = Literal["cross-view", "cross-subject"]


class _Sequence(msgspec.Struct):
    file_name: str
    skeletons: list[list[tuple[float, float, float]]]
    label: int


def read_nw_ucla(folder: Path, protocol: Protocol = "cross-view") -> list[BodyClip]:
    """Read all clips in `folder` from nw_ucla.npz or all_sqe/*.json.

    Raises UnknownBodies, MalformedBodies, MirroredMotion, UntrustedFile.
    """
    path = folder / "nw_ucla.npz"
    clips = _from_npz(path, protocol) if path.is_file() else _from_json(folder / "all_sqe", protocol)
    check_handedness(np.concatenate([clip.points for clip in clips]), KINECT, UP, str(folder))
    return clips


def _from_npz(path: Path, protocol: Protocol) -> list[BodyClip]:
    arrays = read_arrays(
        path, {"joints": 3, "seq_start": 1, "seq_name": 1, "joint_names": 1, "action": 1, "action_names": 1}
    )
    check_joint_names(path, arrays["joint_names"], OFFICIAL_NAMES)
    points = arrays["joints"].astype(np.float32)
    if points.shape[1:] != (len(KINECT.joints), 3):
        raise MalformedBodies(f"{path}: expected joints (N, 20, 3), got {points.shape}")
    if tuple(arrays["action_names"]) != CLASSES:
        raise MalformedBodies(
            f"{path}: expected actions {', '.join(CLASSES)}, got {', '.join(map(str, arrays['action_names']))}"
        )
    rows = sequence_rows(path, arrays["seq_start"], len(points))
    check_per_sequence(path, arrays, ("seq_name", "action"), len(rows))
    return [
        _clip(path, str(name), int(action), points[at], protocol)
        for name, action, at in zip(arrays["seq_name"], arrays["action"], rows, strict=True)
    ]


def _from_json(folder: Path, protocol: Protocol) -> list[BodyClip]:
    if not (files := sorted(folder.glob("*.json"))):
        raise UnknownBodies(f"no nw_ucla.npz, and no .json files in {folder}")
    return [_read_sequence(file, protocol) for file in files]


def _read_sequence(path: Path, protocol: Protocol) -> BodyClip:
    sequence = read_json(path, _Sequence, "file_name, skeletons (frames, 20, 3) and label")
    joints = {len(frame) for frame in sequence.skeletons}
    if joints != {len(KINECT.joints)}:
        raise MalformedBodies(
            f"{path}: expected frames of 20 joints, got {len(sequence.skeletons)} frames of {sorted(joints)}"
        )
    return _clip(path, path.stem, sequence.label - 1, np.array(sequence.skeletons, dtype=np.float32), protocol)


def _clip(path: Path, name: str, action: int, points: np.ndarray, protocol: Protocol) -> BodyClip:
    if not (match := _NAME.fullmatch(name)):
        raise MalformedBodies(f"{path}: expected a clip name like aXX_sXX_eXX_vXX, got {name}")
    code, subject, _, view = map(int, match.groups())
    if not 0 <= action < len(CLASSES) or CODES[action] != code:
        raise MalformedBodies(f"{path}, {name}: expected a label from 1 to 10 that fits a{code:02d}, got {action + 1}")
    split = _split(subject, view, protocol)
    return BodyClip("nw_ucla", name, split, str(subject), CLASSES[action], KINECT, FPS, points, confidence_of(points))


def _split(subject: int, view: int, protocol: Protocol) -> Split:
    if protocol == "cross-view":
        return "test" if view == 3 else "validation" if subject == 10 else "train"
    return "test" if subject >= 8 else "validation" if subject == 7 else "train"
