"""Fixtures of a worker's settings, and of a shipped run that is small enough to be trained in a test."""

import math
from dataclasses import replace

import pytest

from models.forecast.eqmotion import STANDARD
from service.jobs.worker.heartbeat import GRACE_S
from service.settings import Settings
from training import catalogue
from training.engine.run import Optimisation
from training.tasks.hands.data import HandData
from training.tasks.hands.windows import Window


@pytest.fixture
def small(monkeypatch):
    """Replace the shipped run by one with a tenth of its network and a third of its window, which takes a second."""
    for reason in GRACE_S:  # the heartbeat must not kill the test process on a busy machine
        monkeypatch.setitem(GRACE_S, reason, math.inf)
    real = catalogue.get_run("hands-eqmotion")
    window = Window(past=10, future=10, fps=30)
    network = replace(STANDARD, channels=8, hidden=8, layers=1)
    task = real.task.model_copy(update={"past": 10, "future": 10})
    data = HandData(("leap", "tzionas"), window, batch=4)
    tiny = replace(real, task=task, network=network, data=data, optimisation=Optimisation())
    monkeypatch.setattr(catalogue, "get_run", lambda name: tiny if name == tiny.name else catalogue.all_runs()[name])


@pytest.fixture
def settings(tmp_path, hands_folder) -> Settings:
    return Settings(state=tmp_path / "state", data=hands_folder, lease_s=30)
