"""A data folder of made-up hands in the layout of the real one, and a run small enough to be trained in a test."""

import json
from pathlib import Path

import numpy as np
import pytest
from laws import hand_motion

from models.contract.task import HandForecast
from models.forecast.eqmotion import EqMotionConfig
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import HandData
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.windows import Window

FPS = 30
# (source, split, recording, label, frames, hands seen); a recording may have several stretches.
STRETCHES = (
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


@pytest.fixture(scope="session")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hands/splits.json and hands/<source>/<source>.npz."""
    root = tmp_path_factory.mktemp("data")
    splits: dict[str, dict[str, list[str]]] = {}
    for source in ("leap", "tzionas"):
        stretches = [s for s in STRETCHES if s[0] == source]
        splits[source] = {"train": [], "validation": [], "test": []}
        for _, split, name, *_ in stretches:
            if name not in splits[source][split]:
                splits[source][split].append(name)
        frames = [s[4] for s in stretches]
        joints = [1000 * hand_motion(n, 42, batch=1, seed=i)[0].reshape(n, 2, 21, 3) for i, n in enumerate(frames)]
        valid = [np.repeat([[hands == 2, True]], n, axis=0) for *_, n, hands in stretches]
        folder = root / "hands" / source
        folder.mkdir(parents=True)
        np.savez(
            folder / f"{source}.npz",
            joints=np.concatenate(joints).astype(np.float32),
            valid=np.concatenate(valid),
            timestamp=np.concatenate([np.arange(n) / FPS for n in frames]),
            seq_start=np.cumsum([0, *frames]),
            seq_name=np.array([s[2] for s in stretches]),
            label=np.array([s[3] for s in stretches]),
        )
    (root / "hands" / "splits.json").write_text(json.dumps(splits))
    return root


TINY = HandForecast(past=6, future=6, fps=FPS)


@pytest.fixture(scope="session")
def tiny_task() -> HandForecast:
    return TINY


@pytest.fixture(scope="session")
def tiny() -> Run[HandForecast, HandData]:
    """Twelve steps of a very small network."""
    window = Window(past=TINY.past, future=TINY.future, fps=TINY.fps)
    return Run(
        name="tiny",
        title="A network of a test",
        task=TINY,
        network=EqMotionConfig(channels=4, hidden=4, layers=1, categories=3, experts=1),
        data=HandData(("leap", "tzionas"), window, batch=4),
        licence="Apache-2.0",
        loss=mean_distance_mm,
        score=mean_distance_mm,
        optimisation=Optimisation(steps=12, warmup=2, validate_every=4, checkpoint_every=3, patience=8),
    )
