"""Tests of the nine real scans: they equal their files, in metres."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from models.scans.files import read_scan
from models.scans.sampling import sample_surface
from models.skeletons.face import FACE68, INTEROCULAR
from training.tasks.faces.real_faces import MalformedFace, RealFace, real_faces

NOSE = FACE68.joints.index("nose_tip")


@pytest.fixture(scope="module")
def faces(data_folder: Path) -> dict[str, RealFace]:
    return {face.name: face for face in real_faces(data_folder / "faces")}


def test_there_are_nine_scans_from_three_sources(faces):
    assert len(faces) == 9
    assert [face.source for face in faces.values()] == [*["facefuns"] * 7, "humface", "lee_perry_smith"]


def test_every_face_has_the_size_of_a_face_in_metres_and_faces_z(faces):
    right, left = INTEROCULAR
    for face in faces.values():
        assert face.points.dtype == np.float64
        assert 0.07 < np.linalg.norm(face.landmarks[right] - face.landmarks[left]) < 0.11
        assert face.landmarks[right, 0] < 0 < face.landmarks[left, 0]
        assert face.landmarks[NOSE, 2] > face.landmarks[[right, left], 2].max()
        assert face.landmarks[right, 1] > face.landmarks[FACE68.joints.index("chin"), 1]


def test_valid_landmarks_are_on_the_scan(faces):
    for face in faces.values():
        surface = sample_surface(face.points, face.triangles, 60_000)
        distances, _ = KDTree(surface).query(face.landmarks[face.valid])
        assert distances.max() < 0.003
        assert face.valid[list(range(27, 60))].mean() > 0.9
        assert face.triangles.max() < len(face.points)


def test_composites_have_the_vertices_of_their_file(faces, data_folder):
    with np.load(data_folder / "faces" / "facefuns_composites" / "facefuns_faces.npz") as arrays:
        for name, vertices in zip(arrays["names"], arrays["vertices"], strict=True):
            face = faces[str(name)]
            np.testing.assert_allclose(1000 * face.points, vertices, rtol=1e-6)
            np.testing.assert_allclose(1000 * face.landmarks, vertices[arrays["landmarks68_fitted"]], rtol=1e-6)
            np.testing.assert_array_equal(face.valid, arrays["landmarks68_valid"])
            assert face.manual is None


def test_scans_and_landmarks_equal_those_of_their_files(faces, data_folder):
    for name in ("humface", "lee_perry_smith"):
        base = data_folder / "faces" / "raw_scans" / name
        scan = read_scan(base.with_suffix(".ply").read_bytes(), ".ply")
        np.testing.assert_allclose(1000 * faces[name].points, scan.points)
        with base.with_name(f"{name}_landmarks68_fitted.csv").open() as text:
            for row in csv.DictReader(text):
                place = int(row["ibug"])
                np.testing.assert_allclose(1000 * faces[name].landmarks[place], [float(row[axis]) for axis in "xyz"])
                assert faces[name].valid[place] == (row["valid"] == "1")


def test_landmarks_placed_by_hand_are_preferred_to_fitted_ones(faces):
    manual = faces["humface"].manual
    assert manual is not None
    assert np.flatnonzero(np.isfinite(manual).all(axis=1)).tolist() == [30, 36, 39, 42, 45, 48, 54]
    np.testing.assert_array_equal(faces["humface"].known, manual)
    distances = 1000 * np.linalg.norm(manual - faces["humface"].landmarks, axis=1)
    assert np.nanmax(distances) < 2.5  # two ways to place a landmark
    assert np.nanmin(distances) > 0.1
    lee = faces["lee_perry_smith"]
    np.testing.assert_array_equal(np.isfinite(lee.known).all(axis=1), lee.valid)
    np.testing.assert_array_equal(lee.known[lee.valid], lee.landmarks[lee.valid])


@pytest.fixture
def copy_of_data(tmp_path: Path, data_folder: Path) -> Path:
    for part in ("facefuns_composites", "raw_scans"):
        shutil.copytree(data_folder / "faces" / part, tmp_path / part)
    return tmp_path


@pytest.mark.parametrize("row", ["99,1,2,3,1", "-1,1,2,3,1", "0,a,2,3,1", "0,1,2"])
def test_a_table_with_a_malformed_row_is_refused(copy_of_data, row):
    (copy_of_data / "raw_scans" / "humface_landmarks68_fitted.csv").write_text(f"ibug,x,y,z,valid\n{row}\n")
    with pytest.raises(MalformedFace, match=r"fitted\.csv, line 2: expected ibug from 0 to 67, x, y, z, got"):
        real_faces(copy_of_data)


def test_composites_of_another_format_are_refused(copy_of_data):
    path = copy_of_data / "facefuns_composites" / "facefuns_faces.npz"
    with np.load(path) as arrays:
        content = {key: arrays[key] for key in arrays}
    np.savez(path, allow_pickle=False, **content | {"landmarks68_valid": np.ones(7, bool)})
    with pytest.raises(MalformedFace, match=r"68 landmarks and flags, got .*\(68,\) and \(7,\)"):
        real_faces(copy_of_data)
    del content["names"]
    np.savez(path, allow_pickle=False, **content)
    with pytest.raises(MalformedFace, match="missing: names"):
        real_faces(copy_of_data)


def test_a_missing_scan_is_named(copy_of_data):
    (copy_of_data / "raw_scans" / "humface.ply").unlink()
    with pytest.raises(FileNotFoundError, match=r"humface\.ply"):
        real_faces(copy_of_data)
