"""Tests of marked steps: the loop validates at them and keeps their averaged weights."""

from pathlib import Path

import pytest

from models.contract.task import HandForecast
from training.engine.checkpoints import load_best, mark
from training.engine.run import Run
from training.tasks.hands.data import HandData

from .test_loop import assert_same_results, bitwise_equal, checkpoint, history, stop_after, trained

HandRun = Run[HandForecast, HandData]


def test_marked_steps_change_a_fingerprint_only_if_there_are_some(tiny: HandRun):
    assert tiny.with_options(marks=(3,)).fingerprint != tiny.fingerprint == tiny.with_options(marks=()).fingerprint


def test_marked_steps_are_validated_and_their_averaged_weights_kept(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path
):
    uninterrupted = trained(tiny, synthetic_data, tmp_path / "plain")
    marked = tiny.with_options(marks=(1, 8, 10))
    folder = trained(marked, synthetic_data, tmp_path)
    plain = {line["step"]: line for line in history(uninterrupted)}
    lines = {line["step"]: line for line in history(folder)}
    assert list(lines) == [1, 4, 8, 10, 12]
    assert all(lines[step]["score"] == plain[step]["score"] for step in plain)
    assert lines[8] == plain[8]
    assert lines[10]["loss"] + lines[12]["loss"] == pytest.approx(2 * plain[12]["loss"])  # two steps each, against four
    assert {path.name for path in folder.glob("step-*")} == {mark(step) for step in (1, 8, 10)}
    for step in (1, 8, 10):
        assert checkpoint(folder, mark(step))["score"] == lines[step]["score"]
        load_best(marked, folder / mark(step))
    resumed = trained(marked, synthetic_data, tmp_path / "again", **stop_after(9))
    trained(marked, synthetic_data, tmp_path / "again")
    assert_same_results(resumed, folder)
    assert bitwise_equal(checkpoint(resumed, mark(10)), checkpoint(folder, mark(10)))
