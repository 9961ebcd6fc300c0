"""Learning curves: drawn of every run that has some, and of one that has none nothing."""

import json
from pathlib import Path

import matplotlib.image

from training.engine.curves import learning_curves
from training.engine.loop import HISTORY


def ink(path: Path) -> float:
    """How much of a picture is not white."""
    return float((matplotlib.image.imread(path)[..., :3] < 0.9).any(axis=-1).mean())


def test_every_run_has_its_lines_and_one_that_has_not_begun_has_none(tmp_path: Path):
    folders = {f"seed {seed}": tmp_path / str(seed) for seed in range(6)}
    drawn, shown = tmp_path / "curves.png", []
    for begun in (0, 1, 5):
        for folder in list(folders.values())[:begun]:
            folder.mkdir(exist_ok=True)
            told = [{"step": step, "loss": 9.0 - step, "score": 5.0 - step - int(folder.name)} for step in (1, 2, 3)]
            (folder / HISTORY).write_text("".join(json.dumps(said) + "\n" for said in told))
        learning_curves(folders, "a run", drawn)
        shown.append(ink(drawn))
    nothing, one, five = shown
    assert nothing < one < five
