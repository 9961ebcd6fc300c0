"""Tests of FaceScape's reader: meshes, landmarks, people and splits, in small files of the published format."""

import logging
from pathlib import Path

import numpy as np
import pytest
from meshes import face_of, write_obj

from models.scans.sampling import sample_surface
from training.data.splits import SPLITS
from training.tasks.faces.facescape import (
    EXPRESSIONS,
    TOPOLOGIES,
    MalformedRelease,
    MeshFile,
    UnknownChoice,
    find_meshes,
    landmark_indices,
    publishable_subjects,
    read_facescape,
    read_mesh,
    split_of,
)

V10, V16 = TOPOLOGIES


def touch(root: Path, *subjects: int, expressions=("neutral", "smile"), under: str = "") -> Path:
    """Create empty meshes, for functions that do not open them."""
    for subject in subjects:
        for name in expressions:
            file = root / under / str(subject) / "models_reg" / f"{EXPRESSIONS.index(name) + 1}_{name}.obj"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root


def listed(root: Path, split: str | None = None, expressions=("neutral", "smile"), **options) -> list[tuple[int, str]]:
    return [(mesh.subject, mesh.expression) for mesh in find_meshes(root, split, expressions=expressions, **options)]


# --- meshes ---


@pytest.mark.parametrize("vertices", TOPOLOGIES)
def test_a_mesh_is_read_in_the_files_order_in_metres_with_the_landmarks_of_its_topology(tmp_path, vertices):
    points, quads = face_of(vertices)
    write_obj(tmp_path / "facescape_trainset_001_100" / "7" / "models_reg" / "2_smile.obj", points, quads)
    (mesh,) = read_facescape(tmp_path, expressions=["smile"])
    assert (mesh.subject, mesh.expression) == (7, "smile")
    np.testing.assert_allclose(1000 * mesh.points, points, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(mesh.triangles[0::2], quads[:, [0, 1, 2]])
    np.testing.assert_array_equal(mesh.triangles[1::2], quads[:, [0, 2, 3]])
    ear, nose = {V10: (23404, 1870), V16: (23370, 1870)}[vertices]
    np.testing.assert_allclose(1000 * mesh.landmarks[[0, 29]], points[[ear, nose]], rtol=0, atol=1e-9)
    assert mesh.landmarks.shape == (68, 3)
    assert sample_surface(mesh.points, mesh.triangles, 100).shape == (100, 3)


def test_the_landmarks_are_68_different_vertices_of_their_topology(tmp_path):
    indices = landmark_indices(tmp_path)
    assert set(indices) == {26_317, 26_278}
    for vertices, index in indices.items():
        assert len(set(index.tolist())) == 68
        assert index.max() < vertices
    assert not np.array_equal(indices[V10], indices[V16])


@pytest.mark.parametrize("at", ["", "toolkit/predef"])
def test_the_toolkits_own_landmarks_take_precedence_over_the_built_in_ones(tmp_path, at):
    (tmp_path / at).mkdir(parents=True, exist_ok=True)
    np.savez(tmp_path / at / "landmark_indices.npz", v10=np.arange(68), v16=np.arange(68) + 5)
    indices = landmark_indices(tmp_path)
    assert indices[V10].tolist() == list(range(68))
    assert indices[V16].tolist() == list(range(5, 73))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"v10": np.arange(68)}, r"expected v16 with 68 vertices below 26278"),
        ({"v10": np.arange(67), "v16": np.arange(68)}, r"expected v10.*got int64 \(67,\)"),
        ({"v10": np.arange(68) + V10 - 67, "v16": np.arange(68)}, "expected v10 with 68 vertices below 26317"),
        ({"v10": np.arange(68.0), "v16": np.arange(68)}, "got float64"),
    ],
)
def test_a_malformed_list_of_the_toolkit_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "landmark_indices.npz", **arrays)
    with pytest.raises(MalformedRelease, match=message):
        landmark_indices(tmp_path)


def test_a_mesh_of_another_topology_truncated_or_missing_is_refused_by_name(tmp_path):
    file = MeshFile(1, "neutral", tmp_path / "1_neutral.obj")
    indices = landmark_indices(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"1_neutral\.obj"):
        read_mesh(file, indices)
    write_obj(file.path, *face_of(4000))
    with pytest.raises(MalformedRelease, match=r"1_neutral\.obj.*26317 \(v10\) or 26278 \(v16\) vertices.*got 4000"):
        read_mesh(file, indices)
    for content, message in (
        ("", "empty"),
        ("v 1 2", "v x y z"),
        ("v 1 2 3\nv 4 5\n", "v x y z"),
        ("v a b c\n", "numbers"),
    ):
        file.path.write_text(content)
        with pytest.raises(MalformedRelease, match=rf"1_neutral\.obj: .*{message}"):
            read_mesh(file, indices)


# --- people and expressions ---


