"""Tests of benchmarks: a run is trained and measured once, reports are written atomically, and figures have one format."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.contract.task import HandForecast
from training.engine.benchmark import REPORT, bold, interval, markdown, measured, over_seeds
from training.engine.folders import folder_of
from training.engine.run import Run
from training.tasks.hands.data import HandData

Tiny = Run[HandForecast, HandData]


@dataclass(frozen=True)
class Figure:
    """A report of one figure; writing a negative one fails halfway."""

    value: float

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[")
        if self.value < 0:
            raise OSError("no space left on device")
        path.write_text(json.dumps([self.value]))

    @classmethod
    def read(cls, path: Path) -> "Figure":
        return cls(*json.loads(path.read_text()))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Replace training by a stub; return the list of runs and seeds that it is called with."""
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr("training.engine.loop.trained", lambda run, seed, *_: calls.append((run.name, seed)))
    return calls


def test_a_run_is_trained_and_measured_once_for_each_seed_and_file(tiny: Tiny, tmp_path: Path, trained):
    def measure(run: Any, network: Any, data_folder: Path) -> Figure:
        return Figure(float(len(trained)))

    def report(seed: int, file: str = REPORT) -> Figure:
        return measured(tiny, seed, tmp_path / "data", tmp_path, Figure, measure, file=file)

    assert [report(0), report(1), report(0), report(1)] == [Figure(1), Figure(2), Figure(1), Figure(2)]
    assert trained == [("tiny", 0), ("tiny", 1)]
    assert report(0, file="other.json") == Figure(3)


def test_an_interrupted_write_leaves_no_report(tiny: Tiny, tmp_path: Path, trained):
    values = iter((-1.0, 5.0))

    def report() -> Figure:
        return measured(tiny, 0, tmp_path, tmp_path, Figure, lambda *_: Figure(next(values)))

    with pytest.raises(OSError, match="no space left"):
        report()
    assert not (folder_of(tmp_path, tiny, 0) / REPORT).exists()
    assert report() == Figure(5)


def test_figures_have_one_format():
    assert over_seeds((50.0, 60.0, 70.0)) == "60.0 ± 8.2"
    assert over_seeds((50.0,), best=True) == "**50.0 ± 0.0**"
    assert (bold("a"), bold("a", False)) == ("**a**", "a")
    assert (interval((1.04, 2.06)), interval(None)) == ("1.0 to 2.1", "one recording")


def test_a_table_has_a_cell_for_each_column():
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    with pytest.raises(ValueError, match="expected 2 cells in a row, got 1: 3"):
        markdown(("a", "b"), [("3",)])
