"""Tests of the table of shipped models over seeds: means, spreads, and the baseline beside them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from training.catalogue import all_runs
from training.engine.benchmark import Choice, NoOptions
from training.engine.watch import Watch
from training.tasks.bodies import seed_table
from training.tasks.bodies.report import Report, Row
from training.tasks.bodies.seed_table import MODELS, Line, tables

WATCH = Watch(bar=False)
FIGURES = {"top-1": (90.0, 92.0, 94.0), "first distance": (0.07, 0.08, 0.09)}
FLOORS = {
    "ridge": {"top-1": 93.0, "first distance": 0.5},
    "damped velocity": {"top-1": 10.0, "first distance": 0.1},
}


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace trainings and baselines by figures made up."""

    def report(_: object, seed: int, *__: object) -> Report:
        return Report((Row("clips", 7, 2, {name: values[seed] for name, values in FIGURES.items()} | {"step 3": 0.0}),))

    floors = {name: Report((Row("clips", 7, 2, own),)) for name, own in FLOORS.items()}
    monkeypatch.setattr(seed_table, "measured", report)
    monkeypatch.setattr(seed_table, "floors", lambda *_: floors)
    monkeypatch.setattr(seed_table, "get_run", lambda _: SimpleNamespace(data=SimpleNamespace(load=lambda _: None)))


@pytest.mark.usefixtures("made_up")
def test_a_line_has_mean_and_spread_the_best_baseline_and_the_seeds_that_are_no_worse(tmp_path: Path):
    text = tables(tmp_path, tmp_path, WATCH, Choice(models=("actions-hdm05",), results=tmp_path))
    assert text.splitlines()[2:] == [
        "| clips | top-1, % | 7 | 92.0 ± 1.6 | **93.0**, ridge | 1 of 3 |",
        "| clips | distance at the first step, % of half the box | 7 | **0.080 ± 0.008** | 0.100, damped velocity | 3 of 3 |",
    ]
    assert text in (tmp_path / "bodies-seeds.md").read_text()
    assert [line["values"] for line in json.loads((tmp_path / "bodies-seeds.json").read_text())] == [
        list(values) for values in FIGURES.values()
    ]


@pytest.mark.usefixtures("made_up")
def test_there_is_a_table_for_each_model_and_none_for_others(tmp_path: Path):
    assert set(MODELS) <= set(all_runs())
    text = tables(tmp_path, tmp_path, WATCH, Choice(seeds=2))
    assert [table.splitlines()[0].split(" | ")[0] for table in text.split("\n\n")] == [f"| {model}" for model in MODELS]
    assert "over 2 seeds" in text
    with pytest.raises(NoOptions, match=r"expected models among .* got hands-hold"):
        tables(tmp_path, tmp_path, WATCH, Choice(models=("hands-hold",)))
    with pytest.raises(NoOptions, match="epochs"):
        tables(tmp_path, tmp_path, WATCH, Choice(epochs=2))


@pytest.mark.usefixtures("made_up")
def test_a_table_of_one_model_leaves_those_of_the_others_in_the_files(tmp_path: Path):
    every = tables(tmp_path, tmp_path, WATCH, Choice(results=tmp_path))
    files = [tmp_path / f"bodies-seeds.{kind}" for kind in ("md", "json")]
    own = tables(tmp_path, tmp_path, WATCH, Choice(models=("poses-forecast",), seeds=2, results=tmp_path))
    assert files[0].read_text() == (
        "## Shipped models of bodies over seeds\n\n" + "\n\n".join([own, *every.split("\n\n")[1:]]) + "\n"
    )
    seeds = {line["model"]: len(line["values"]) for line in json.loads(files[1].read_text())}
    assert seeds == {model: 2 if model == "poses-forecast" else 3 for model in MODELS}


@pytest.mark.parametrize(("figure", "beating"), [("top-1", 2), ("distance", 2), ("MPJPE", 2)])
def test_a_value_equal_to_the_baseline_is_no_worse(figure: str, beating: int):
    values = (1.0, 2.0, 3.0)
    assert Line("a", "b", 1, figure, values, "ridge", 2.0).beating == beating
