"""Tests of the plot of a report: a panel for each group, a line for each model, one legend."""

from pathlib import Path

import pytest
from drawings import assert_legible
from torch import nn

from models.contract.task import HandForecast
from models.forecast.linear import LinearForecast, damped_velocity
from training.engine.run import Run
from training.tasks.hands import plots
from training.tasks.hands.data import HandData
from training.tasks.hands.plots import error_against_horizon
from training.tasks.hands.report import Report, evaluate

MODELS = {"hold": 0.0, "constant velocity": 1.0, "damped velocity": 0.7, "mine": 0.9}


@pytest.fixture
def report(tiny: Run[HandForecast, HandData], tiny_task: HandForecast, synthetic_data: Path) -> Report:
    models: dict[str, nn.Module] = {
        name: LinearForecast(tiny_task, damped_velocity(tiny_task, decay)) for name, decay in MODELS.items()
    }
    return evaluate(models, tiny.data.load(synthetic_data), ("leap", "tzionas"), "test")


def test_the_plot_is_written_and_not_blank(report: Report, tmp_path: Path):
    path = tmp_path / "horizon.png"
    error_against_horizon(report, list(MODELS), path)
    assert_legible(path, colours=10)


def test_the_plot_has_a_panel_for_each_group_a_line_for_each_model_and_one_legend(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    error_against_horizon(report, list(MODELS), tmp_path / "horizon.png")
    (figure,) = drawn
    panels = [panel for panel in figure.axes if panel.axison]
    assert len(panels) == len(report.groups())
    assert all(len(panel.lines) == len(MODELS) and panel.get_legend() is None for panel in panels)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(MODELS)
    source, hands = report.groups()[0]
    assert f"mine {report.row(source, hands, 'mine').mpjpe_mm:.1f} mm" in panels[0].get_title(loc="left")


def test_plotting_leaves_no_figure_open(report: Report, tmp_path: Path):
    import matplotlib.pyplot as plt

    error_against_horizon(report, ["hold"], tmp_path / "horizon.png")
    assert plt.get_fignums() == []
