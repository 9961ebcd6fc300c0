"""Hand motion in one .npz file per source, split by hands/splits.json.

    hands/splits.json               {source: {"train" | "validation" | "test": [recording names]}}
    hands/<source>/<source>.npz     joints (N, 2, 21, 3) float32, valid (N, 2) bool, timestamp (N,) seconds, seq_start (S+1,),
                                    seq_name (S,), label (S,)

Joints are millimetres, left hand before right, in the joint order "assembly101". The N frames of all S recordings follow each other, and
recording i is the frames from seq_start[i] to seq_start[i+1]. Reading turns millimetres into metres and hands that are not valid into NaN.
"""

import json
from pathlib import Path

import numpy as np

from models.motion.hands import clip_of
from models.skeletons.units import to_metres
from training.data.untrusted import load_arrays
from training.tasks.hands.recordings import HandSource, Recording

KEYS = ("joints", "valid", "timestamp", "seq_start", "seq_name", "label")


class UnknownSource(ValueError):
    """A source or split that does not exist; the message lists those that do."""


class MalformedSource(ValueError):
    """A file that does not have the format above; the message says what was expected and what was found."""


def read_hands(folder: Path, source: str, split: str | None = None) -> list[Recording]:
    """Read the recordings of a split, or all that the file has if the split is None. `folder` is the subfolder `hands`.

    Raises UnknownSource, MalformedSource, UntrustedFile.
    """
    path = folder / source / f"{source}.npz"
    if not path.is_file():
        known = sorted(p.parent.name for p in folder.glob("*/*.npz") if p.stem == p.parent.name)
        raise UnknownSource(f"no file {path}; the sources in {folder} are: {', '.join(known) or 'none'}")
    arrays = load_arrays(path)
    if missing := [key for key in KEYS if key not in arrays]:
        raise MalformedSource(f"{path}: expected the arrays {', '.join(KEYS)}; missing: {', '.join(missing)}")
    joints, valid, times, starts, names, labels = (arrays[key] for key in KEYS)
    chosen = set(names) if split is None else _names_of(folder / "splits.json", source, split)
    if unknown := sorted(chosen - set(names)):
        raise MalformedSource(
            f"splits.json names recordings of {source}, {split}, that {path} lacks: {', '.join(unknown)}"
        )
    if joints.ndim != 4 or joints.shape[1] != 2 or not len(joints) == len(valid) == len(times) == starts[-1]:
        raise MalformedSource(
            f"{path}: expected joints (N, 2, 21, 3), valid (N, 2), timestamp (N,) and seq_start ending in N; "
            f"got {joints.shape}, {valid.shape}, {times.shape} and {starts[-1]}"
        )
    joints *= np.float32(to_metres("mm"))
    return [
        Recording(source, str(name), str(label), clip_of(joints[a:b], times[a:b], valid[a:b]))
        for name, label, a, b in zip(names, labels, starts[:-1], starts[1:], strict=True)
        if name in chosen
    ]


def _names_of(path: Path, source: str, split: str) -> set[str]:
    """Return the names of the recordings that splits.json puts into a split."""
    splits = json.loads(path.read_text())
    if source not in splits:
        raise UnknownSource(f"{path} has no source {source!r}; it has {', '.join(splits)}")
    if split not in splits[source]:
        raise UnknownSource(f"{source} has no split {split!r}; it has {', '.join(splits[source])}")
    return set(splits[source][split])


def npz_source(name: str, licence: str | None = None, attribution: str = "") -> HandSource:
    """Return the source whose recordings are in hands/<name>/<name>.npz."""
    return HandSource(name, licence, attribution, read=lambda folder, split: read_hands(folder, name, split))


SOURCES = (
    npz_source("leap", "Apache-2.0", "Leap Motion, Inc.: leapmotion-examples, leapjs-plugins, leapjs-playback"),
    npz_source("tzionas", "MIT", "Tzionas et al., Capturing Hands in Action, IJCV 2016; Tzionas and Gall, ICCV 2015"),
    npz_source(
        "thai_sign_leap",
        "BSD-3-Clause",
        "Copyright (c) 2017, Pakpoom Thaweesitthichat: Thai-Sign-Language-Recognition-with-Leap-Motion",
    ),
    npz_source("ultraleap_tracking", "MIT", "Copyright (c) 2022 Jeroen Habets: ultraleap-tracking"),
    npz_source("leap_playground", "Apache-2.0", "Leap Motion, Inc.: Playground"),
    npz_source("leap_vrcollage", "Apache-2.0", "Leap Motion, Inc.: VRCollage"),
    npz_source("manipnet", "CC BY-NC", "Zhang et al., ManipNet, SIGGRAPH 2021"),
    npz_source("humoto", "Adobe Research License v1.1, noncommercial research", "Lu et al., HUMOTO, ICCV 2025"),
    npz_source("assembly101_sample", "CC BY-NC 4.0", "Sener et al., Assembly101, CVPR 2022"),
)
