"""Tests of the floor of face landmarkers: the mean face laid onto a scan."""

from pathlib import Path

import numpy as np
import pytest

from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from training.tasks.faces.floor import MeanFace, floor_of, measured
from training.tasks.faces.ict import read_model
from training.tasks.faces.report import Subject
from training.tasks.faces.scanner import CLEAN, scan


@pytest.fixture(scope="module")
def mean(data_folder: Path) -> MeanFace:
    return MeanFace.of(data_folder / "faces")


def test_the_mean_face_finds_itself_in_any_pose_and_its_landmarks_turn_with_it(data_folder: Path, mean: MeanFace):
    model = read_model(data_folder / "faces")
    points, true = scan(model, model.mean, CLEAN, np.random.default_rng(1))
    turn, shift = random_rotation(np.random.default_rng(2)), np.array([3.0, -1.0, 0.5])
    report = measured(mean, [Subject("mean", "mean", points @ turn.T + shift, true @ turn.T + shift)])
    assert report.rows[0].scores.mean_mm < 2.5
    assert report.rows[0].calibration_error is None


def test_landmarks_of_the_mean_face_lie_on_the_scan(data_folder: Path, mean: MeanFace):
    model = read_model(data_folder / "faces")
    points, _ = scan(model, model.mean, CLEAN, np.random.default_rng(1))
    found = mean.find(points)
    assert np.linalg.norm(found[:, None] - points[None], axis=2).min(axis=1).max() == 0


def test_there_is_no_floor_without_a_face_model(tmp_path: Path):
    assert floor_of(tmp_path, FaceLandmarks()) is None
