"""Tests of reports of face landmarkers: their rows and files, and the median face of each source."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.contract.task import FaceLandmarks
from models.scans.levels import Face
from training.tasks.faces.report import FoundFace, Report, median_face, row, table

TASK = FaceLandmarks(levels=(256, 96, 32), neighbours=8)
TRUE = np.random.default_rng(0).normal(size=(68, 3))


def face_off_by(mm: float, confidence: float = 1.0) -> FoundFace:
    """Return a face whose landmarks are all off by `mm` along x."""
    landmarks = TRUE + np.array([mm / 1000, 0, 0])
    face = Face(landmarks, np.full(68, confidence, np.float32), np.ones((68, 4)), np.arange(4), 1)
    return FoundFace(str(mm), TRUE, TRUE, face)


def test_the_median_face_has_the_median_error():
    assert median_face([face_off_by(mm) for mm in (5, 1, 3)]).name == "3"


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path):
    rows = [row("made up", [face_off_by(0)], TASK)]
    for report in (Report(rows), Report(rows, {"none": [[0.5]]})):
        report.write(tmp_path / "report.json")
        assert Report.read(tmp_path / "report.json") == report


def test_a_row_has_the_scores_of_every_face_of_its_source():
    perfect = row("made up", [face_off_by(0)], TASK)
    assert (perfect.scores.mean_mm, perfect.calibration_error) == (0, 0)
    mixed = row("made up", [face_off_by(2), face_off_by(4), face_off_by(4, 0.0)], TASK)
    assert mixed.people == 2  # two of the faces have one name
    assert np.isclose(mixed.scores.mean_mm, 10 / 3)


def test_a_table_and_the_bundles_measurements_state_the_same_figures():
    report = Report([row("made up", [face_off_by(2), face_off_by(4)], TASK)])
    cells = [cell.strip() for cell in table({"mine": report}).splitlines()[2].split("|")[1:-1]]
    assert cells[:4] == ["made up", "2", "mine", "3.00"]
    mean, inner, swapped = report.measurements()
    assert (mean.value, mean.unit, mean.windows, mean.recordings) == (3.0, "mm", 2, 2)
    assert f"{inner.value:.2f}" == cells[5]
    assert f"{swapped.value:.2f} %" == cells[10]


def test_a_card_states_the_floor_of_a_source_beside_the_network():
    report, floor = (Report([row("made up", [face_off_by(mm)], TASK)]) for mm in (2, 5))
    mean, inner, swapped = report.measurements("mean face", floor)
    assert (mean.baseline, mean.baseline_value, inner.baseline_value, swapped.baseline_value) == ("mean face", 5, 5, 0)
    other = Report([row("elsewhere", [face_off_by(1)], TASK)])
    assert other.measurements("mean face", floor) == other.measurements()


def test_a_table_leaves_out_the_confidence_of_a_method_without_one():
    without = replace(row("made up", [face_off_by(2)], TASK), calibration_error=None)
    assert table({"floor": Report([without])}).splitlines()[2].endswith("| - |")
