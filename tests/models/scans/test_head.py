"""Tests of a head's pose and the distances on a face."""

from pathlib import Path

import numpy as np
import pytest
from faces import synthetic_face
from scipy.spatial import Delaunay

from models.contract.symmetry import random_rotation
from models.scans.head import (
    DISTANCES,
    distances,
    face_axes,
    head_pose,
    in_head_frame,
    seen_from_behind,
    standard_deviations,
)
from models.scans.sampling import sample_with_normals
from models.skeletons.face import FACE68, FACE_REGIONS


def test_the_axes_of_a_face_point_left_up_and_out_and_rotate_with_it():
    _, landmarks = synthetic_face()
    axes = face_axes(landmarks)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert np.diag(axes).min() > 0.9
    rng = np.random.default_rng(0)
    for _ in range(5):
        turn = random_rotation(rng)
        np.testing.assert_allclose(face_axes(landmarks @ turn.T + [3, -2, 5]), axes @ turn.T, atol=1e-9)


def test_exchanging_left_and_right_keeps_the_up_and_out_axes():
    _, landmarks = synthetic_face()
    np.testing.assert_allclose(face_axes(landmarks[list(FACE68.mirror)])[1:], face_axes(landmarks)[1:], atol=0.1)


@pytest.mark.parametrize("spread", [np.zeros(3), np.array([1.0, 0.0, 0.0])], ids=["one point", "one line"])
def test_degenerate_landmarks_give_the_axes_of_the_scan(spread: np.ndarray):
    np.testing.assert_array_equal(face_axes(np.arange(68)[:, None] * spread), np.eye(3))


def test_real_scans_are_upright(data_folder: Path):
    """The faces of facefuns are scanned upright and frontal, so their axes are within 15 degrees of the scanner's."""
    faces = np.load(data_folder / "faces" / "facefuns_composites" / "facefuns_faces.npz")
    for vertices in faces["vertices"].astype(float) / 1000:
        axes = face_axes(vertices[faces["landmarks68_fitted"]])
        assert np.diag(axes).min() > np.cos(np.radians(15))


def test_the_pose_maps_face_coordinates_to_the_scan_with_the_origin_between_the_eyes():
    _, landmarks = synthetic_face()
    turn = random_rotation(np.random.default_rng(1))
    pose = head_pose(landmarks @ turn.T + [3, -2, 5])
    np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    in_face = (landmarks @ turn.T + [3, -2, 5] - pose[:3, 3]) @ pose[:3, :3]
    at = dict(zip(FACE68.joints, in_face, strict=True))
    assert at["left_eye_outer"][0] > 0.03 > -0.03 > at["right_eye_outer"][0]
    assert at["chin"][1] < -0.05
    assert at["nose_tip"][2] > 0.01
    eyes = [in_face[list(FACE_REGIONS[eye])].mean(axis=0) for eye in ("right_eye", "left_eye")]
    np.testing.assert_allclose(np.mean(eyes, axis=0), 0, atol=1e-12)


def test_distances_do_not_depend_on_the_pose():
    _, landmarks = synthetic_face()
    measured = distances(landmarks, np.full(68, 0.8), 0.003)
    turned = distances(landmarks @ random_rotation(np.random.default_rng(2)).T + 7, np.full(68, 0.8), 0.003)
    assert list(measured) == list(DISTANCES)
    for name, distance in measured.items():
        assert turned[name].value == pytest.approx(distance.value, abs=1e-9)
    at = dict(zip(FACE68.joints, landmarks, strict=True))
    assert measured["nose_width"].value == pytest.approx(np.linalg.norm(at["left_ala"] - at["right_ala"]))
    assert measured["interocular"].value < measured["outer_eye_corners"].value


def test_an_uncertainty_matches_simulated_gaussian_errors():
    """The reference draws errors, counts those within 3 mm, and measures the error of a distance."""
    rng, sigma = np.random.default_rng(0), 0.0015
    first, second = rng.normal(scale=sigma, size=(2, 200_000, 3))
    confidence = (np.linalg.norm(first, axis=1) < 0.003).mean()
    assert standard_deviations(np.array([confidence]), 0.003)[0] == pytest.approx(sigma, rel=0.01)
    ends = np.zeros((68, 3))
    ends[FACE68.joints.index("left_ala"), 0] = 0.035
    lengths = np.linalg.norm(np.array([0.035, 0, 0]) + second - first, axis=1)
    distance = distances(ends, np.full(68, confidence), 0.003)["nose_width"]
    assert distance.uncertainty == pytest.approx(lengths.std(), rel=0.02)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_a_confidence_of_0_or_1_has_a_finite_uncertainty(confidence: float):
    deviation = standard_deviations(np.array([confidence]), 0.003)[0]
    assert 0 < deviation < 0.03


def test_the_head_frame_is_the_inverse_of_the_pose():
    scan, landmarks = synthetic_face()
    pose = head_pose(landmarks @ random_rotation(np.random.default_rng(3)).T + 7)
    moved = scan @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(in_head_frame(moved, pose), scan, atol=1e-12)


@pytest.mark.parametrize("mirror", [1, -1], ids=["as it is", "mirrored"])
@pytest.mark.parametrize("inside", [1, -1], ids=["outside", "inside"])
def test_a_mesh_that_is_mirrored_or_inside_out_is_seen_from_behind_in_any_pose(mirror: int, inside: int):
    scan, landmarks = synthetic_face()
    corners = Delaunay(scan[:, :2]).simplices[:, ::inside]  # counterclockwise as seen from the front
    turn = random_rotation(np.random.default_rng(4)) * np.array([mirror, 1, 1])
    points, normals = sample_with_normals(scan @ turn.T + 2, corners, 2000)
    predicted = landmarks @ turn.T + 2
    if mirror == -1:
        predicted = predicted[list(FACE68.mirror)]  # a network names left and right as it sees them
    assert seen_from_behind(predicted, points, normals) == (mirror * inside < 0)


def test_a_mesh_with_normals_in_both_directions_is_not_seen_from_behind():
    scan, landmarks = synthetic_face()
    corners = Delaunay(scan[:, :2]).simplices
    points, normals = sample_with_normals(scan, np.concatenate([corners, corners[:, ::-1]]), 2000)
    assert not seen_from_behind(landmarks, points, normals)
