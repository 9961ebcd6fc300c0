"""Penn Action (Zhang, Zhu and Derpanis, ICCV 2013): 13 joints by hand in 2326 video clips of 15 actions, in pixels.

Read from the official labels/NNNN.mat, one a clip, or from one penn_action.npz of all of them. Their traps:
    - what they call left is the viewer's left, the person's right; in the order penn-13 the joints have the person's sides;
    - coordinates are double in most files and uint8 or uint16 in 131, where a difference would wrap round;
    - `train` is 1 or -1;
    - of the joints, 22 % are not visible. Their coordinates are guesses, or near (0, 0) in a third of them, and have confidence 0 here;
      the protocol of forecasting counts them all the same (`body_motion.box_of` of all points).
The official flag tells training from test; people are not told apart, and the last tenth of each action's training clips is validation.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.io

from models.skeletons.body import get_body_order
from training.data.reading import MAX_MAT_BYTES
from training.data.splits import Split
from training.tasks.bodies.clips import (
    BodyClip,
    MalformedBodies,
    UnknownBodies,
    check_joint_names,
    check_per_sequence,
    hold_out,
    pieces,
    read_arrays,
)

PENN = get_body_order("penn-13")
PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
OFFICIAL_NAMES = (
    "head",
    *(f"{side}_{part}" for part in PARTS for side in ("left", "right")),
)  # sides as the viewer sees them
FPS = 30.0  # nominal: the files do not say

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


def read_penn(folder: Path) -> list[BodyClip]:
    """All clips in `folder`: penn_action.npz, or labels/*.mat. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    if (folder / "penn_action.npz").is_file():
        return read_npz(folder / "penn_action.npz")
    return read_labels(folder / "labels")


def read_labels(folder: Path) -> list[BodyClip]:
    """The clips of the official label files in a folder, in the order of their names. Raises UnknownBodies, MalformedBodies."""
    if not (files := sorted(folder.glob("*.mat"))):
        raise UnknownBodies(f"no penn_action.npz, and no .mat files in {folder}")
    return _with_validation([_read_mat(file) for file in files])


def read_npz(path: Path) -> list[BodyClip]:
    """The clips of one file of all of them. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    arrays = read_arrays(path, _ARRAYS)
    check_joint_names(path, arrays["joint_names"], OFFICIAL_NAMES)
    points, visible = arrays["xy"].astype(np.float32), arrays["visible"]
    rows = pieces(path, arrays["seq_start"], len(points))
    check_per_sequence(path, arrays, ("seq_name", "action", "is_train"), len(rows))
    if points.shape[1:] != (len(PENN.joints), 2) or visible.shape != points.shape[:2]:
        raise MalformedBodies(
            f"{path} wants xy (N, 13, 2) and visible (N, 13); came {points.shape} and {visible.shape}"
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
        raise MalformedBodies(f"{file} holds {size:,} bytes; at most {MAX_MAT_BYTES:,} are read")
    wanted = ("x", "y", "visibility", "train", "action")
    try:
        content = scipy.io.loadmat(file, appendmat=False, variable_names=wanted)
    except Exception as error:  # of a malformed file the reader can raise anything
        raise MalformedBodies(f"{file} is no readable .mat file: {type(error).__name__}: {error}") from error
    if missing := [name for name in wanted if name not in content]:
        raise MalformedBodies(f"{file} wants {', '.join(wanted)}; it has no {', '.join(missing)}")
    x, y, visible, train, action = (np.asarray(content[name]) for name in wanted)
    numbers = all(array.dtype.kind in "buif" for array in (x, y, visible, train))
    if (
        not numbers
        or x.ndim != 2
        or x.shape[1] != len(PENN.joints)
        or not x.shape == y.shape == visible.shape
        or len(x) < 1
    ):
        raise MalformedBodies(
            f"{file} wants numbers x, y and visibility (frames, 13) each; came {x.dtype} {x.shape}, {y.dtype} {y.shape} "
            f"and {visible.dtype} {visible.shape}"
        )
    if train.size != 1 or int(train.item()) not in (1, -1) or action.size != 1 or action.dtype.kind != "U":
        raise MalformedBodies(f"{file} wants train 1 or -1 and one action; came {train.tolist()} and {action.tolist()}")
    points = np.stack(
        [x.astype(np.float32), y.astype(np.float32)], axis=-1
    )  # before anything is computed: some are uint8
    return _clip(file.stem, int(train.item()) == 1, str(action.item()), points, visible)


def _clip(name: str, train: bool, label: str, points: np.ndarray, visible: np.ndarray) -> BodyClip:
    split: Split = "train" if train else "test"
    return BodyClip("penn_action", name, split, "", label, PENN, FPS, points, (visible > 0).astype(np.float32))


def _with_validation(clips: Sequence[BodyClip]) -> list[BodyClip]:
    splits = hold_out([clip.split for clip in clips], [clip.label for clip in clips])
    return [replace(clip, split=split) for clip, split in zip(clips, splits, strict=True)]
