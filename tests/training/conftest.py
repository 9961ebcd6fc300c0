"""Fixtures of a data folder with synthetic hands, and of a run that is small enough to be trained in a test."""

from pathlib import Path

import pytest
from synthetic_hands import FPS, SHORT, write_hands

from models.contract.task import HandForecast
from models.forecast.eqmotion import EqMotionConfig
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import HandData
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.windows import Window


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data folder with hands/splits.json and hands/<source>/<source>.npz."""
    return write_hands(tmp_path_factory.mktemp("data"), SHORT)


TINY = HandForecast(past=6, future=6, fps=FPS)


@pytest.fixture(scope="session")
def tiny_task() -> HandForecast:
    return TINY


@pytest.fixture(scope="session")
def tiny() -> Run[HandForecast, HandData]:
    """Return a run of twelve steps of a very small network."""
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
