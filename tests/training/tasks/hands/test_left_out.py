"""Tests of training on all sources but one: the source is not trained on, and is the only one that is measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.contract.task import HandForecast
from training.engine.folders import folder_of
from training.engine.run import Run
from training.tasks.hands.data import HandData
from training.tasks.hands.left_out import FILE, left_out, table, without
from training.tasks.hands.report import BASELINES, Report

HandRun = Run[HandForecast, HandData]


def test_a_run_without_a_source_has_its_name_and_another_fingerprint_in_every_stage(tiny: HandRun):
    fold = without(replace(tiny, start=tiny), "leap")
    assert [stage.data.sources for stage in fold.stages] == [("tzionas",), ("tzionas",)]
    assert fold.name == tiny.name
    assert without(tiny, "leap").fingerprint != tiny.fingerprint
    for run, source in ((tiny, "manipnet"), (without(tiny, "leap"), "tzionas")):
        with pytest.raises(ValueError, match="expected one of several sources of tiny"):
            without(run, source)


@pytest.fixture(scope="module")
def short(tiny: HandRun) -> HandRun:
    return tiny.with_options(steps=2, validate_every=2)


def test_the_source_that_is_left_out_is_measured_beside_baselines(short: HandRun, synthetic_data: Path, tmp_path: Path):
    report = left_out(short, "tzionas", 0, synthetic_data, tmp_path)
    assert {row.source for row in report.rows} == {"tzionas"}
    assert {row.model for row in report.rows} == {*BASELINES, "tiny"}
    assert report.split == "validation"
    path = folder_of(tmp_path, without(short, "tzionas"), 0) / FILE
    assert Report.read(path) == report
    path.write_text(path.read_text().replace('"tzionas"', '"read again"'))
    assert {row.source for row in left_out(short, "tzionas", 0, synthetic_data, tmp_path).rows} == {"read again"}


def test_the_table_has_a_line_for_each_source_and_their_mean_ratio(
    short: HandRun, synthetic_data: Path, tmp_path: Path
):
    lines = table(short, 0, synthetic_data, tmp_path).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0][:4] == ["left out, 6+6@30", "split", "hands", "windows"]
    assert [row[:3] for row in cells[2:]] == [
        ["leap", "validation", "2"],
        ["tzionas", "validation", "1"],
        ["mean", "", ""],
    ]
    ratios = [float(row[4]) / float(row[5].split(" ")[0]) for row in cells[2:4]]
    assert float(cells[4][-1]) == pytest.approx(sum(ratios) / 2, abs=0.01)
    few = table(short, 0, synthetic_data, tmp_path, least=int(cells[3][3]) + 1).splitlines()
    assert len(few) == len(lines) - 1
