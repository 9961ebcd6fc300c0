"""Tests of the order of models: a winner by its card, then what has no parameters, then the rest by name."""

from typing import Literal

from models.contract.bundle import BundleMeta, Measurement
from models.contract.preference import Standing, preference, standing
from models.contract.task import HandForecast


def model(
    name: str,
    *rows: tuple[float, float | None],
    parameters: int = 1000,
    unit: str = "mm",
    split: Literal["validation", "test"] = "test",
    windows: int = 100,
    future: int = 1,
) -> BundleMeta:
    """Return a model with rows of its own error and that of the best forecast without weights."""
    row = Measurement(
        metric="error", value=1, unit=unit, split=split, source="lab", windows=windows, recordings=1, baseline="hold"
    )
    measured = tuple(row.model_copy(update={"value": own, "baseline_value": other}) for own, other in rows)
    return BundleMeta(
        name=name,
        title=name,
        task=HandForecast(past=2, future=future, fps=30),
        symmetries=(),
        network="network",
        parameters=parameters,
        opset=20,
        licence="MIT",
        trained_on=(),
        measurements=measured,
        command="",
        git_commit="",
        made_with={},
    )


def order(*models: BundleMeta) -> list[str]:
    return [meta.name for meta in sorted(models, key=preference)]


def test_a_model_that_wins_on_average_comes_first_and_the_better_one_before_the_other():
    models = model("a", (30, 20), (10, 10)), model("b", (9, 10)), model("c", (21, 20), (5, 10)), model("d", (10, 10))
    assert order(*models) == ["c", "b", "a", "d"]


def test_where_none_wins_the_best_model_without_parameters_comes_first():
    damped, hold = model("hands-damped", (10, 10), (12, 10), parameters=0), model("hands-hold", (13, 10), parameters=0)
    loser = model("hands-a", (10.1, 10))
    assert order(loser, hold, damped) == ["hands-damped", "hands-hold", "hands-a"]
    assert order(loser, hold, damped, model("hands-z", (9, 10)))[0] == "hands-z"


def test_a_winner_that_reaches_further_comes_before_a_better_one_that_does_not():
    far, near = model("far", (9.9, 10), future=30), model("near", (5, 10), future=6)
    assert order(near, far) == ["far", "near"]
    assert order(near, model("far", (10.1, 10), future=30)) == ["near", "far"]
    hold, short_hold = model("hold", (12, 10), parameters=0, future=30), model("short", (10, 10), parameters=0)
    assert order(short_hold, hold, near) == ["near", "hold", "short"]


def test_models_without_figures_that_can_be_compared_are_ordered_by_name():
    models = model("b", (1, 100), unit="%"), model("c"), model("a", (5, None), parameters=0)
    assert order(*models) == ["a", "b", "c"]
    assert order(model("b", (5, 10), split="validation"), model("a", (50, 10))) == ["a", "b"]


def test_a_standing_counts_rows_and_averages_ratios():
    assert standing(model("a", (9, 10), (10, 10), (30, 20))) == Standing(rows=3, better=1, ratio=1.133)
    assert standing(model("a")) is None
    assert standing(model("a", (9, 10), windows=99)) is None
