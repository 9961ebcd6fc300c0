"""Tests of the table of face landmarkers over seeds: means, spreads, the bundle and the mean face beside them."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.contract.bundle import read_bundle
from training.catalogue import all_runs
from training.engine.benchmark import Choice, NoOptions
from training.engine.watch import UNWATCHED
from training.tasks.faces import seed_table
from training.tasks.faces.metrics import scores
from training.tasks.faces.report import Report, Row
from training.tasks.faces.seed_table import MODELS, OTHERS, budget, tables

TRUE = np.random.default_rng(0).normal(size=(3, 68, 3))


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace trainings by reports made up: seed s is off by s + 1 mm on clean scans, and by 10 s on scans of no card."""

    def report(_: object, seed: int, *__: object) -> Report:
        off = {"ict, clean": seed + 1, "elsewhere": 10 * seed}
        rows = [Row(source, 3, scores(TRUE + np.array([mm / 1000, 0, 0]), TRUE), None) for source, mm in off.items()]
        return Report(rows)

    monkeypatch.setattr(seed_table, "measured", report)


@pytest.mark.usefixtures("made_up")
def test_a_line_has_mean_and_spread_each_seed_the_bundle_and_the_mean_face(tmp_path: Path):
    text = tables(tmp_path, tmp_path, UNWATCHED, Choice(results=tmp_path))
    card = {(one.source, one.metric): one for one in read_bundle(seed_table.BUNDLES / "face-depth").meta.measurements}
    mean = card["ict, clean", "mean error, 68 landmarks"]
    assert text.splitlines()[4] == (
        "| ict, clean | 3 | mean error, 68 landmarks, mm | 2.00 ± 0.82 | 1.00, 2.00, 3.00 "
        f"| {mean.value:.2f} | {mean.baseline_value:.2f} |"
    )
    assert "| elsewhere | 3 | mean error, 68 landmarks, mm | 10.00 ± 8.16 | 0.00, 10.00, 20.00 | - | - |" in text
    assert text in (tmp_path / "faces-seeds.md").read_text()
    first = json.loads((tmp_path / "faces-seeds.json").read_text())[0]
    assert (first["values"], first["shipped"]) == ([1, 2, 3], mean.value)


def test_the_budget_of_a_seed_is_that_of_all_stages():
    assert budget(all_runs()["face-depth"]).startswith("`face-depth`: 1,200 steps of 8 with each seed")
    assert "14,000 + 3,000 + 1,200 steps of 4 " in budget(all_runs()["face-se3unet"])


@pytest.mark.usefixtures("made_up")
def test_only_shipped_landmarkers_have_a_table(tmp_path: Path):
    assert {*MODELS, *OTHERS} <= set(all_runs())
    assert "over 2 seeds" in tables(tmp_path, tmp_path, UNWATCHED, Choice(models=("face-se3unet",), seeds=2))
    with pytest.raises(NoOptions, match=r"expected models among face-depth, face-se3unet, got face-depth-d4"):
        tables(tmp_path, tmp_path, UNWATCHED, Choice(models=("face-depth-d4",)))
    with pytest.raises(NoOptions, match="epochs"):
        tables(tmp_path, tmp_path, UNWATCHED, Choice(epochs=2))
