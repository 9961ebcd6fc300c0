"""Hand motion from one .npz a source (leap, tzionas, manipnet, ...), split by sequence as `splits.json` says.
 A source is `<folder>/<source>/<source>.npz`: joints (N, 2, 21, 3) in millimetres, left then right, Assembly101 order;
valid (N, 2); timestamp (N,) seconds; seq_start (S+1,), seq_name (S,), label (S,). Millimetres become metres here, and
hands not valid become NaN.
"""

import json
from pathlib import Path

import numpy as np

from models.contract.units import to_metres
from models.motion.hands import clip_of
from training.data.recordings import Recording

KEYS = ("joints", "valid", "timestamp", "seq_start", "seq_name", "label")


class UnknownSource(ValueError):
    """No such source or split; the message lists those there are."""


class MalformedSource(ValueError):
    """A file that is not what a source's file is; the message says what was wanted and what came."""


def read_hands(folder: Path, source: str, split: str | None = None) -> list[Recording]:
    """The recordings of a source, of one split ("train", "validation", "test") or, without it, all that the file has.

    Raises UnknownSource, MalformedSource.
    """
    path = folder / source / f"{source}.npz"
    if not path.is_file():
        known = sorted(p.parent.name for p in folder.glob("*/*.npz") if p.stem == p.parent.name)
        raise UnknownSource(f"no file {path}; sources in {folder}: {', '.join(known) or 'none'}")
    with np.load(path, allow_pickle=False) as arrays:
        if missing := [key for key in KEYS if key not in arrays]:
            raise MalformedSource(f"{path} wants arrays {', '.join(KEYS)}; it has no {', '.join(missing)}")
        joints, valid, times, starts, names, labels = (arrays[key] for key in KEYS)
    wanted = set(names) if split is None else _names_of(folder / "splits.json", source, split)
    if unknown := sorted(wanted - set(names)):
        raise MalformedSource(f"splits.json puts into {source} {split} what {path} has not: {', '.join(unknown)}")
    if joints.ndim != 4 or joints.shape[1] != 2 or not len(joints) == len(valid) == len(times) == starts[-1]:
        raise MalformedSource(
            f"{path} wants joints (N, 2, 21, 3), valid (N, 2), timestamp (N,) and seq_start ending in N; "
            f"came {joints.shape}, {valid.shape}, {times.shape} and {starts[-1]}"
        )
    joints *= np.float32(to_metres("mm"))
    return [
        Recording(source, str(name), str(label), clip_of(joints[a:b], times[a:b], valid[a:b]))
        for name, label, a, b in zip(names, labels, starts[:-1], starts[1:], strict=True)
        if name in wanted
    ]


def _names_of(path: Path, source: str, split: str) -> set[str]:
    splits = json.loads(path.read_text())
    if source not in splits:
        raise UnknownSource(f"{path} splits {', '.join(splits)}, not {source}")
    if split not in splits[source]:
        raise UnknownSource(f"{source} is split into {', '.join(splits[source])}; there is no {split!r}")
    return set(splits[source][split])
