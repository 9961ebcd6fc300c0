"""Tests of Kinetics-skeleton's readers: the published form, and the form that ST-GCN converts it to."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from body_files import as_st_gcn, kinetics_video, write_converted, write_kinetics

from models.motion.bodies import shown
from models.skeletons.body import mirrored
from training.data.untrusted import UntrustedFile
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.clips import MalformedBodies, UnknownBodies
from training.tasks.bodies.readers.kinetics_skeleton import OPENPOSE, read_kinetics, read_video


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_kinetics(tmp_path)


def test_a_video_equals_that_of_st_gcns_feeder(published: Path):
    points, scores = read_video(published / "kinetics_train/v0.json")
    assert points.shape == (2, 300, 18, 2)
    np.testing.assert_array_equal(np.isnan(points).any(axis=-1), scores == 0)
    np.testing.assert_allclose(shown(points, scores), as_st_gcn(kinetics_video(0)).transpose(3, 1, 2, 0), atol=1e-6)


def test_people_are_sorted_by_score_in_every_frame(published: Path):
    _, scores = read_video(published / "kinetics_train/v0.json")
    first, second = scores.sum(axis=-1)
    assert (first >= second).all()
    assert (first > second).any()


def test_published_clips_have_labels_and_splits_and_clips_without_skeletons_are_left_out(published: Path):
    clips = read_kinetics(published)
    assert list(clips.names) == ["v0", "v2", "v3", "v4"]
    assert clips.labels.tolist() == [0, 2, 0, 1]
    assert list(clips.splits) == ["train", "train", "train", "test"]
    assert clips.classes == ("label 0", "label 1", "label 2")
    points, scores = clips.read(3)
    np.testing.assert_allclose(shown(points, scores), as_st_gcn(kinetics_video(4)).transpose(3, 1, 2, 0), atol=1e-6)


def test_the_converted_form_gives_the_same_clips(tmp_path: Path, published: Path):
    folder = tmp_path / "converted"
    folder.mkdir()
    videos = [json.loads((published / f"kinetics_train/v{i}.json").read_text()) for i in (0, 2, 3)]
    converted, expected = read_kinetics(write_converted(folder, "train", videos)), read_kinetics(published)
    assert list(converted.names) == ["v0", "v1", "v2"]
    assert converted.labels.tolist() == [0, 2, 0]
    assert converted.classes == ("class 0", "class 1", "class 2")
    for i in range(3):
        for a, b in zip(converted.read(i), expected.read(i), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_one_training_clip_in_fifty_is_held_out_and_the_val_clips_are_test(tmp_path: Path):
    video = kinetics_video(0)
    write_converted(tmp_path, "train", [video] * 100)
    write_converted(tmp_path, "val", [video] * 2)
    splits = list(read_kinetics(tmp_path).splits)
    assert [i for i, split in enumerate(splits) if split == "validation"] == [49, 99]
    assert splits[100:] == ["test", "test"]


def test_the_mirror_leaves_missing_joints_in_place(published: Path):
    """Clips are centred before missing joints are set to 0: for x in [0, 1] the mirror would be 1 - x and move missing joints."""
    points, scores = read_video(published / "kinetics_train/v0.json")
    clip = shown(points, scores)
    image = mirrored(clip, OPENPOSE)
    absent = clip[..., 2] == 0
    assert absent.any()
    assert (clip[absent] == 0).all()
    assert (image[absent[..., list(OPENPOSE.mirror)]] == 0).all()
    again = mirrored(points, OPENPOSE), scores[..., list(OPENPOSE.mirror)]
    np.testing.assert_array_equal(shown(*again), image)
    assert np.nanmin(points) < -0.4  # and the middle of the image is at 0
    assert np.nanmax(points) > 0.4


def test_batches_have_crops_for_training_and_whole_clips_for_testing(tmp_path: Path):
    (tmp_path / "body/kinetics").mkdir(parents=True)
    write_converted(tmp_path / "body/kinetics", "train", [kinetics_video(i) for i in range(4)])
    write_converted(tmp_path / "body/kinetics", "val", [kinetics_video(5)])
    batches = ActionData("kinetics", frames=150, test_frames=300, batch=4, tempo="crop").load(tmp_path)
    inputs, classes = batches.training_batch(0, 0)
    assert inputs["clips"].shape == (4, 2, 150, 18, 3)
    assert classes.tolist() == [3] * 4
    ((source, (inputs, _)),) = batches.batches("test")
    assert source == "kinetics"
    np.testing.assert_allclose(inputs["clips"][0], as_st_gcn(kinetics_video(5)).transpose(3, 1, 2, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_index": 300}, "expected frames 0 to 299, got 300"),
        ({"frame_index": -1}, "got -1"),
        (
            {"skeleton": [{"pose": [0.0] * 34, "score": [0.0] * 18}]},
            "frame 0: expected 36 coordinates and 18 scores, got 34 and 18",
        ),
        ({"skeleton": [{"pose": [0.0] * 36}]}, "expected a Kinetics-skeleton video"),
        ({"skeleton": [{"pose": [None] * 36, "score": [0.0] * 18}]}, "expected a Kinetics-skeleton video"),
    ],
)
def test_a_malformed_video_is_refused(tmp_path: Path, change, message):
    video = kinetics_video(0)
    video["data"][0] |= change
    (tmp_path / "v.json").write_text(json.dumps(video))
    with pytest.raises(MalformedBodies, match=message):
        read_video(tmp_path / "v.json")


def test_a_video_with_two_different_labels_is_refused(published: Path):
    video = published / "kinetics_train/v0.json"
    video.write_text(json.dumps(kinetics_video(0, label=2)))
    with pytest.raises(MalformedBodies, match="expected label 0 as in the list of labels, got 2"):
        read_kinetics(published).read(0)
    video.unlink()
    with pytest.raises(UnknownBodies, match=r"no file .*v0\.json"):
        read_kinetics(published).read(0)


def test_malformed_arrays_and_labels_are_refused(tmp_path: Path):
    with pytest.raises(
        UnknownBodies, match=r"has neither \{train,val\}_data\.npy nor kinetics_\{train,val\}_label\.json"
    ):
        read_kinetics(tmp_path)
    write_converted(tmp_path, "train", [kinetics_video(0), kinetics_video(1)])
    labels, data = tmp_path / "train_label.pkl", tmp_path / "train_data.npy"
    labels.write_bytes(pickle.dumps((["a"], [1])))
    with pytest.raises(MalformedBodies, match=r"expected \(names, labels\) of 2 clips each, got 2 of 1, 1"):
        read_kinetics(tmp_path)
    for wrong in (-1, 2**31):  # a list of so many classes would not fit into memory
        labels.write_bytes(pickle.dumps((["a", "b"], [1, wrong])))
        with pytest.raises(MalformedBodies, match=f"expected labels from 0 to 9999, got {wrong}"):
            read_kinetics(tmp_path)
    labels.unlink()
    with pytest.raises(UnknownBodies, match=r"no file .*train_label\.pkl, which labels train_data\.npy"):
        read_kinetics(tmp_path)
    np.save(data, np.zeros((2, 3, 300, 18)))
    with pytest.raises(MalformedBodies, match=r"expected float32 \(N, 3, 300, 18, 2\), got float64 \(2, 3, 300, 18\)"):
        read_kinetics(tmp_path)
    np.save(data, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(MalformedBodies, match="expected an array of numbers"):
        read_kinetics(tmp_path)


def test_a_pickle_of_labels_is_not_run(tmp_path: Path):
    class CommandOnUnpickling:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    write_converted(tmp_path, "train", [kinetics_video(0)])
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps((["a"], CommandOnUnpickling())))
    with pytest.raises(UntrustedFile, match=r"asks for .*mkdir"):
        read_kinetics(tmp_path)
    assert not (tmp_path / "ran").exists()
