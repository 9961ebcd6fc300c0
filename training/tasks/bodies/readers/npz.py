"""Reader of body motion from one .npz a source: hdm05_11, cmu_9act, reactidle, bandai_namco (3D) and jhmdb (2D).

All sequences of a file lie one after the other; rows seq_start[s] to seq_start[s + 1] are sequence s. 3D files are right-handed with y up.
They have joints (N, J, 3) in metres, or joints_rel_0p1mm (N, J, 3) int16 in tenths of a millimetre from the pelvis with root_m (N, 3).
2D files have xy_norm (N, 15, 2).

Sources that identify people are split by subject (training | validation | test):
    hdm05_11      bd bk | dg | mm tr (not every copy has tr)
    reactidle     all others | 002 010 | 003 008 012 014
The others keep their own training and test clips, and the last tenth of each class's training clips becomes validation:
    cmu_9act      by its folders; a person may be in both
    bandai_namco  dataset 2: takes 1-6 and 7-8; dataset 1: the styles happy, old, tired and giant are test; three unnamed actors
    jhmdb         official fold 1, 2 or 3
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton
from training.data.splits import Split
from training.tasks.bodies.clips import (
    BodyClip,
    MalformedBodies,
    UnknownBodies,
    check_handedness,
    confidence_of,
    hold_out,
)
from training.tasks.bodies.readers.files import check_joint_names, check_per_sequence, read_arrays, sequence_rows

UP = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Source:
    """The layout of a source's file, its licence (None if it is not known) and whom that credits.

    `names` maps the file's own joint names to those of the joint orders.
    """

    file: str
    order: str
    points: Mapping[str, int]  # the arrays of coordinates and their numbers of dimensions
    action: str = "action"
    subjects: Mapping[str, Split] | None = None  # others are train; None: the source does not identify people
    fps: float | None = None  # None: the file has it
    names: Mapping[str, str] = field(default_factory=dict)
    licence: str | None = None
    attribution: str = ""

    @property
    def skeleton(self) -> Skeleton:
        return get_body_order(self.order)


_METRES = {"joints": 3}
_QUANTISED = {"joints_rel_0p1mm": 3, "root_m": 2}

SOURCES: dict[str, Source] = {
    "hdm05_11": Source(
        file="hdm05_11_60hz.npz",
        order="hdm05-25",
        points=_METRES,
        subjects={"dg": "validation", "mm": "test", "tr": "test"},
        names={"spine1": "lower_spine", "spine2": "spine", "neck1": "neck", "neck2": "head_base", "head": "head_top"},
        licence="CC BY-SA 3.0",
        attribution="The data used in this project was obtained from HDM05: "
        "Müller et al., Mocap Database HDM05, CG-2007-2, Univ. Bonn, 2007",
    ),
    "cmu_9act": Source(
        file="cmu_9act_60hz.npz",
        order="cmu-24",
        points=_METRES,
        names={"spine1": "spine", "head": "head_top"},
        licence="free for all uses, no resale",
        attribution="The data used in this project was obtained from mocap.cs.cmu.edu. "
        "The database was created with funding from NSF EIA-0196217",
    ),
    "reactidle": Source(
        file="reactidle_24hz.npz",
        order="reactidle-18",
        points=_QUANTISED,
        subjects={**dict.fromkeys(("002", "010"), "validation"), **dict.fromkeys(("003", "008", "012", "014"), "test")},
        names={"neck": "thorax", "head": "head_base"},
        licence="MIT",
        attribution="Atxa Landa et al., ReActIdle, 2025",
    ),
    "bandai_namco": Source(
        file="bandai_namco_30hz.npz",
        order="bandai-21",
        points=_QUANTISED,
        action="content",
        names={"spine": "lower_spine", "chest": "spine", "neck": "thorax", "head": "head_base"},
    ),
    "jhmdb": Source(file="jhmdb_gt609.npz", order="jhmdb-15", points={"xy_norm": 3}, fps=30.0),
}


def read_bodies(folder: Path, source: str, *, fold: int = 1) -> list[BodyClip]:
    """Read all clips of a source from `<folder>/<source>/`, each with its split; `fold` is jhmdb's. No joint is missing in these files.

    Raises UnknownBodies, MalformedBodies, MirroredMotion, UntrustedFile.
    """
    if source not in SOURCES:
        raise UnknownBodies(f"no source {source!r}; there are {', '.join(SOURCES)}")
    layout = SOURCES[source]
    path = folder / source / layout.file
    flags = {"is_train_splits": 2} if source == "jhmdb" else {"is_train": 1}
    required = {
        **layout.points,
        "seq_start": 1,
        "joint_names": 1,
        layout.action: 1,
        f"{layout.action}_names": 1,
        **flags,
    }
    if layout.subjects is not None:
        required |= {"subject": 1, "subject_names": 1}
    arrays = read_arrays(path, required)
    check_joint_names(path, _renamed(arrays["joint_names"], layout.names), layout.skeleton.joints)
    points = _points(path, arrays, layout)
    rows = sequence_rows(path, arrays["seq_start"], len(points))
    per_sequence = [layout.action, *flags, *(["subject"] if layout.subjects is not None else [])]
    check_per_sequence(path, arrays, per_sequence, len(rows))
    labels = [str(arrays[f"{layout.action}_names"][i]) for i in arrays[layout.action]]
    names = [str(n) for n in arrays["seq_name"]] if "seq_name" in arrays else [f"{i:04d}" for i in range(len(rows))]
    if layout.subjects is None:
        subjects = [""] * len(rows)
        splits = hold_out(_own_splits(arrays, fold), labels)
    else:
        subjects = [str(arrays["subject_names"][i]) for i in arrays["subject"]]
        splits: list[Split] = [layout.subjects.get(subject, "train") for subject in subjects]
    fps = layout.fps or float(arrays["fps"])
    if points.shape[-1] == 3:
        check_handedness(points, layout.skeleton, UP, str(path))
    return [
        BodyClip(source, name, split, subject, label, layout.skeleton, fps, points[at], confidence_of(points[at]))
        for name, split, subject, label, at in zip(names, splits, subjects, labels, rows, strict=True)
    ]


def _renamed(names: np.ndarray, words: Mapping[str, str]) -> np.ndarray:
    return np.array([words.get(str(name), str(name)) for name in names])


def _points(path: Path, arrays: Mapping[str, np.ndarray], layout: Source) -> Float[np.ndarray, "frames joints dims"]:
    """Return float32 points, in metres if they are 3D."""
    if layout.points is _QUANTISED:
        relative, root = arrays["joints_rel_0p1mm"], arrays["root_m"]
        if len(relative) != len(root):
            raise MalformedBodies(
                f"{path}: expected as many frames of joints as of the root, got {len(relative)} and {len(root)}"
            )
        points = relative * np.float32(1e-4) + root[:, None].astype(np.float32)
    else:
        points = arrays[next(iter(layout.points))].astype(np.float32)
    expected = (len(layout.skeleton.joints), 2 if "xy_norm" in arrays else 3)
    if points.shape[1:] != expected:
        raise MalformedBodies(f"{path}: expected points (frames, {expected[0]}, {expected[1]}), got {points.shape}")
    return points


def _own_splits(arrays: Mapping[str, np.ndarray], fold: int) -> list[Split]:
    """Return the source's own split of each clip, train or test."""
    if "is_train_splits" not in arrays:
        return ["train" if flag else "test" for flag in arrays["is_train"]]
    folds = arrays["is_train_splits"].shape[1]
    if not 1 <= fold <= folds:
        raise UnknownBodies(f"no fold {fold}; folds are 1 to {folds}")
    return ["train" if flag else "test" for flag in arrays["is_train_splits"][:, fold - 1]]
