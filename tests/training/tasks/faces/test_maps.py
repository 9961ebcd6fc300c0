"""Tests of depth maps of simulated faces: the task's tensors, cameras by the seed, and landmarks on the surface of their map."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.contract.face_map import FaceMap
from models.contract.task import check_inputs
from models.skeletons.face import FACE68
from training.tasks.faces.maps import ANY, UPRIGHT, FaceMapBatches, FaceMapData, Poses, drawn
from training.tasks.faces.scanner import CLEAN

TASK = FaceMap()
DATA = FaceMapData(TASK, scanners=(CLEAN,), batch=2, pool=3, validation=2)


@pytest.fixture(scope="module")
def batches(data_folder: Path) -> FaceMapBatches:
    return DATA.load(data_folder)


def test_a_batch_fits_the_task_and_is_a_function_of_seed_and_step(batches: FaceMapBatches):
    inputs, landmarks = batches.training_batch(seed=0, step=3)
    check_inputs(TASK, inputs, "the batch")
    assert landmarks.shape == (2, 68, 3)
    again, _ = batches.training_batch(seed=0, step=3)
    np.testing.assert_array_equal(again["depth"], inputs["depth"])
    assert not np.array_equal(batches.training_batch(seed=0, step=4)[0]["depth"], inputs["depth"])
    second, _ = batches.training_batch(seed=0, step=3, rank=1, ranks=2)
    np.testing.assert_array_equal(second["depth"], inputs["depth"][1:])


def test_landmarks_are_on_the_surface_of_their_map(batches: FaceMapBatches):
    """The nose, the eyes and the mouth face the camera; the jaw is beside what it sees."""
    for step in range(4):
        inputs, landmarks = batches.training_batch(seed=1, step=step)
        at = np.rint(landmarks[:, 27:] / TASK.pitch_m).astype(int) + TASK.size // 2
        depth = np.stack([one[i[:, 1], i[:, 0]] for one, i in zip(inputs["depth"], at, strict=True)])
        assert np.median(np.abs(depth - landmarks[:, 27:, 2])) < 0.004


def test_poses_decide_roll_size_and_tilt(batches: FaceMapBatches):
    (scan,) = batches.scans("test", 1)
    left, right = FACE68.indices(("left_eye_outer", "right_eye_outer"))

    def eyes(poses: Poses, seed: int) -> np.ndarray:
        _, landmarks = drawn(scan, poses, TASK, np.random.default_rng(seed))
        return landmarks[0, left] - landmarks[0, right]

    lengths = [np.linalg.norm(eyes(UPRIGHT, seed)) for seed in range(5)]
    assert np.ptp(lengths) < 1e-9
    upright = [np.degrees(np.arctan2(*eyes(replace(UPRIGHT, tilt=0), seed)[1::-1])) for seed in range(5)]
    assert max(map(abs, upright)) < 10
    rolled = [np.degrees(np.arctan2(*eyes(ANY, seed)[1::-1])) for seed in range(20)]
    assert max(rolled) - min(rolled) > 180
    sizes = [np.linalg.norm(eyes(ANY, seed)) / lengths[0] for seed in range(40)]
    assert 0.8 - 1e-6 <= min(sizes) < 0.9 < 1.1 < max(sizes) <= 1.25 + 1e-6


def test_validation_and_fitting_maps_are_counted(batches: FaceMapBatches):
    assert [kind for kind, _ in batches.validation_batches()] == ["clean", "varied"]
    assert sum(len(landmarks) for _, landmarks in batches.batches_to_fit(100)) == 2 * DATA.pool
    check_inputs(TASK, batches.example()[0], "the example")
    assert batches.trained_on(1000).recordings == DATA.pool
