"""A data folder of synthetic hands in the layout of the real one."""

import json
from pathlib import Path

import numpy as np
from laws import hand_motion

FPS = 30
# (source, split, recording, label, frames, visible hands); a recording may have several stretches.
SHORT = (
    ("leap", "train", "walk", "walking", 60, 2),
    ("leap", "train", "wave", "waving", 40, 1),
    ("leap", "validation", "check", "walking", 30, 2),
    ("leap", "test", "meet", "meeting", 25, 2),
    ("leap", "test", "meet", "meeting", 20, 2),
    ("leap", "test", "part", "parting", 30, 2),
    ("leap", "test", "alone", "waving", 30, 1),
    ("tzionas", "train", "grasp", "grasping", 30, 2),
    ("tzionas", "validation", "twist", "twisting", 24, 1),
    ("tzionas", "test", "fly", "flying", 24, 2),
)
LONG = tuple(
    (*stretch[:4], 90, *stretch[5:]) for stretch in SHORT
)  # long enough for the windows of the shipped forecaster


def write_hands(root: Path, stretches: tuple[tuple[str, str, str, str, int, int], ...]) -> Path:
    """Write hands/splits.json and hands/<source>/<source>.npz below `root`; return `root`."""
    splits: dict[str, dict[str, list[str]]] = {}
    for source in ("leap", "tzionas"):
        own = [stretch for stretch in stretches if stretch[0] == source]
        splits[source] = {"train": [], "validation": [], "test": []}
        for _, split, name, *_ in own:
            if name not in splits[source][split]:
                splits[source][split].append(name)
        frames = [stretch[4] for stretch in own]
        joints = [1000 * hand_motion(n, 42, batch=1, seed=i)[0].reshape(n, 2, 21, 3) for i, n in enumerate(frames)]
        valid = [np.repeat([[hands == 2, True]], n, axis=0) for *_, n, hands in own]
        folder = root / "hands" / source
        folder.mkdir(parents=True)
        np.savez(
            folder / f"{source}.npz",
            joints=np.concatenate(joints).astype(np.float32),
            valid=np.concatenate(valid),
            timestamp=np.concatenate([np.arange(n) / FPS for n in frames]),
            seq_start=np.cumsum([0, *frames]),
            seq_name=np.array([stretch[2] for stretch in own]),
            label=np.array([stretch[3] for stretch in own]),
        )
    (root / "hands" / "splits.json").write_text(json.dumps(splits))
    return root
