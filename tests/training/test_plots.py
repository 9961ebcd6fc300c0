"""Pictures: written, of a sensible size, and not one colour."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from laws import hand_motion
from torch import nn

from models.contract.task import HandForecast
from models.forecast.linear import LinearForecast, damped_velocity
from training.evaluate import Report, evaluate
from training.plots import error_against_horizon, strip
from training.run import Run


@pytest.fixture
def report(tiny: Run, tiny_task: HandForecast, made_data: Path) -> Report:
    models: dict[str, nn.Module] = {
        name: LinearForecast(tiny_task, damped_velocity(tiny_task, decay))
        for name, decay in {"hold": 0.0, "constant velocity": 1.0, "damped velocity": 0.7, "mine": 0.9}.items()
    }
    return evaluate(models, tiny.data.load(made_data), ("leap", "tzionas"), "test")


def must_show_something(path: Path, colours: int) -> None:
    picture = (255 * matplotlib.image.imread(path)[..., :3]).astype(int)
    assert picture.shape[0] > 200
    assert picture.shape[1] > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > colours


def test_error_against_horizon_is_drawn_for_every_group(report: Report, tmp_path: Path):
    path = tmp_path / "horizon.png"
    error_against_horizon(report, ["hold", "constant velocity", "damped velocity", "mine"], path)
    must_show_something(path, colours=10)


@pytest.mark.parametrize("nodes", [21, 42])
def test_a_strip_of_skeletons_is_drawn_for_one_hand_and_for_two(nodes: int, tmp_path: Path):
    clip = hand_motion(20, nodes, batch=1)[0]
    path = tmp_path / "strip.png"
    strip(clip[:10], clip[10:], np.repeat(clip[9:10], 10, axis=0), 30.0, path)
    must_show_something(path, colours=10)


def test_pictures_leave_no_figure_open(report: Report, tmp_path: Path):
    import matplotlib.pyplot as plt

    error_against_horizon(report, ["hold"], tmp_path / "horizon.png")
    assert plt.get_fignums() == []
