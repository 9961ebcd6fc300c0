"""Tests of NW-UCLA's readers: its JSON files, and one .npz of all clips."""

from pathlib import Path

import numpy as np
import pytest
from body_files import write_nw_ucla

from training.tasks.bodies.clips import (
    BodyClip,
    MalformedBodies,
    MirroredMotion,
    UnknownBodies,
    handedness,
)
from training.tasks.bodies.readers.nw_ucla import (
    CLASSES,
    CODES,
    KINECT,
    UP,
    read_nw_ucla,
)


@pytest.fixture(scope="module")
def clips(data_folder: Path) -> list[BodyClip]:
    return read_nw_ucla(data_folder / "body/nw_ucla")


def test_all_clips_are_read_and_mostly_unmirrored(clips: list[BodyClip]):
    assert len(clips) == 1484
    assert sum(len(clip.points) for clip in clips) == 58_534
    assert len({clip.label for clip in clips}) == 10
    assert 0.85 < handedness(np.concatenate([clip.points for clip in clips]), KINECT, UP) < 0.95


@pytest.mark.parametrize(("protocol", "flag"), [("cross-view", "is_train"), ("cross-subject", "is_train_xsub")])
def test_the_test_clips_are_those_of_the_protocol(data_folder: Path, protocol, flag: str):
    clips = read_nw_ucla(data_folder / "body/nw_ucla", protocol)
    with np.load(data_folder / "body/nw_ucla/nw_ucla.npz") as arrays:
        assert [clip.split != "test" for clip in clips] == arrays[flag].tolist()
    held_out = {clip.subject for clip in clips if clip.split == "validation"}
    assert len(held_out) == 1
    assert held_out.isdisjoint({clip.subject for clip in clips if clip.split == "train"})


def test_json_files_and_the_npz_file_give_the_same_clips(tmp_path: Path, clips: list[BodyClip]):
    for clip in clips[::150]:
        write_nw_ucla(tmp_path, clip)
    for read, expected in zip(read_nw_ucla(tmp_path), clips[::150], strict=True):
        assert (read.name, read.label, read.subject, read.split) == (
            expected.name,
            expected.label,
            expected.subject,
            expected.split,
        )
        np.testing.assert_array_equal(read.points, expected.points)


def test_codes_in_file_names_agree_with_labels(clips: list[BodyClip]):
    assert {(clip.name[:3], clip.label) for clip in clips} == {
        (f"a{code:02d}", label) for code, label in zip(CODES, CLASSES, strict=True)
    }


def test_a_reflection_is_refused(tmp_path: Path, clips: list[BodyClip]):
    for clip in clips[::150]:
        write_nw_ucla(tmp_path, clip, skeletons=(clip.points * [-1, 1, 1]).tolist())
    with pytest.raises(MirroredMotion, match="expected the left hip on the person's left"):
        read_nw_ucla(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 2}, "expected a label from 1 to 10 that fits a01, got 2"),
        ({"label": 11}, "expected a label .* got 11"),
        ({"label": "one"}, "expected file_name, skeletons .* and label"),
        ({"skeletons": [[[0, 0, 0]] * 19]}, r"expected frames of 20 joints, got 1 frames of \[19\]"),
        ({"skeletons": []}, r"got 0 frames of \[\]"),
        ({"skeletons": [[[0, 0]] * 20]}, "expected file_name"),
        ({"name": "walking"}, "expected a clip name like aXX_sXX_eXX_vXX, got walking"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, clips: list[BodyClip], changes, message):
    with pytest.raises(MalformedBodies, match=message):
        read_nw_ucla(write_nw_ucla(tmp_path, clips[0], **changes))


def test_a_folder_without_clips_is_named(tmp_path: Path):
    with pytest.raises(UnknownBodies, match=r"no nw_ucla\.npz, and no \.json files in .*all_sqe"):
        read_nw_ucla(tmp_path)
