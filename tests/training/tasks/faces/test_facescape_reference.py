"""Tests of the reader of the reference's dictionary of FaceScape: metres, malformed files, and no code from files."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from training.data.untrusted import UntrustedFile
from training.tasks.faces.facescape_reference import SIGMA, MalformedReference, read_reference


def reference(faces: int = 3, count: int = 40, seed: int = 0) -> tuple[dict, np.ndarray, np.ndarray]:
    """Return the dictionary of some faces, and their points and landmarks in millimetres relative to the mean point."""
    rng = np.random.default_rng(seed)
    points, landmarks = rng.normal(size=(faces, count, 3)) * 60, rng.normal(size=(faces, 68, 3)) * 60
    middle = points.mean(axis=1, keepdims=True)
    points, landmarks = points - middle, landmarks - middle
    scale = 1 / np.abs(points).max(axis=(1, 2))
    content = {
        "point_list": (points * scale[:, None, None]).astype(np.float32),
        "landmark_list": (landmarks * scale[:, None, None]).astype(np.float32),
        "heatmaps_list": np.zeros((faces, count, 68), np.float32),
        "normal_list": np.zeros((faces, count, 3), np.float32),
        "subject_list": np.array([258 + face for face in range(faces)]),
        "emotion_list": np.array(["1_neutral"] * faces),
        "scale_list": scale,
    }
    return content, points, landmarks


def save(path: Path, value: object, form: str = "numpy") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "pickle":
        path.write_bytes(pickle.dumps(value))
    else:
        np.save(path, np.array(value, dtype=object), allow_pickle=True)
    return path


@pytest.mark.parametrize("form", ["numpy", "pickle"])
@pytest.mark.parametrize("where", ["Train/train_neutral.npy", "train_neutral.npy"])
def test_the_references_faces_are_read_in_metres(tmp_path, form, where):
    content, points, landmarks = reference()
    save(tmp_path / where, content, form)
    faces = read_reference(tmp_path, "train")
    assert [(face.subject, face.expression) for face in faces] == [(s, "neutral") for s in (258, 259, 260)]
    for face, cloud, marks, scale in zip(faces, points, landmarks, content["scale_list"], strict=True):
        np.testing.assert_allclose(1000 * face.points, cloud, atol=1e-4)
        np.testing.assert_allclose(1000 * face.landmarks, marks, atol=1e-4)
        assert face.unit_m == pytest.approx(0.001 / scale)
        assert 0.005 < SIGMA * face.unit_m < 0.05
    with pytest.raises(FileNotFoundError, match=r"no Test/test_neutral\.npy"):
        read_reference(tmp_path, "test")


def test_arrays_may_be_lists_and_ids_may_be_text(tmp_path):
    content, points, _ = reference()
    content = {key: list(value) for key, value in content.items()}
    content["subject_list"] = ["12", "7", "400"]
    save(tmp_path / "Test" / "test_neutral.npy", content)
    faces = read_reference(tmp_path, "test")
    assert [face.subject for face in faces] == [12, 7, 400]
    np.testing.assert_allclose(1000 * faces[2].points, points[2], atol=1e-4)


class CommandOnUnpickling:
    """A value that creates a file when pickle.load reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch '{self.file}'",)


@pytest.mark.parametrize("form", ["numpy", "pickle"])
def test_a_dictionary_with_a_command_is_refused_before_the_command_runs(tmp_path, form):
    content, _, _ = reference()
    content["scale_list"] = CommandOnUnpickling(tmp_path / "ran")
    path = save(tmp_path / "Train" / "train_neutral.npy", content, form)
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(UntrustedFile, match="system"):
        read_reference(tmp_path, "train")
    assert not (tmp_path / "ran").exists()
    np.load(path, allow_pickle=True)  # the same file, opened without protection
    assert (tmp_path / "ran").exists()


def changed(**changes) -> dict:
    content = reference()[0] | changes
    return {key: value for key, value in content.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(3), "expected a dictionary of point_list, .*got a ndarray"),
        (changed(normal_list=None, scale_list=None), "missing: normal_list, scale_list"),
        (changed(landmark_list=np.zeros((3, 51, 3))), r"expected landmark_list of shape \(3, 68, 3\).*got \(3, 51, 3\)"),
        (changed(heatmaps_list=np.zeros((3, 41, 68))), r"expected heatmaps_list of shape \(3, 40, 68\)"),
        (changed(point_list=np.zeros((3, 40))), r"expected point_list of shape \(3, 0, 3\).*got \(3, 40\)"),
        (changed(scale_list=np.array([0.01, 0, 0.01])), "expected scales above 0, got 0"),
        (changed(scale_list=np.array(["a", "b", "c"])), "expected finite numbers in scale_list"),
        (changed(point_list=np.full((3, 40, 3), np.nan)), "expected finite numbers in point_list"),
        (changed(point_list=[np.zeros((40, 3)), np.zeros((41, 3))]), "expected point_list as a list of arrays of equal shapes"),
        (changed(scale_list=1.5), "expected scale_list as a list of arrays of equal shapes"),
        (changed(emotion_list=np.array(["2_neutral"] * 3)), "emotions such as 1_neutral, got '258' and '2_neutral'"),
        (changed(subject_list=np.array(["x", "y", "z"])), "subjects such as 258 .*got 'x'"),
    ],
)  # fmt: skip
def test_a_malformed_dictionary_is_refused(tmp_path, content, message):
    if isinstance(content, dict):
        save(tmp_path / "train_neutral.npy", content)
    else:
        np.save(tmp_path / "train_neutral.npy", content)
    with pytest.raises(MalformedReference, match=message):
        read_reference(tmp_path, "train")
