"""Tests of sources of body motion in one .npz each: units, sides, splits, and refused files."""

import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from models.skeletons.body import mirrored
from training.data.untrusted import UntrustedFile
from training.tasks.bodies.clips import (
    MalformedBodies,
    MirroredMotion,
    UnknownBodies,
    handedness,
)
from training.tasks.bodies.readers.npz import SOURCES, UP, read_bodies

MOTION = ("hdm05_11", "cmu_9act", "reactidle", "bandai_namco")


@pytest.fixture
def bodies(data_folder: Path) -> Path:
    return data_folder / "body"


def some_source(folder: Path, bodies: Path, source: str = "hdm05_11", **changes) -> Path:
    """Write the first two sequences of a real source, with changed arrays; None removes an array."""
    file = SOURCES[source].file
    with np.load(bodies / source / file) as real:
        arrays = dict(real)
    end = arrays["seq_start"][2]
    for name, array in arrays.items():
        if len(array.shape) > 0 and len(array) == arrays["seq_start"][-1]:
            arrays[name] = array[:end]
        elif len(array.shape) > 0 and name in (
            "seq_name",
            "action",
            "subject",
            "content",
            "is_train",
            "is_train_splits",
        ):
            arrays[name] = array[:2]
    arrays["seq_start"] = arrays["seq_start"][:3]
    arrays |= {name: change(arrays) if callable(change) else change for name, change in changes.items()}
    (folder / source).mkdir()
    np.savez(folder / source / file, **{name: array for name, array in arrays.items() if array is not None})
    return folder


@pytest.mark.parametrize("source", SOURCES)
def test_every_frame_of_a_source_is_in_one_clip(bodies: Path, source: str):
    clips = read_bodies(bodies, source)
    with np.load(bodies / source / SOURCES[source].file) as arrays:
        assert [len(clip.points) for clip in clips] == np.diff(arrays["seq_start"]).tolist()
    for clip in clips:
        assert clip.points.dtype == clip.confidence.dtype == np.float32
        assert clip.points.shape[:2] == clip.confidence.shape
        assert clip.points.shape[1] == len(clip.skeleton.joints)
    assert all((clip.confidence == 1).all() for clip in clips)  # no joint is missing in these files
    assert {clip.fps for clip in clips} == {{"cmu_9act": 60, "hdm05_11": 60, "reactidle": 24}.get(source, 30)}


@pytest.mark.parametrize(
    ("source", "train", "validation", "test"),
    [
        ("hdm05_11", "bd bk", "dg", "mm"),
        ("reactidle", "000 001 004 007 009 011 013 015", "002 010", "003 008 012 014"),
    ],
)
def test_people_are_in_one_split_each(bodies: Path, source: str, train: str, validation: str, test: str):
    subjects: dict[str, set[str]] = {}
    for clip in read_bodies(bodies, source):
        subjects.setdefault(clip.split, set()).add(clip.subject)
    expected = {"train": train, "validation": validation, "test": test}
    assert subjects == {split: set(names.split()) for split, names in expected.items()}


@pytest.mark.parametrize("source", ["cmu_9act", "bandai_namco", "jhmdb"])
def test_sources_that_do_not_identify_people_keep_their_test_clips(bodies: Path, source: str):
    clips = read_bodies(bodies, source)
    with np.load(bodies / source / SOURCES[source].file) as arrays:
        train = arrays["is_train_splits"][:, 0] if source == "jhmdb" else arrays["is_train"]
    assert [clip.split != "test" for clip in clips] == train.tolist()
    assert 0.05 < np.mean([clip.split == "validation" for clip in clips if clip.split != "test"]) < 0.2
    assert {clip.subject for clip in clips} == {""}


def test_the_folds_of_jhmdb_are_the_official_ones(bodies: Path):
    with np.load(bodies / "jhmdb/jhmdb_gt609.npz") as arrays:
        for fold in (1, 2, 3):
            clips = read_bodies(bodies, "jhmdb", fold=fold)
            assert [clip.split != "test" for clip in clips] == arrays["is_train_splits"][:, fold - 1].tolist()
    with pytest.raises(UnknownBodies, match="no fold 4; folds are 1 to 3"):
        read_bodies(bodies, "jhmdb", fold=4)


@pytest.mark.parametrize("source", MOTION)
def test_motion_is_in_metres_with_y_up_and_sides_the_persons_own(bodies: Path, source: str):
    clips = read_bodies(bodies, source)
    points, body = np.concatenate([clip.points for clip in clips]), clips[0].skeleton
    hip, knee, ankle, head = (points[:, i] for i in body.indices(("left_hip", "left_knee", "left_ankle", "head_base")))
    assert 0.3 < np.median(np.linalg.norm(hip - knee, axis=-1)) < 0.5
    assert np.median((head - ankle)[:, 1]) > 1.1
    assert handedness(points, body, UP) > 0.98


