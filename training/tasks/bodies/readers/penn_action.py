"""Reader of Penn Action (Zhang, Zhu and Derpanis, ICCV 2013): 13 joints marked by hand in 2326 video clips of 15 actions, in pixels.

It reads the official labels/NNNN.mat, one a clip, or one penn_action.npz of all clips. The files have traps:
    - their "left" is the viewer's left, the person's right; the order penn-13 has the person's sides;
    - coordinates are double in most files and uint8 or uint16 in 131, where a difference would overflow;
    - `train` is 1 or -1;
    - 22 % of the joints are invisible. Their coordinates are guesses, a third of them near (0, 0), and get confidence 0 here. The
      forecasting protocol still counts them (`models.motion.bodies.box_of` of all points).
The official flag separates training and test clips. People are not identified; the last tenth of each action's training clips validates.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.skeletons.body_orders import get_body_order
from training.data.mat import read_mat
from training.data.reading import MAX_MAT_BYTES
from training.data.splits import Split
from training.data.untrusted import UntrustedFile
from training.tasks.bodies.clips import BodyClip, MalformedBodies, UnknownBodies, hold_out
from training.tasks.bodies.readers.files import check_joint_names, check_per_sequence, read_arrays, sequence_rows

PENN = get_body_order("penn-13")
PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
# sides as the viewer sees them
OFFICIAL_NAMES = ("head", *(f"{side}_{part}" for part in PARTS for side in ("left", "right")))
FPS = 30.0  # nominal: no file has it

_ARRAYS = {
    "xy": 3,
    "visible": 2,
    "seq_start": 1,
    "seq_name": 1,
    "joint_names": 1,
    "action": 1,
    "action_names": 1,
    "is_train": 1,
}
_LABELS = ("x", "y", "visibility", "train", "action")


def read_penn(folder: Path) -> list[BodyClip]:
    """Read all clips in `folder` from penn_action.npz or labels/*.mat. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    if (folder / "penn_action.npz").is_file():
        return read_npz(folder / "penn_action.npz")
    return read_labels(folder / "labels")


def read_labels(folder: Path) -> list[BodyClip]:
    """Read the official label files of a folder in the order of their names. Raises UnknownBodies, MalformedBodies."""
    if not (files := sorted(folder.glob("*.mat"))):
        raise UnknownBodies(f"no penn_action.npz, and no .mat files in {folder}")
    return _with_validation([_read_mat(file) for file in files])


def read_npz(path: Path) -> list[BodyClip]:
    """Read one file of all clips. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    arrays = read_arrays(path, _ARRAYS)
    check_joint_names(path, arrays["joint_names"], OFFICIAL_NAMES)
    points, visible = arrays["xy"].astype(np.float32), arrays["visible"]
    rows = sequence_rows(path, arrays["seq_start"], len(points))
    check_per_sequence(path, arrays, ("seq_name", "action", "is_train"), len(rows))
    if points.shape[1:] != (len(PENN.joints), 2) or visible.shape != points.shape[:2]:
        raise MalformedBodies(
            f"{path}: expected xy (N, 13, 2) and visible (N, 13), got {points.shape} and {visible.shape}"
        )
    labels = [str(arrays["action_names"][i]) for i in arrays["action"]]
    return _with_validation(
        [
            _clip(str(name), bool(train), label, points[at], visible[at])
            for name, train, label, at in zip(arrays["seq_name"], arrays["is_train"], labels, rows, strict=True)
        ]
    )


def _read_mat(file: Path) -> BodyClip:
    if (size := file.stat().st_size) > MAX_MAT_BYTES:
        raise MalformedBodies(f"{file}: expected at most {MAX_MAT_BYTES:,} bytes, got {size:,}")
    try:
        content = read_mat(file.read_bytes(), _LABELS, MAX_MAT_BYTES)
    except UntrustedFile as error:
        raise MalformedBodies(f"{file} is not a readable .mat file: {error}") from error
    if missing := [name for name in _LABELS if name not in content]:
        raise MalformedBodies(f"{file}: expected {', '.join(_LABELS)}, got none named {', '.join(missing)}")
    x, y, visible, train, action = (np.asarray(content[name]) for name in _LABELS)
    numbers = all(array.dtype.kind in "buif" for array in (x, y, visible, train))
    if (
        not numbers
        or x.ndim != 2
        or x.shape[1] != len(PENN.joints)
        or not x.shape == y.shape == visible.shape
        or len(x) < 1
    ):
        raise MalformedBodies(
            f"{file}: expected numbers x, y and visibility of shape (frames, 13) each, got {x.dtype} {x.shape}, "
            f"{y.dtype} {y.shape} and {visible.dtype} {visible.shape}"
        )
    if train.size != 1 or int(train.item()) not in (1, -1) or action.size != 1 or action.dtype.kind != "U":
        raise MalformedBodies(f"{file}: expected train 1 or -1 and one action, got {train.tolist()}, {action.tolist()}")
    points = np.stack(
        [x.astype(np.float32), y.astype(np.float32)], axis=-1
    )  # some files are uint8: cast before computing
    return _clip(file.stem, int(train.item()) == 1, str(action.item()), points, visible)


def _clip(name: str, train: bool, label: str, points: np.ndarray, visible: np.ndarray) -> BodyClip:
    split: Split = "train" if train else "test"
    return BodyClip("penn_action", name, split, "", label, PENN, FPS, points, (visible > 0).astype(np.float32))


def _with_validation(clips: Sequence[BodyClip]) -> list[BodyClip]:
    splits = hold_out([clip.split for clip in clips], [clip.label for clip in clips])
    return [replace(clip, split=split) for clip, split in zip(clips, splits, strict=True)]
