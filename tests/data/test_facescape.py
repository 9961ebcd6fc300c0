"""FaceScape as published and as the reference has it, in small files of the same forms."""

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from models.scans.sampling import sample_surface
from training.data.untrusted import UntrustedFile
from training.tasks.faces.facescape import (
    EXPRESSIONS,
    SPLITS,
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
from training.tasks.faces.facescape_reference import SIGMA, MalformedReference, read_reference

V10, V16 = TOPOLOGIES


def face_of(vertices: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vertices in millimetres, as an .obj writes them, and quads between them."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=(vertices, 3)) * 60, 6), np.arange(vertices // 4 * 4).reshape(-1, 4)


def write_obj(path: Path, vertices: np.ndarray, quads: np.ndarray) -> None:
    """As the registered meshes are written: material, vertices, texture and quads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"mtllib {path.name}.mtl", "#"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += ["vt 0.25 0.5", "g head"]
    lines += [f"f {a}/1 {b}/1 {c}/1 {d}/1" for a, b, c, d in quads + 1]
    path.write_text("\n".join(lines) + "\n")


def touch(root: Path, *subjects: int, expressions=("neutral", "smile"), under: str = "") -> Path:
    """Empty meshes, for what does not open them."""
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


def test_the_lists_are_68_different_vertices_of_their_topology(tmp_path):
    indices = landmark_indices(tmp_path)
    assert set(indices) == {26_317, 26_278}
    for vertices, index in indices.items():
        assert len(set(index.tolist())) == 68
        assert index.max() < vertices
    assert not np.array_equal(indices[V10], indices[V16])


@pytest.mark.parametrize("at", ["", "toolkit/predef"])
def test_the_toolkits_own_list_goes_before_ours(tmp_path, at):
    (tmp_path / at).mkdir(parents=True, exist_ok=True)
    np.savez(tmp_path / at / "landmark_indices.npz", v10=np.arange(68), v16=np.arange(68) + 5)
    indices = landmark_indices(tmp_path)
    assert indices[V10].tolist() == list(range(68))
    assert indices[V16].tolist() == list(range(5, 73))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"v10": np.arange(68)}, r"wants v16: 68 vertices out of 26278"),
        ({"v10": np.arange(67), "v16": np.arange(68)}, r"wants v10.*came int64 \(67,\)"),
        ({"v10": np.arange(68) + V10 - 67, "v16": np.arange(68)}, "wants v10: 68 vertices out of 26317"),
        ({"v10": np.arange(68.0), "v16": np.arange(68)}, "came float64"),
    ],
)
def test_a_toolkit_list_that_is_none_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "landmark_indices.npz", **arrays)
    with pytest.raises(MalformedRelease, match=message):
        landmark_indices(tmp_path)


def test_a_mesh_of_another_topology_cut_short_or_gone_is_refused_by_name(tmp_path):
    file = MeshFile(1, "neutral", tmp_path / "1_neutral.obj")
    indices = landmark_indices(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"1_neutral\.obj"):
        read_mesh(file, indices)
    write_obj(file.path, *face_of(4000))
    with pytest.raises(MalformedRelease, match=r"1_neutral\.obj.*26317 \(v10\) or 26278 \(v16\) vertices; it has 4000"):
        read_mesh(file, indices)
    for content, message in (
        ("", "empty"),
        ("v 1 2", "v x y z"),
        ("v 1 2 3\nv 4 5\n", "v line"),
        ("v a b c\n", "numbers"),
    ):
        file.path.write_text(content)
        with pytest.raises(MalformedRelease, match=rf"1_neutral\.obj: .*{message}"):
            read_mesh(file, indices)


# --- who and what is there ---


def test_meshes_are_found_under_the_root_and_under_the_archives_folders_and_not_opened(tmp_path):
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
    with pytest.raises(MalformedRelease, match="empty"):  # the second is looked at when it is asked for
        next(meshes)


def test_missing_meshes_are_named_or_left_out(tmp_path, caplog):
    touch(touch(tmp_path, 1, 2), 3, expressions=("neutral",))
    with pytest.raises(FileNotFoundError, match=r"1 of 6 meshes are not in .*3/models_reg/2_smile\.obj"):
        listed(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert (3, "smile") not in listed(tmp_path, skip_missing=True)
    assert "2_smile.obj" in caplog.text


def test_people_the_info_list_flags_as_incomplete_are_left_out(tmp_path, caplog):
    touch(tmp_path, 1, 2, 3, 4, 5)
    with caplog.at_level(logging.WARNING):
        assert len(listed(tmp_path)) == 10
    assert "info_list_v2.txt" in caplog.text
    (tmp_path / "info_list_v2.txt").write_text(
        "1 m 24 1 1 1 1 1\n2 f - 0 1101\n3 - - -\n4 f 31 01111\n\n5 m 60 [1+1111]\n"
    )
    assert {subject for subject, _ in listed(tmp_path)} == {1, 3, 5}


@pytest.mark.parametrize("line", ["1 m", "one m 24 11111", "1 m 24 yes"])
def test_an_info_list_of_another_form_is_refused(tmp_path, line):
    (touch(tmp_path, 1) / "info_list_v2.txt").write_text(f"3 f 20 11111\n{line}\n")
    with pytest.raises(MalformedRelease, match=r"info_list_v2\.txt, line 2: wanted index, gender, age.*came"):
        listed(tmp_path)


def test_only_the_publishable_are_given_where_that_is_asked_for(tmp_path):
    touch(tmp_path, 1, 2, 3)
    with pytest.raises(FileNotFoundError, match="publishable_list_v1"):
        listed(tmp_path, publishable=True)
    (tmp_path / "publishable_list_v1.txt").write_text("2, 3, 212\n")
    assert publishable_subjects(tmp_path) == {2, 3, 212}
    assert {subject for subject, _ in listed(tmp_path, publishable=True)} == {2, 3}
    (tmp_path / "publishable_list_v1.txt").write_text("<html>")
    with pytest.raises(MalformedRelease, match="it has '<html>'"):
        publishable_subjects(tmp_path)


def test_splits_share_nobody_and_do_not_depend_on_who_is_there(tmp_path):
    everyone = range(1, 848)
    assert [sum(split_of(s) == split for s in everyone) for split in SPLITS] == [682, 75, 90]
    touch(tmp_path, *range(1, 41))
    found = [set(listed(tmp_path, split)) for split in SPLITS]
    assert set().union(*found) == set(listed(tmp_path))
    people = [{subject for subject, _ in split} for split in found]
    assert sum(map(len, people)) == len(set().union(*people)) == 40
    assert all(len(split) == 2 * len(names) for split, names in zip(found, people, strict=True))
    touch(tmp_path, 500)
    assert all(split <= set(listed(tmp_path, name)) for split, name in zip(found, SPLITS, strict=True))


def test_what_is_not_there_is_answered_with_what_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="no <id>/models_reg in"):
        find_meshes(tmp_path)
    touch(tmp_path, 1)
    with pytest.raises(UnknownChoice, match="train, validation, test; there is no 'dev'"):
        find_meshes(tmp_path, "dev")
    with pytest.raises(UnknownChoice, match="no expression frown; there are neutral, smile"):
        find_meshes(tmp_path, expressions=["frown"])
    touch(tmp_path, 1, under="facescape_trainset_001_100")
    with pytest.raises(MalformedRelease, match="person 1 is there twice"):
        find_meshes(tmp_path)


# --- the reference's dictionary ---


def reference(faces: int = 3, count: int = 40, seed: int = 0) -> tuple[dict, np.ndarray, np.ndarray]:
    """The dictionary of some faces, and their points and landmarks in millimetres about the mean point."""
    rng = np.random.default_rng(seed)
    points, landmarks = rng.normal(size=(faces, count, 3)) * 60, rng.normal(size=(faces, 68, 3)) * 60
    middle = points.mean(axis=1, keepdims=True)
    points, landmarks = points - middle, landmarks - middle
    scale = 1 / np.abs(points).max(axis=(1, 2))
    held = {
        "point_list": (points * scale[:, None, None]).astype(np.float32),
        "landmark_list": (landmarks * scale[:, None, None]).astype(np.float32),
        "heatmaps_list": np.zeros((faces, count, 68), np.float32),
        "normal_list": np.zeros((faces, count, 3), np.float32),
        "subject_list": np.array([258 + face for face in range(faces)]),
        "emotion_list": np.array(["1_neutral"] * faces),
        "scale_list": scale,
    }
    return held, points, landmarks


def save(path: Path, value: object, form: str = "numpy") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "pickle":
        path.write_bytes(pickle.dumps(value))
    else:
        np.save(path, np.array(value, dtype=object), allow_pickle=True)
    return path


@pytest.mark.parametrize("form", ["numpy", "pickle"])
@pytest.mark.parametrize("where", ["Train/train_neutral.npy", "train_neutral.npy"])
def test_the_references_faces_come_back_in_metres(tmp_path, form, where):
    held, points, landmarks = reference()
    save(tmp_path / where, held, form)
    faces = read_reference(tmp_path, "train")
    assert [(face.subject, face.expression) for face in faces] == [(s, "neutral") for s in (258, 259, 260)]
    for face, cloud, marks, scale in zip(faces, points, landmarks, held["scale_list"], strict=True):
        np.testing.assert_allclose(1000 * face.points, cloud, atol=1e-4)
        np.testing.assert_allclose(1000 * face.landmarks, marks, atol=1e-4)
        assert face.unit_m == pytest.approx(0.001 / scale)
        assert 0.005 < SIGMA * face.unit_m < 0.05
    with pytest.raises(FileNotFoundError, match=r"no Test/test_neutral\.npy"):
        read_reference(tmp_path, "test")


def test_lists_are_taken_for_arrays_and_text_for_ids(tmp_path):
    held, points, _ = reference()
    held = {key: list(value) for key, value in held.items()}
    held["subject_list"] = ["12", "7", "400"]
    save(tmp_path / "Test" / "test_neutral.npy", held)
    faces = read_reference(tmp_path, "test")
    assert [face.subject for face in faces] == [12, 7, 400]
    np.testing.assert_allclose(1000 * faces[2].points, points[2], atol=1e-4)


class Runs:
    """When unpickled by pickle.load, makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch '{self.file}'",)


@pytest.mark.parametrize("form", ["numpy", "pickle"])
def test_a_dictionary_that_runs_a_command_is_refused_before_it_runs(tmp_path, form):
    held, _, _ = reference()
    held["scale_list"] = Runs(tmp_path / "ran")
    path = save(tmp_path / "Train" / "train_neutral.npy", held, form)
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(UntrustedFile, match="system"):
        read_reference(tmp_path, "train")
    assert not (tmp_path / "ran").exists()
    np.load(path, allow_pickle=True)  # the same file, opened by one who trusts it
    assert (tmp_path / "ran").exists()


def changed(**changes) -> dict:
    held = reference()[0] | changes
    return {key: value for key, value in held.items() if value is not None}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (np.zeros(3), "wants a dictionary of point_list, .*it has a ndarray"),
        (changed(normal_list=None, scale_list=None), "it has no normal_list, scale_list"),
        (changed(landmark_list=np.zeros((3, 51, 3))), r"landmark_list is wanted as \(3, 68, 3\).*came \(3, 51, 3\)"),
        (changed(heatmaps_list=np.zeros((3, 41, 68))), r"heatmaps_list is wanted as \(3, 40, 68\)"),
        (changed(point_list=np.zeros((3, 40))), r"point_list is wanted as \(3, 0, 3\).*came \(3, 40\)"),
        (changed(scale_list=np.array([0.01, 0, 0.01])), "scales are wanted above 0; came 0"),
        (changed(scale_list=np.array(["a", "b", "c"])), "scale_list wants finite numbers"),
        (changed(point_list=np.full((3, 40, 3), np.nan)), "point_list wants finite numbers"),
        (changed(point_list=[np.zeros((40, 3)), np.zeros((41, 3))]), "point_list is no list of equal shapes"),
        (changed(scale_list=1.5), "scale_list is no list of equal shapes"),
        (changed(emotion_list=np.array(["2_neutral"] * 3)), "emotions such as 1_neutral; came '258', '2_neutral'"),
        (changed(subject_list=np.array(["x", "y", "z"])), "subjects such as 258 .*came 'x'"),
    ],
)  # fmt: skip
def test_what_is_not_the_references_dictionary_is_refused(tmp_path, held, message):
    if isinstance(held, dict):
        save(tmp_path / "train_neutral.npy", held)
    else:
        np.save(tmp_path / "train_neutral.npy", held)
    with pytest.raises(MalformedReference, match=message):
        read_reference(tmp_path, "train")
