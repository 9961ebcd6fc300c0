"""Tests of the tiers of poses, and of the alignment that reverses a random pose."""

import time
from pathlib import Path

import numpy as np
import pytest
from clouds import bumpy_cloud
from scipy.spatial.transform import Rotation

from models.contract.symmetry import random_rotation
from models.scans.cloud import Degenerate, NotFinite
from training.tasks.faces.alignment import (
    SHIFT_M,
    TIERS,
    Rigid,
    Template,
    align,
    pose,
    template_of,
)
from training.tasks.faces.ict import SEEDS, FaceModel, read_model
from training.tasks.faces.real_faces import real_faces
from training.tasks.faces.scanner import (
    CLEAN,
    VARIED,
    Scanner,
    scan,
)

PEOPLE = 10


@pytest.fixture(scope="module")
def model(data_folder: Path) -> FaceModel:
    return read_model(data_folder / "faces")


@pytest.fixture(scope="module")
def template(model: FaceModel) -> Template:
    """Return the front of the mean face."""
    mean = model.vertices(np.zeros(len(model.identities)), np.zeros(len(model.expressions)))
    return template_of(scan(model, mean, CLEAN, np.random.default_rng(0))[0])


def person(model: FaceModel, number: int, how: Scanner = CLEAN) -> tuple[np.ndarray, np.ndarray]:
    """Return an upright scan of a person with one of the 20 expressions, and its landmarks."""
    expression = list(model.presets.values())[number % len(model.presets)]
    vertices = model.vertices(model.identity(SEEDS["validation"][number]), expression)
    return scan(model, vertices, how, np.random.default_rng(number))


def degrees(rotation: np.ndarray) -> float:
    return float(np.degrees(Rotation.from_matrix(rotation).magnitude()))


def rigid(seed: int) -> Rigid:
    rng = np.random.default_rng(seed)
    return Rigid(random_rotation(rng), rng.uniform(-10, 10, 3))


def test_rigid_motions_rotate_then_translate_and_can_be_composed():
    first, second, points = rigid(0), rigid(1), bumpy_cloud(20)
    np.testing.assert_allclose(first(points)[3], first.rotation @ points[3] + first.translation)
    np.testing.assert_allclose(second.after(first)(points), second(first(points)))


def test_a_tier_rotates_and_translates_as_its_name_states(template: Template):
    cloud = bumpy_cloud(300)
    posed = {name: pose(tier, cloud, template, seed=4) for name, tier in TIERS.items() if not tier.aligned}
    assert list(posed) == ["none", "r", "t", "rt"]
    np.testing.assert_array_equal(posed["none"](cloud), cloud)
    for name in ("none", "t"):
        np.testing.assert_array_equal(posed[name].rotation, np.eye(3))
    for name in ("none", "r"):
        np.testing.assert_array_equal(posed[name].translation, np.zeros(3))
    np.testing.assert_array_equal(posed["rt"].rotation, posed["r"].rotation)
    np.testing.assert_array_equal(posed["rt"].translation, posed["t"].translation)
    assert len(set(posed["t"].translation.tolist())) == 1  # one number for all axes
    other = pose(TIERS["rt"], cloud, template, seed=5)
    assert not np.allclose(other.rotation, posed["rt"].rotation)


def test_rotations_are_proper_and_uniform_and_translations_fill_their_range(template: Template):
    poses = [pose(TIERS["rt"], bumpy_cloud(10), template, seed) for seed in range(300)]
    np.testing.assert_allclose([np.linalg.det(p.rotation) for p in poses], 1)
    turns = [degrees(p.rotation) for p in poses]
    assert np.mean(turns) == pytest.approx(126.5, abs=6)  # of the uniform distribution over SO(3)
    shifts = np.array([p.translation[0] for p in poses])
    assert 0 <= shifts.min() < 0.3 < SHIFT_M - 0.3 < shifts.max() < SHIFT_M


def test_a_moved_template_is_aligned_exactly(template: Template):
    for seed in range(3):
        motion = rigid(seed)
        motion_back = align(motion(template.points), template).after(motion)
        assert degrees(motion_back.rotation) < 1e-4
        assert np.abs(motion_back(template.points) - template.points).max() < 1e-7


def test_alignment_of_a_mirrored_face_is_a_proper_rotation(template: Template, model: FaceModel):
    motion_back = align(person(model, 0)[0] * [-1, 1, 1], template)
    assert np.linalg.det(motion_back.rotation) == pytest.approx(1)


def test_the_aligned_scan_does_not_depend_on_the_pose_of_the_scan(template: Template, model: FaceModel):
    points, landmarks = person(model, 3)
    straight = align(points, template)(landmarks)
    for name in ("icp r", "icp t", "icp rt"):
        motion_back = pose(TIERS[name], points, template, seed=11)
        assert np.abs(motion_back(landmarks) - straight).max() < 1e-6


def test_every_rotation_is_within_45_degrees_of_a_start_and_some_starts_map_axes_to_axes():
    starts = Rotation.create_group("I")
    every = Rotation.random(20_000, rng=np.random.default_rng(0)).as_quat()
    nearest = np.abs(every @ starts.as_quat().T).max(axis=1)
    assert np.degrees(2 * np.arccos(nearest.min())) < 45
    diagonal = [m for m in starts.as_matrix() if np.allclose(np.abs(m), np.eye(3))]
    assert len(diagonal) == 4


@pytest.mark.parametrize(("how", "median", "wrong"), [(CLEAN, 4, 0), (VARIED, 15, 0.4)], ids=["clean", "varied"])
def test_alignment_reverses_a_random_pose_of_other_people_without_landmarks(template, model, how, median, wrong):
    angles, distances, seconds = [], [], []
    for number in range(PEOPLE):
        points, landmarks = person(model, number, how)
        posed = pose(TIERS["rt"], points, template, seed=number)
        began = time.process_time()
        motion_back = align(posed(points), template)
        seconds.append(time.process_time() - began)
        remaining = motion_back.after(posed)
        angles.append(degrees(remaining.rotation))
        distances.append(1000 * np.linalg.norm(remaining(landmarks) - landmarks, axis=1).mean())
    print(
        f"\n{PEOPLE} people: turned by {np.median(angles):.1f} degrees (95 %: {np.percentile(angles, 95):.1f}, most: "
        f"{max(angles):.1f}), landmarks moved by {np.median(distances):.1f} mm (95 %: {np.percentile(distances, 95):.1f}); "
        f"{1000 * np.median(seconds):.0f} ms a scan"
    )
    assert np.median(angles) < median
    assert np.mean(np.array(angles) > 30) <= wrong


def test_real_faces_are_aligned_and_a_bust_is_not(template: Template, data_folder: Path):
    """The centre of a bust is too far from that of a face."""
    errors: dict[str, list[float]] = {}
    for face in real_faces(data_folder / "faces"):
        posed = rigid(7)
        remaining = align(posed(face.points), template).after(posed)
        errors.setdefault(face.source, []).append(degrees(remaining.rotation))  # they are stored roughly upright
    assert max(errors["facefuns"] + errors["humface"]) < 25
    assert min(errors["lee_perry_smith"]) > 45


def test_a_cloud_that_is_degenerate_or_not_finite_is_refused(template: Template):
    with pytest.raises(Degenerate, match="got 2"):
        align(np.zeros((2, 3)), template)
    with pytest.raises(NotFinite):
        template_of(np.full((10, 3), np.nan))
