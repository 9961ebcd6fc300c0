"""Tests of the comparison on synthetic hands with a very small network: search, training, figures, rows and tables."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.contract.task import HandForecast
from training.engine.benchmark import Choice
from training.engine.checkpoints import BEST
from training.engine.folders import folder_of
from training.engine.watch import Watch
from training.tasks.hands import tables as hands_tables
from training.tasks.hands.comparison import COST, FIGURES, RATES, Budget, Comparison
from training.tasks.hands.comparison_table import curve_of
from training.tasks.hands.figures import Figures
from training.tasks.hands.models import MODELS, Model, Published
from training.tasks.hands.results import Row, collect, gain

QUIET = Watch(bar=False)
SOURCES = ("leap", "tzionas")
SMALL = Budget(preset="10+10@30", seeds=2, epochs=3, every_s=0.2, trained_on=SOURCES, measured_on=SOURCES)


class Step(nn.Module):
    """A forecast that adds one learned step to the last pose; `turned` adds a constant vector, which no rotation turns."""

    symmetries = ("translation",)

    def __init__(self, task: HandForecast, size: int) -> None:
        super().__init__()
        self.task = task
        self.step = nn.Parameter(torch.full((size, task.future), 0.1))
        self.vector = nn.Parameter(torch.full((3,), 0.002))

    def forward(self, past: Tensor) -> Tensor:
        move = (past[:, -1:] - past[:, -2:-1]) * self.step.sum(0)[:, None, None]
        return (past[:, -1:] + move + self.vector).unsqueeze(1)


@dataclass(frozen=True)
class StepConfig:
    size: int = 1

    def build(self, task: HandForecast) -> Step:
        return Step(task, self.size)


@dataclass(frozen=True)
class Diverging:
    def build(self, task: HandForecast) -> Step:
        network = Step(task, 1)
        nn.init.constant_(network.step, float("inf"))
        return network


TINY = {
    "small": Model(StepConfig, Published("1K", 0.2)),
    "large": Model(lambda: StepConfig(3), seeds=1),
    "absent": Model(lambda: __import__("models.forecast.absent")),
}


@pytest.fixture(scope="module")
def compared(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, list[Row], list[str]]:
    """Train and measure all there is once."""
    comparison = Comparison(SMALL, synthetic_data, tmp_path_factory.mktemp("runs"), QUIET)
    return comparison, *collect(comparison, TINY, TINY, train=True)


def test_a_model_has_its_rate_its_seeds_and_its_cost(compared):
    comparison, (small, large), missing = compared
    assert (small.name, len(small.figures), large.name, len(large.figures)) == ("small", 2, "large", 1)
    assert missing == ["absent: No module named 'models.forecast.absent'"]
    scores = {}
    for rate in RATES:
        run = comparison.run("small", StepConfig(), rate, 1, search=True)
        scores[torch.load(folder_of(comparison.out, run, 0) / BEST, weights_only=True)["score"]] = rate
    assert small.rate == scores[min(scores)]
    assert small.cost.step_s > 0
    assert small.cost.forecast_ms > 0
    assert small.figures[0].parameters == 10 + 3


def test_a_learning_curve_has_the_marked_epochs_and_the_sources(compared):
    _, (small, _), _ = compared
    assert [point.epoch for point in small.figures[0].curve] == [1, 3]
    assert set(small.figures[0].test) == set(SOURCES)
    curve = curve_of(small, "leap")
    assert curve["3"]["train"] < curve["1"]["train"]
    first, second = (figures.curve[1].test["leap"].mpjpe_mm for figures in small.figures)
    assert curve["3"]["test"] == pytest.approx((first + second) / 2)


def test_errors_at_the_end_count_every_window_by_recording_and_label(compared):
    _, (small, _), _ = compared
    errors = small.figures[0].test["leap"]
    assert errors.windows == sum(n for n, _ in errors.recordings.values()) == sum(n for n, _ in errors.labels.values())
    assert set(errors.labels) == {"meeting", "parting"}
    assert errors.mpjpe_mm == pytest.approx(sum(n * mm for n, mm in errors.labels.values()) / errors.windows)
    assert errors.mpjpe_mm == pytest.approx(np.mean(errors.by_frame_mm))


def test_the_rotation_error_is_that_of_the_part_that_does_not_turn(compared):
    comparison, (small, _), _ = compared
    assert small.figures[0].rotation_mm > 0.1
    assert all(figures.rotation_mm < 0.01 for figures in comparison.without_weights().values())


def test_nothing_is_trained_or_measured_twice(compared, monkeypatch: pytest.MonkeyPatch):
    comparison, rows, _ = compared
    monkeypatch.setattr(Comparison, "measure", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr("training.engine.loop.train", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr("training.tasks.hands.comparison.step_s", lambda *_: pytest.fail("timed again"))
    assert collect(comparison, TINY, (), train=False)[0] == rows


def test_without_training_what_is_there_is_shown_and_what_lacks_is_said(compared):
    comparison, *_ = compared
    more = Comparison(replace(SMALL, seeds=3), comparison.data_folder, comparison.out, QUIET)
    rows, missing = collect(more, {"small": TINY["small"], "new": Model(lambda: StepConfig(7))}, (), train=False)
    assert [(row.name, len(row.figures)) for row in rows] == [("small", 2)]
    assert missing == ["small: 2 of 3 seeds", "new: not trained"]


def test_a_model_that_diverges_is_missing_with_the_reason(synthetic_data: Path, tmp_path: Path):
    comparison = Comparison(SMALL, synthetic_data, tmp_path, QUIET)
    rows, missing = collect(comparison, {"bad": Model(Diverging)}, ["bad"], train=True)
    assert rows == []
    assert missing == [f"bad: bad diverges at every learning rate of {RATES}"]


def test_figures_are_read_as_they_were_written(compared, tmp_path: Path):
    _, (small, _), _ = compared
    small.figures[0].write(tmp_path / "figures.json")
    assert Figures.read(tmp_path / "figures.json") == small.figures[0]


def with_errors(row: Row, recordings: dict[str, tuple[int, float]]) -> Row:
    """Return a row of one seed with these windows and errors of recordings."""
    figures = row.figures[0]
    test = {"leap": replace(figures.test["leap"], recordings=recordings)}
    return replace(row, figures=(replace(figures, test=test),))


def test_a_gain_is_paired_by_recording(compared):
    _, (small, _), _ = compared
    base = with_errors(small, {"a": (10, 10.0), "b": (30, 100.0), "c": (10, 50.0)})
    better = with_errors(small, {"a": (10, 9.0), "b": (30, 90.0), "c": (10, 45.0)})
    percent, bounds = gain(better, base, "leap")
    assert percent == pytest.approx(10)
    assert bounds is not None
    assert bounds[0] < 10 < bounds[1]
    assert gain(base, base, "leap") == (0, (0, 0))
    assert gain(with_errors(small, {"a": (5, 1.0)}), with_errors(small, {"a": (5, 2.0)}), "leap") == (50, None)


@pytest.fixture
def make(compared, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that makes tables of the tiny models."""
    comparison, *_ = compared
    monkeypatch.setattr(hands_tables, "Budget", lambda **given: replace(SMALL, **given))
    monkeypatch.setattr(hands_tables, "MODELS", TINY)

    def made(**choice) -> str:
        return hands_tables.tables(comparison.data_folder, comparison.out, QUIET, Choice(**choice))

    return made


