"""Northwestern-UCLA Multiview Action 3D (Wang et al., CVPR 2014): Kinect v1 skeletons, ten persons, ten actions, seen from three places.

Read from CTR-GCN's all_sqe/aXX_sXX_eXX_vXX.json, {"file_name", "skeletons": (frames, 20, 3), "label": 1 to 10}, or from one nw_ucla.npz
of all of them. Metres in the camera's axes: x to the sensor's left, y up, z away from it; right-handed. About 30 fps, which no file says.

Two protocols. "cross-view": views 1 and 2 train, of which subject 10 is held out for validation; view 3 tests. "cross-subject", ours:
subjects 1 to 6 train, 7 validates, 8 to 10 test.
"""

import re
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from models.skeletons.body import get_body_order
from training.data.splits import Split
from training.tasks.bodies.clips import (
    BodyClip,
    MalformedBodies,
    UnknownBodies,
    check_handedness,
    check_joint_names,
    check_per_sequence,
    confidence_of,
    pieces,
    read_arrays,
)

KINECT = get_body_order("nw-ucla-20")
_KINECT_WORDS = {"pelvis": "hip_center", "thorax": "shoulder_center"}
OFFICIAL_NAMES = tuple(_KINECT_WORDS.get(joint, joint) for joint in KINECT.joints)
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
MAX_JSON_BYTES = 2**24
_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")

Protocol = Literal["cross-view", "cross-subject"]


class _Sequence(msgspec.Struct):
    file_name: str
    skeletons: list[list[tuple[float, float, float]]]
    label: int


def read_nw_ucla(folder: Path, protocol: Protocol = "cross-view") -> list[BodyClip]:
    """All clips in `folder`: nw_ucla.npz, or all_sqe/*.json. Raises UnknownBodies, MalformedBodies, MirroredMotion, UntrustedFile."""
    path = folder / "nw_ucla.npz"
    clips = _from_npz(path, protocol) if path.is_file() else _from_json(folder / "all_sqe", protocol)
    check_handedness(np.concatenate([clip.points for clip in clips]), KINECT, UP, str(folder))
    return clips


def _from_npz(path: Path, protocol: Protocol) -> list[BodyClip]:
    wanted = {"joints": 3, "seq_start": 1, "seq_name": 1, "joint_names": 1, "action": 1, "action_names": 1}
    arrays = read_arrays(path, wanted)
    check_joint_names(path, arrays["joint_names"], OFFICIAL_NAMES)
    points = arrays["joints"].astype(np.float32)
    if points.shape[1:] != (len(KINECT.joints), 3):
        raise MalformedBodies(f"{path} wants joints (N, 20, 3); came {points.shape}")
    if tuple(arrays["action_names"]) != CLASSES:
        raise MalformedBodies(
            f"{path} wants actions {', '.join(CLASSES)}; came {', '.join(map(str, arrays['action_names']))}"
        )
    rows = pieces(path, arrays["seq_start"], len(points))
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
    if (size := path.stat().st_size) > MAX_JSON_BYTES:
        raise MalformedBodies(f"{path} holds {size:,} bytes; at most {MAX_JSON_BYTES:,} are read")
    try:
        held = msgspec.json.decode(path.read_bytes(), type=_Sequence)
    except msgspec.DecodeError as error:
        raise MalformedBodies(f"{path} wants file_name, skeletons (frames, 20, 3) and label: {error}") from error
    joints = {len(frame) for frame in held.skeletons}
    if joints != {len(KINECT.joints)}:
        raise MalformedBodies(
            f"{path} wants frames of 20 joints; came {len(held.skeletons)} frames of {sorted(joints)}"
        )
    return _clip(path, path.stem, held.label - 1, np.array(held.skeletons, dtype=np.float32), protocol)


def _clip(path: Path, name: str, action: int, points: np.ndarray, protocol: Protocol) -> BodyClip:
    if not (match := _NAME.fullmatch(name)):
        raise MalformedBodies(f"{path}: clips are named aXX_sXX_eXX_vXX; came {name}")
    code, subject, _, view = map(int, match.groups())
    if not 0 <= action < len(CLASSES) or CODES[action] != code:
        raise MalformedBodies(f"{path}, {name}: label {action + 1} wants to be 1 to 10 and that of a{code:02d}")
    split = _split(subject, view, protocol)
    return BodyClip("nw_ucla", name, split, str(subject), CLASSES[action], KINECT, FPS, points, confidence_of(points))


def _split(subject: int, view: int, protocol: Protocol) -> Split:
    if protocol == "cross-view":
        return "test" if view == 3 else "validation" if subject == 10 else "train"
    return "test" if subject >= 8 else "validation" if subject == 7 else "train"
