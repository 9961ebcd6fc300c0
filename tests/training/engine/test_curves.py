"""Tests of plots of learning curves."""

import json
from pathlib import Path

import matplotlib.image

from training.engine.curves import learning_curves
from training.engine.folders import HISTORY


def ink(path: Path) -> float:
    """Return the share of a picture's pixels that are not white."""
    return float((matplotlib.image.imread(path)[..., :3] < 0.9).any(axis=-1).mean())


def test_every_started_run_is_drawn(tmp_path: Path):
    folders = {f"seed {seed}": tmp_path / str(seed) for seed in range(6)}
    drawn, amounts = tmp_path / "curves.png", []
    for begun in (0, 1, 5):
        for folder in list(folders.values())[:begun]:
            folder.mkdir(exist_ok=True)
            lines = [{"step": step, "loss": 9.0 - step, "score": 5.0 - step - int(folder.name)} for step in (1, 2, 3)]
            (folder / HISTORY).write_text("".join(json.dumps(line) + "\n" for line in lines))
        learning_curves(folders, "a run", drawn)
        amounts.append(ink(drawn))
    nothing, one, five = amounts
    assert nothing < one < five