def test_the_comparison_is_written_as_json_markdown_and_plots(make, tmp_path: Path):
    text = make(results=tmp_path)
    assert "2 seeds" in text
    assert "Missing: absent: No module named 'models.forecast.absent'." in text
    content = json.loads((tmp_path / "hands-comparison-10+10@30.json").read_text())
    rows = {row["model"]: row for row in content["rows"]}
    assert list(rows)[-2:] == ["small", "large"]
    assert {"hold", "constant velocity", "damped velocity", "ridge"} < set(rows)
    leap = rows["small"]["sources"]["leap"]
    assert set(leap["at_mm"]) == {"33 ms", "67 ms", "100 ms", "333 ms"}
    assert len(leap["mpjpe_mm"]) == 2
    assert leap["gain_interval_percent"][0] <= leap["gain_percent"] <= leap["gain_interval_percent"][1]
    assert rows["small"]["published"] == {"size": "1K", "test": 0.2}
    written = (tmp_path / "hands-comparison-10+10@30.md").read_text()
    assert written.startswith(text)
    for picture in ("hands-comparison-10+10@30.png", "hands-comparison-10+10@30-curves.png"):
        assert f"({picture})" in written
        assert (tmp_path / picture).stat().st_size > 1000


def test_a_row_of_every_published_model_is_there():
    published = {name for name, model in MODELS.items() if model.published}
    assert len(published) == 14  # and Constant, which has no weights
    assert FIGURES != COST