def test_quantised_motion_is_the_sum_of_root_and_joints(bodies: Path):
    with np.load(bodies / "reactidle/reactidle_24hz.npz") as arrays:
        expected = arrays["joints_rel_0p1mm"][:100] * 1e-4 + arrays["root_m"][:100, None]
    np.testing.assert_allclose(read_bodies(bodies, "reactidle")[0].points[:100], expected, atol=1e-6)


@pytest.mark.parametrize("source", MOTION)
def test_a_reflection_is_refused_and_a_mirrored_body_is_accepted(tmp_path: Path, bodies: Path, source: str):
    array = "joints" if "joints" in SOURCES[source].points else "joints_rel_0p1mm"

    def reflected(arrays):
        return arrays[array] * np.array([1, 1, -1], dtype=arrays[array].dtype)

    with pytest.raises(
        MirroredMotion, match=r"expected the left hip on the person's left .*, got \d+%; .*two exchanged axes"
    ):
        read_bodies(some_source(tmp_path, bodies, source, **{array: reflected}), source)
    body = SOURCES[source].skeleton
    for clip in read_bodies(bodies, source)[:2]:
        share = handedness(clip.points, body, UP)
        assert handedness(mirrored(clip.points, body), body, UP) == pytest.approx(share, abs=0.01)
        assert handedness(clip.points * np.array([-1, 1, 1], np.float32), body, UP) == pytest.approx(
            1 - share, abs=0.01
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": None}, "expected arrays .*subject.*, got none named subject"),
        ({"joints": lambda a: a["joints"][:, :24]}, r"expected points \(frames, 25, 3\), got \(\d+, 24, 3\)"),
        ({"joints": lambda a: a["joints"][:, 0]}, "expected joints of 3 dimensions, got joints"),
        ({"seq_start": lambda a: a["seq_start"] + 1}, "expected seq_start to rise from 0 to the .* frames, got 1 to"),
        ({"seq_start": lambda a: a["seq_start"][[0, 2, 1]]}, "expected seq_start to rise"),
        (
            {"action": lambda a: a["action"][:1]},
            "expected one entry for each of the 2 sequences, got action 1",
        ),
        ({"joint_names": lambda a: a["joint_names"][::-1]}, "expected joints pelvis, lower_spine.*, got right_toe"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, bodies: Path, changes, message):
    with pytest.raises(MalformedBodies, match=message):
        read_bodies(some_source(tmp_path, bodies, **changes), "hdm05_11")


def test_frames_of_joints_and_root_must_agree(tmp_path: Path, bodies: Path):
    folder = some_source(tmp_path, bodies, "reactidle", root_m=lambda arrays: arrays["root_m"][:-1])
    with pytest.raises(MalformedBodies, match=r"expected as many frames of joints as of the root, got"):
        read_bodies(folder, "reactidle")


def test_an_unknown_source_and_a_missing_file_are_named(tmp_path: Path):
    with pytest.raises(
        UnknownBodies, match="no source 'aist'; there are hdm05_11, cmu_9act, reactidle, bandai_namco, jhmdb"
    ):
        read_bodies(tmp_path, "aist")
    with pytest.raises(UnknownBodies, match=r"no file .*hdm05_11_60hz\.npz"):
        read_bodies(tmp_path, "hdm05_11")


def test_a_pickle_in_the_file_is_not_run(tmp_path: Path, bodies: Path):
    class CommandOnUnpickling:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    malicious = np.array([CommandOnUnpickling(), CommandOnUnpickling()], dtype=object)
    with pytest.raises(UntrustedFile, match=r"asks for .*mkdir"):
        read_bodies(some_source(tmp_path, bodies, action_names=malicious), "hdm05_11")
    assert not (tmp_path / "ran").exists()


def test_a_single_array_is_refused(tmp_path: Path):
    (tmp_path / "hdm05_11").mkdir()
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    (tmp_path / "hdm05_11/hdm05_11_60hz.npz").write_bytes(buffer.getvalue())
    with pytest.raises(UntrustedFile, match=r"no \.npz file"):
        read_bodies(tmp_path, "hdm05_11")


def test_the_split_by_subject_has_the_published_numbers_of_frames(bodies: Path):
    frames = Counter(clip.split for clip in read_bodies(bodies, "hdm05_11") for _ in clip.points)
    assert frames == {"train": 15645, "validation": 6780, "test": 6007}
