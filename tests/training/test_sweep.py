"""Tests of sweeps: the cells of a grid, the table of a run trained with each, and what a second call does not train again."""

import json
import re
from pathlib import Path

import pytest

from models.contract.grid import MAX_CELLS, BadGrid, cells
from models.contract.task import HandForecast
from training.__main__ import main
from training.engine import cells as sweeping
from training.engine.loop import NotANumber
from training.engine.run import Run
from training.engine.settings import Settings, WrongSetting, with_learning_rate
from training.engine.sweep import Cell, Sweep
from training.settings import with_settings
from training.tasks.hands.data import HandData

HandRun = Run[HandForecast, HandData]


@pytest.fixture
def only_tiny(tiny: HandRun, monkeypatch: pytest.MonkeyPatch) -> HandRun:
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {tiny.name: tiny})
    return tiny


def test_a_grid_has_every_combination_and_its_last_field_changes_fastest():
    assert cells({"layers": [2, 3], "seed": [0, 1]}) == [
        {"layers": 2, "seed": 0},
        {"layers": 2, "seed": 1},
        {"layers": 3, "seed": 0},
        {"layers": 3, "seed": 1},
    ]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "a grid of 1 to 8 fields"),
        ({"layers": []}, "values of layers, got none"),
        ({"layers": [1, 1]}, "each value of layers once"),
        ({"layers": ["true", True]}, "each value of layers once"),
        ({"layers": [2, 2.0]}, "each value of layers once, got 2, 2.0"),
        ({"layers": ["2", "2.0"]}, "each value of layers once, got 2, 2.0"),
        ({"layers": [True, 1]}, "true and false as values of layers, got a mixture: true, 1"),
        ({"tokens": ["joint", 1]}, "got a mixture: joint, 1"),
        ({"steps": [1], "epochs": [1]}, "steps or epochs"),
        ({"layers": range(6), "seed": range(6)}, f"at most {MAX_CELLS} combinations, got 6 x 6 = 36"),
    ],
)
def test_a_grid_without_cells_or_with_too_many_is_refused(grid, message):
    with pytest.raises(BadGrid, match=message):
        cells(grid)


def test_a_field_of_numbers_may_also_have_none():
    assert cells({"experts": ["none", 1, 2]}) == [{"experts": "none"}, {"experts": 1}, {"experts": 2}]


def cell(layers: int, seed: int, score: float | None) -> Cell:
    return Cell(settings={"layers": layers, "seed": seed}, score=score, state="succeeded" if score else "failed")


def test_settings_are_chosen_by_their_mean_over_seeds():
    lucky = Sweep(run="r", cells=(cell(1, 0, 1.0), cell(1, 1, 9.0), cell(2, 0, 3.0), cell(2, 1, 2.0), cell(3, 0, None)))
    assert lucky.best == 3, "expected the better seed of the settings with the lower mean"
    assert Sweep(run="r", cells=(cell(1, 0, None),)).best is None


def test_a_cell_without_a_result_is_in_the_table_with_its_reason(tmp_path):
    failed = Cell(settings={"layers": 9}, state="failed", error="the loss is nan")
    swept = Sweep(run="r", cells=(Cell(settings={"layers": 1}, score=2.0, loss=1.0, step=3), failed))
    assert "| 9 | failed |" in swept.table()
    assert "- layers=9: the loss is nan" in swept.table()
    swept.write(tmp_path)
    assert (tmp_path / "sweep.png").stat().st_size > 0
    assert json.loads((tmp_path / "sweep.json").read_text())["best"] == 0


def test_a_sweep_trains_each_cell_once(only_tiny, synthetic_data: Path, tmp_path: Path, monkeypatch, capsys):
    trained: list[float] = []
    real = sweeping.train

    def train(training, watch):
        trained.append(training.run.optimisation.learning_rate)
        return real(training, watch)

    monkeypatch.setattr(sweeping, "train", train)
    options = ["--grid", "layers=1,2", "--grid", "learning_rate=0.01,0.001", "--steps", "4"]
    out = tmp_path / "runs"
    main(["--data", str(synthetic_data), "--out", str(out), "sweep", "tiny", *options])
    assert trained == [0.01, 0.001, 0.01, 0.001]
    printed = capsys.readouterr().out
    results = json.loads((out / "tiny" / "sweep" / "sweep.json").read_text())
    best = results["cells"][results["best"]]
    assert best["score"] == min(one["score"] for one in results["cells"])
    assert all(one["measurements"][0]["split"] == "validation" for one in results["cells"])
    assert all(one["measurements"][0]["baseline_value"] > 0 for one in results["cells"])
    assert results["cells"][0]["parameters"] < results["cells"][2]["parameters"]
    layers, rate = best["settings"]["layers"], best["settings"]["learning_rate"]
    assert f"--seed 0 --steps 4 --set layers={layers} --learning-rate {rate}" in printed
    monkeypatch.setattr(sweeping, "train", lambda *_: pytest.fail("expected the reports of the cells to be read"))
    main(["--data", str(synthetic_data), "--out", str(out), "sweep", "tiny", *options])
    assert json.loads((out / "tiny" / "sweep" / "sweep.json").read_text()) == results


def test_a_diverged_cell_does_not_end_the_sweep(only_tiny, synthetic_data: Path, tmp_path: Path, monkeypatch, capsys):
    real = sweeping.train

    def train(training, watch):
        if training.seed == 0:
            raise NotANumber("the loss of tiny, seed 0, is nan at step 1")
        return real(training, watch)

    monkeypatch.setattr(sweeping, "train", train)
    out = tmp_path / "runs"
    main(["--data", str(synthetic_data), "--out", str(out), "sweep", "tiny", "--grid", "seed=0,1", "--steps", "2"])
    printed = capsys.readouterr().out
    assert "| 0 | failed |" in printed
    assert "--seed 1" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "layer=1,2"], "no field 'layer'; it has .*layers"),
        (["--grid", "layers=x"], "layers: .*got 'x'"),
        (["--grid", "layers=1,2", "--grid", "layers=3"], "each field of the grid once"),
        (["--grid", "layers=1,2", "--set", "layers=3"], "layers in the grid or in --set, got both"),
        (["--grid", "steps=1,2", "--steps", "3"], "steps or epochs once"),
        (["--grid", "steps=1,x"], "steps: expected a whole number of at least 1, got 'x'"),
        (["--grid", "learning_rate=0"], "learning_rate: expected a number above 0"),
        (["--grid", "seed=-1"], "seed: expected a whole number of at least 0"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_is_trained(
    only_tiny, synthetic_data, tmp_path, capsys, options, message
):
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(synthetic_data), "--out", str(tmp_path / "runs"), "sweep", "tiny", *options])
    assert ended.value.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert re.search(message, error), error
    assert not (tmp_path / "runs").exists()


def test_a_learning_rate_is_that_of_every_stage_and_in_the_command(tiny: HandRun):
    changed = with_settings(tiny, Settings(learning_rate=0.01), None)
    assert changed.optimisation.learning_rate == 0.01
    assert changed.fingerprint != tiny.fingerprint
    assert Settings(learning_rate=0.01).arguments() == " --learning-rate 0.01"
    with pytest.raises(WrongSetting, match="above 0 and at most 1, got 2"):
        with_learning_rate(tiny, 2.0)