def test_meshes_are_listed_under_the_root_and_the_archives_folders_without_being_opened(tmp_path):
    touch(touch(tmp_path, 12), 101, 102, under="facescape_trainset_101_200")
    (tmp_path / "12" / "dpmap").mkdir()
    (tmp_path / "toolkit" / "models_reg").mkdir(parents=True)
    assert listed(tmp_path) == [(s, e) for s in (12, 101, 102) for e in ("neutral", "smile")]
    assert listed(tmp_path, expressions=("smile",)) == [(12, "smile"), (101, "smile"), (102, "smile")]
    assert next(iter(find_meshes(tmp_path, expressions=["smile"]))).path.name == "2_smile.obj"


def test_all_twenty_expressions_are_numbered_as_published(tmp_path):
    touch(tmp_path, 3, expressions=EXPRESSIONS)
    names = [mesh.path.stem for mesh in find_meshes(tmp_path)]
    assert len(names) == 20
    assert {"1_neutral", "12_lip_puckerer", "20_brow_lower"} <= set(names)


def test_meshes_are_read_one_by_one(tmp_path):
    points, quads = face_of(V10)
    write_obj(touch(tmp_path, 1, 2, expressions=("neutral",)) / "1" / "models_reg" / "1_neutral.obj", points, quads)
    meshes = read_facescape(tmp_path, expressions=["neutral"])
    assert next(meshes).subject == 1
    with pytest.raises(MalformedRelease, match="empty"):  # the second mesh is read only now
        next(meshes)


def test_missing_meshes_are_named_or_left_out(tmp_path, caplog):
    touch(touch(tmp_path, 1, 2), 3, expressions=("neutral",))
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of 6 meshes: 3/models_reg/2_smile\.obj"):
        listed(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert (3, "smile") not in listed(tmp_path, skip_missing=True)
    assert "2_smile.obj" in caplog.text


def test_people_whom_the_info_list_marks_as_incomplete_are_left_out(tmp_path, caplog):
    touch(tmp_path, 1, 2, 3, 4, 5)
    with caplog.at_level(logging.WARNING):
        assert len(listed(tmp_path)) == 10
    assert "info_list_v2.txt" in caplog.text
    (tmp_path / "info_list_v2.txt").write_text(
        "1 m 24 1 1 1 1 1\n2 f - 0 1101\n3 - - -\n4 f 31 01111\n\n5 m 60 [1+1111]\n"
    )
    assert {subject for subject, _ in listed(tmp_path)} == {1, 3, 5}


@pytest.mark.parametrize("line", ["1 m", "one m 24 11111", "1 m 24 yes"])
def test_a_malformed_info_list_is_refused(tmp_path, line):
    (touch(tmp_path, 1) / "info_list_v2.txt").write_text(f"3 f 20 11111\n{line}\n")
    with pytest.raises(MalformedRelease, match=r"info_list_v2\.txt, line 2: expected index, gender, age.*got"):
        listed(tmp_path)


def test_publishable_keeps_only_the_people_whose_portraits_may_be_shown(tmp_path):
    touch(tmp_path, 1, 2, 3)
    with pytest.raises(FileNotFoundError, match="publishable_list_v1"):
        listed(tmp_path, publishable=True)
    (tmp_path / "publishable_list_v1.txt").write_text("2, 3, 212\n")
    assert publishable_subjects(tmp_path) == {2, 3, 212}
    assert {subject for subject, _ in listed(tmp_path, publishable=True)} == {2, 3}
    (tmp_path / "publishable_list_v1.txt").write_text("<html>")
    with pytest.raises(MalformedRelease, match="got '<html>'"):
        publishable_subjects(tmp_path)


def test_no_person_is_in_two_splits_and_splits_do_not_depend_on_the_people_present(tmp_path):
    everyone = range(1, 848)
    assert [sum(split_of(s) == split for s in everyone) for split in SPLITS] == [682, 75, 90]
    touch(tmp_path, *range(1, 41))
    meshes = [set(listed(tmp_path, split)) for split in SPLITS]
    assert set().union(*meshes) == set(listed(tmp_path))
    people = [{subject for subject, _ in split} for split in meshes]
    assert sum(map(len, people)) == len(set().union(*people)) == 40
    assert all(len(split) == 2 * len(names) for split, names in zip(meshes, people, strict=True))
    touch(tmp_path, 500)
    assert all(split <= set(listed(tmp_path, name)) for split, name in zip(meshes, SPLITS, strict=True))


def test_an_unknown_split_expression_or_folder_is_refused_with_those_that_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="no <id>/models_reg in"):
        find_meshes(tmp_path)
    touch(tmp_path, 1)
    with pytest.raises(UnknownChoice, match="no split 'dev'; it has train, validation, test"):
        find_meshes(tmp_path, "dev")
    with pytest.raises(UnknownChoice, match="no expression frown; it has neutral, smile"):
        find_meshes(tmp_path, expressions=["frown"])
    touch(tmp_path, 1, under="facescape_trainset_001_100")
    with pytest.raises(MalformedRelease, match="expected one folder of person 1, got"):
        find_meshes(tmp_path)
