"""Tests of the real face model, and of simulated scans of it and their batches."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.contract.task import FaceLandmarks, check_inputs
from models.scans.levels import REACH_M
from models.skeletons.face import FACE68, INTEROCULAR
from training.tasks.faces.data import (
    FaceBatches,
    FaceData,
    batch_of,
    draw,
    scans_of,
    turned,
)
from training.tasks.faces.ict import (
    SEEDS,
    FaceModel,
    MalformedModel,
    read_model,
)
from training.tasks.faces.scanner import (
    CLEAN,
    VARIED,
    Scanner,
    scan,
)

TASK = FaceLandmarks(levels=(256, 96, 32))
NOSE = FACE68.joints.index("nose_tip")


@pytest.fixture(scope="module")
def model(data_folder: Path) -> FaceModel:
    return read_model(data_folder / "faces")


@pytest.fixture(scope="module")
def batches(data_folder: Path) -> FaceBatches:
    return FaceData(TASK, batch=3, validation=4).load(data_folder)


# --- the model ---


def test_a_face_has_the_size_of_a_face_in_metres(model: FaceModel):
    right, left = INTEROCULAR
    eyes = []
    for seed in range(50):
        face = model.vertices(model.identity(seed), np.zeros(len(model.expressions)))[model.landmarks]
        eyes.append(np.linalg.norm(face[right] - face[left]))
    assert np.mean(eyes) == pytest.approx(0.0894, abs=0.002)  # as measured on 1000 identities: 89.4 +- 5.0 mm
    assert 0.003 < np.std(eyes) < 0.007


def test_a_vertex_is_the_mean_plus_the_weighted_shapes(model: FaceModel):
    rng = np.random.default_rng(0)
    identity, expression = rng.standard_normal(len(model.identities)), rng.random(len(model.expressions))
    expected = model.mean.astype(float)
    for weight, shape in zip([*identity, *expression], [*model.identities, *model.expressions], strict=True):
        expected = expected + weight * shape.reshape(-1, 3)
    assert np.abs(model.vertices(identity, expression) - expected).max() < 1e-6


def test_right_is_the_subjects_right_and_the_nose_is_in_front(model: FaceModel):
    face = model.mean[model.landmarks]
    assert face[INTEROCULAR[0], 0] < 0 < face[INTEROCULAR[1], 0]
    assert face[:, 2].argmax() == NOSE
    assert face[FACE68.joints.index("chin"), 1] < face[NOSE, 1]


def test_no_identity_is_in_two_splits():
    seen: set[int] = set()
    for seeds in SEEDS.values():
        assert not seen & {seeds.start, seeds.stop - 1}
        seen |= {seeds.start, seeds.stop - 1}
    starts = sorted((seeds.start, seeds.stop) for seeds in SEEDS.values())
    assert all(stop <= start for (_, stop), (start, _) in pairwise(starts))
    assert starts[-1][1] <= 2_000_000  # from there on seeds are reserved


def test_expressions_are_weights_between_0_and_1(model: FaceModel):
    rng = np.random.default_rng(0)
    drawn = np.stack([model.expression(rng) for _ in range(400)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert 0.1 < (drawn == 0).all(axis=1).mean() < 0.35
    names = model.expression_names
    close, opened = drawn[:, names.index("mouthClose")], drawn[:, names.index("jawOpen")]
    assert (close[opened == 0] == 0).all()


def test_a_folder_without_the_model_or_with_another_file_is_refused(tmp_path: Path):
    with pytest.raises(MalformedModel, match="no file"):
        read_model(tmp_path)
    (tmp_path / "ict_facekit").mkdir()
    np.savez(tmp_path / "ict_facekit" / "ict_facekit_light.npz", mean=np.zeros((4, 3)))
    with pytest.raises(MalformedModel, match="missing: id_basis"):
        read_model(tmp_path)


# --- scans ---


def mean_face(model: FaceModel) -> np.ndarray:
    return model.vertices(np.zeros(len(model.identities)), np.zeros(len(model.expressions)))


def test_a_clean_scan_is_the_front_with_its_landmarks_on_it(model: FaceModel):
    points, landmarks = scan(model, mean_face(model), CLEAN, np.random.default_rng(0))
    assert points.shape == (8192, 3)
    nearest = np.linalg.norm(points[:, None] - landmarks[None, 17:], axis=2).min(axis=0)
    assert nearest.max() < 0.006  # points are some 3 mm apart
    assert points[:, 2].min() > landmarks[NOSE, 2] - 0.15


ONCE = {
    name: replace(Scanner(points=(3000, 3000)), **{name: 1.0})
    for name in ("cut", "view", "density", "holes", "hair", "shoulders", "strays", "mouth")
}


@pytest.mark.parametrize("how", ONCE.values(), ids=ONCE)
def test_each_kind_of_damage_changes_a_scan_and_leaves_its_landmarks(model: FaceModel, how: Scanner):
    vertices = mean_face(model)
    for seed in range(8):
        plain, where = scan(model, vertices, Scanner(points=(3000, 3000)), np.random.default_rng(seed))
        damaged, landmarks = scan(model, vertices, how, np.random.default_rng(seed))
        assert np.isfinite(damaged).all()
        assert np.allclose(landmarks, where)
        if damaged.shape != plain.shape or not np.allclose(damaged, plain):
            return
    pytest.fail("nothing changes")


def test_bends_and_swellings_move_the_landmarks_too(model: FaceModel):
    vertices = mean_face(model)
    rng = np.random.default_rng(3)
    points, landmarks = scan(model, vertices, Scanner(warp=0.01, bumps=0.01), rng)
    moved = np.linalg.norm(landmarks - vertices[model.landmarks], axis=1)
    assert moved.max() > 0.0005
    nearest = np.linalg.norm(points[:, None] - landmarks[None, 27:60], axis=2).min(axis=0)
    assert nearest.max() < 0.006


def test_the_region_around_the_nose_is_within_reach_of_the_second_pass_of_the_search(model: FaceModel):
    how = Scanner(regions=(0, 0, 0, 1), shoulders=1.0)
    for seed in range(4):
        points, landmarks = scan(model, mean_face(model), how, np.random.default_rng(seed))
        assert np.linalg.norm(points - landmarks[NOSE], axis=1).max() < REACH_M + 0.04


def test_a_view_from_one_side_lacks_the_other_side(model: FaceModel):
    missing = []
    for seed in range(10):
        points, landmarks = scan(model, mean_face(model), Scanner(view=1.0), np.random.default_rng(seed))
        missing.append((np.linalg.norm(points[:, None] - landmarks[None, :17], axis=2).min(axis=0) > 0.01).mean())
    assert max(missing) > 0.15
    assert min(missing) < 0.15


# --- batches ---


def test_a_batch_fits_the_task_and_is_a_function_of_seed_and_step(batches: FaceBatches):
    inputs, landmarks = batches.training_batch(seed=0, step=5)
    check_inputs(TASK, inputs, "a batch")
    assert landmarks.shape == (3, 68, 3)
    again, _ = batches.training_batch(seed=0, step=5)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    for other in (batches.training_batch(seed=1, step=5)[0], batches.training_batch(seed=0, step=6)[0]):
        assert not np.array_equal(inputs["points"], other["points"])


def test_every_rank_gets_its_own_part_of_a_batch(batches: FaceBatches):
    batch, _ = batches.training_batch(seed=0, step=2)
    parts = [batches.training_batch(seed=0, step=2, rank=rank, ranks=2)[0]["points"] for rank in range(2)]
    assert np.array_equal(batch["points"][0::2], parts[0])
    assert np.array_equal(batch["points"][1::2], parts[1])


def test_landmarks_have_the_same_centre_as_the_points(batches: FaceBatches, model: FaceModel):
    one = draw(model, "test", CLEAN, np.random.default_rng(0), fewest=256)
    inputs, landmarks = batch_of([one], TASK)
    distance = np.linalg.norm(one.landmarks[NOSE] - one.points, axis=1).min()
    assert np.linalg.norm(landmarks[0, NOSE] - inputs["points"][0], axis=1).min() >= distance - 1e-6
    assert np.abs(inputs["points"]).max() < 0.2


def test_rotation_of_a_scan_preserves_its_distances(model: FaceModel):
    one = draw(model, "train", VARIED, np.random.default_rng(0), fewest=256)
    other = turned(one, np.random.default_rng(1))
    for before, after in ((one.points, other.points), (one.landmarks, other.landmarks)):
        assert np.allclose(np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1))
    assert not np.allclose(one.points, other.points)
    assert np.allclose(
        np.linalg.norm(one.points[:50] - one.landmarks[0], axis=1),
        np.linalg.norm(other.points[:50] - other.landmarks[0], axis=1),
    )


def test_the_scans_for_measurements_are_always_the_same(model: FaceModel):
    first, again = (scans_of(model, "test", "varied", 2, TASK) for _ in range(2))
    assert all(np.array_equal(a.points, b.points) for a, b in zip(first, again, strict=True))
    other = scans_of(model, "validation", "varied", 2, TASK)
    assert not np.array_equal(first[0].points[:50], other[0].points[:50])


def test_validation_batches_name_their_kind(batches: FaceBatches):
    kinds = [(kind, len(landmarks)) for kind, (_, landmarks) in batches.validation_batches()]
    assert kinds == [("clean", 3), ("clean", 1), ("varied", 3), ("varied", 1)]


def test_a_half_face_lacks_one_side_and_other_scans_draw_as_before(model: FaceModel):
    vertices = model.vertices(model.identity(3), np.zeros(len(model.expressions)))
    whole, landmarks = scan(model, vertices, CLEAN, np.random.default_rng(0))
    half, same = scan(model, vertices, replace(CLEAN, half=1.0), np.random.default_rng(0))
    assert np.array_equal(same, landmarks)
    shares = []
    for cloud in (whole, half):
        beside = cloud[:, 0] - landmarks[NOSE, 0]
        shares.append(min((beside > 0.045).mean(), (beside < -0.045).mean()))
    assert shares[0] > 0.1
    assert shares[1] < 0.5 * shares[0], "expected little of one cheek"
    assert 0.2 < len(half) / len(whole) < 0.8
    assert len(whole) == CLEAN.points[0]
