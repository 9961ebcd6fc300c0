"""Tests of FaceScape's batches: the task's tensors, each person in one split, and the same batch for the same step."""

from pathlib import Path

import numpy as np
import pytest
import torch
from laws import NARROW

from models.contract.task import FaceLandmarks, check_inputs
from training.data.splits import SPLITS
from training.tasks.faces import facescape_data
from training.tasks.faces.facescape import (
    Mesh,
    UnknownChoice,
    split_of,
)
from training.tasks.faces.facescape_data import (
    CHIN,
    NOSE,
    FaceScapeBatches,
    FaceScapeData,
    front,
)
from training.tasks.faces.losses import LandmarkLoss

TASK = FaceLandmarks(levels=(256, 96, 32))
VERTICES = 26_317
DATA = FaceScapeData(TASK, batch=2, expressions=("neutral",), validation=3)


def sphere() -> tuple[np.ndarray, np.ndarray]:
    """Return VERTICES points of a sphere of 100 mm, and the quads of a grid on it."""
    rows, columns = 146, 180
    polar, around = np.meshgrid(np.linspace(0.1, 3.0, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    grid = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1)
    points = np.concatenate([grid.reshape(-1, 3), np.zeros((VERTICES - rows * columns, 3))])
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1, 1)
    return 100 * points, corner + np.array([0, 1, columns + 1, columns])


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with one person for each split, who are spheres of different sizes."""
    root = tmp_path_factory.mktemp("data")
    points, quads = sphere()
    faces = [f"f {a}/1 {b}/1 {c}/1 {d}/1" for a, b, c, d in quads + 1]
    for number, split in enumerate(SPLITS):
        subject = next(subject for subject in range(1, 848) if split_of(subject) == split)
        path = root / "facescape" / str(subject) / "models_reg" / "1_neutral.obj"
        path.parent.mkdir(parents=True)
        lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in (1 + 0.1 * number) * points]
        path.write_text("\n".join([*lines, *faces]) + "\n")
    return root


@pytest.fixture
def batches(release: Path, monkeypatch: pytest.MonkeyPatch) -> FaceScapeBatches:
    monkeypatch.setattr(facescape_data, "BEHIND_M", 1.0)  # a sphere has no front
    monkeypatch.setattr(facescape_data, "BELOW_M", 1.0)
    return DATA.load(release)


def test_a_batch_fits_the_task_and_is_a_function_of_seed_and_step(batches: FaceScapeBatches):
    inputs, landmarks = batches.training_batch(seed=0, step=3)
    check_inputs(TASK, inputs, "a batch")
    assert landmarks.shape == (2, 68, 3)
    again, _ = batches.training_batch(seed=0, step=3)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    assert not np.array_equal(batches.training_batch(seed=0, step=4)[0]["points"], inputs["points"])
    second, _ = batches.training_batch(seed=0, step=3, rank=1, ranks=2)
    assert np.array_equal(second["points"], inputs["points"][1:])


def test_no_person_is_in_two_splits(batches: FaceScapeBatches):
    sizes = {split: np.linalg.norm(batches.scans(split, 1)[0].landmarks, axis=1).mean() for split in SPLITS}
    assert sizes["validation"] / sizes["train"] == pytest.approx(1.1, abs=0.01)
    assert sizes["test"] / sizes["train"] == pytest.approx(1.2, abs=0.01)
    assert [source for source, _ in batches.validation_batches()] == ["facescape"]  # fewer meshes than `validation`
    assert batches.trained_on(10).recordings == 1
    assert "non-commercial" in batches.trained_on(10).licence


def test_a_network_trains_on_a_batch(batches: FaceScapeBatches):
    network = NARROW.build(TASK)
    inputs, landmarks = batches.training_batch(seed=0, step=0)
    tensors = [torch.from_numpy(x) for x in inputs.values()]
    loss = LandmarkLoss(TASK.sigma_m)(network(*tensors), torch.from_numpy(landmarks), tensors[0])
    loss.backward()
    assert loss.isfinite()


def test_the_front_of_a_mesh_excludes_the_ears_and_the_neck():
    points, quads = sphere()
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    landmarks = np.zeros((68, 3))
    landmarks[NOSE], landmarks[CHIN] = [0, 0, 0.1], [0, 0, 0]
    one = front(Mesh(1, "neutral", points / 1000, triangles, landmarks), np.random.default_rng(0))
    assert one.points[:, 2].min() > 0.1 - facescape_data.BEHIND_M - 0.005
    assert one.points[:, 1].min() > -facescape_data.BELOW_M - 0.005
    assert len(one.points) == facescape_data.POINTS


def test_a_split_without_meshes_is_refused_by_name(tmp_path: Path):
    subject = next(subject for subject in range(1, 848) if split_of(subject) == "train")
    path = tmp_path / "facescape" / str(subject) / "models_reg" / "1_neutral.obj"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(UnknownChoice, match="no meshes of these expressions in the split validation, test"):
        DATA.load(tmp_path)
