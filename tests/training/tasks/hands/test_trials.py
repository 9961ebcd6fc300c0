"""Tests of the trials of the hand forecaster: one change each, measured on validation recordings, of sources not trained on too."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from synthetic_hands import LONG, write_hands

from models.forecast.hand_means import HandMeansConfig
from training.engine.watch import Watch
from training.tasks.hands import ladder, trials
from training.tasks.hands.trials import SOURCES, TRIALS, UNSEEN

QUIET = Watch(bar=False)


def test_every_trial_differs_from_the_first_and_trains_on_no_unseen_source():
    first, *others = TRIALS.values()
    for trial in others:
        assert any(getattr(trial, f.name) != getattr(first, f.name) for f in fields(trial))
        assert trial.run(()).data.sources == SOURCES
    assert not set(UNSEEN) & set(SOURCES)
    prints = {trial.run(()).fingerprint for trial in TRIALS.values()}
    assert len(prints) == len(TRIALS)


def test_the_tables_have_a_line_for_each_trial_of_each_group_and_one_for_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = write_hands(tmp_path / "data", LONG)
    tiny = replace(
        next(iter(TRIALS.values())),
        network=HandMeansConfig(channels=4, hidden=6, layers=1, products=2),
        steps=2,
        draw=ladder.EVERY_WINDOW,
    )
    for module in (ladder, trials):
        monkeypatch.setattr(module, "SOURCES", ("leap",))
    monkeypatch.setattr(ladder, "LEAST", 1)
    monkeypatch.setattr(trials, "UNSEEN", {"tzionas": 1})
    monkeypatch.setattr(trials, "TRIALS", {"as it is": tiny, "carried": replace(tiny, carried=1.0)})
    first, second = trials.tables(data, tmp_path / "runs", QUIET).split("\n\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first.splitlines()]
    assert [row[:2] for row in cells[2:]] == [
        [group, title] for group in ("trained on", "tzionas, zero-shot") for title in ("as it is", "carried")
    ]
    assert cells[0][2:4] == ["30+30", "10+10"]
    assert all(float(value) > 0 for row in cells[2:] for value in row[2:])
    assert cells[2][2:] != cells[3][2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in second.splitlines()]
    assert rows[0] == ["trained on, 30+30", "leap 2"]
    assert rows[2] == ["as it is", cells[2][2]]
