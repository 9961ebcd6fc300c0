"""Tests of the ladder of the hand forecaster: one choice a rung, folds that are not trained on, and ratios to the best baseline."""

from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from synthetic_hands import LONG, write_hands

from models.forecast.hand_means import HandMeansConfig
from training.engine.watch import Watch
from training.tasks.hands import ladder
from training.tasks.hands.ladder import FOLDS, RUNGS, SOURCES, Rungs, figures, ratios

QUIET = Watch(bar=False)


def test_each_rung_changes_one_part_of_the_rung_before_it():
    rungs = list(RUNGS.values())
    for before, after in pairwise(rungs):
        changed = [f.name for f in fields(after) if getattr(before, f.name) != getattr(after, f.name)]
        assert len(changed) == 2, changed
        assert "title" in changed


def test_a_run_of_a_rung_is_trained_on_all_sources_but_those_of_the_fold():
    for fold in FOLDS:
        run = RUNGS["plain"].run(fold)
        assert sorted((*run.data.sources, *fold)) == sorted(SOURCES)
        assert run.task.masked
        assert run.data.masked


def test_errors_are_averaged_over_the_horizon_and_taken_at_the_first_frames():
    long = np.arange(1, 31) * np.ones((4, 1))
    found = figures(long, 2 * long)
    assert found == pytest.approx({"30+30": 15.5, "10+10": 11.0, "33 ms": 1.0, "67 ms": 2.0, "100 ms": 3.0})


def test_a_ratio_is_the_mean_over_rows_of_all_folds():
    one = Rungs({"a 1": {"x": 1.0}}, {"a 1": {"x": 2.0}})
    two = Rungs({"b 1": {"x": 3.0}, "b 2": {"x": 9.0}}, {"b 1": {"x": 3.0}, "b 2": {"x": 6.0}})
    assert ratios([one, two]) == pytest.approx({"x": (0.5 + 1.0 + 1.5) / 3})


def test_a_ladder_on_two_sources_has_a_line_for_each_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = write_hands(tmp_path / "data", LONG)
    tiny = HandMeansConfig(channels=4, hidden=6, layers=1, products=2)
    rungs = {
        name: replace(RUNGS[name], network=tiny, steps=2, draw=RUNGS["plain"].draw) for name in ("plain", "faults")
    }
    monkeypatch.setattr(ladder, "SOURCES", ("leap", "tzionas"))
    monkeypatch.setattr(ladder, "FOLDS", (("leap",),))
    monkeypatch.setattr(ladder, "RUNGS", rungs)
    monkeypatch.setattr(ladder, "LEAST", 1)
    lines = ladder.tables(data, tmp_path / "runs", QUIET).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0] for row in cells[2:]] == [rung.title for rung in rungs.values()]
    change = 100 * (float(cells[3][1]) / float(cells[2][1]) - 1)
    assert float(cells[3][-1].removesuffix(" %")) == pytest.approx(change, abs=0.3)
