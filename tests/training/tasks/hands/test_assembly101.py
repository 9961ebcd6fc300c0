"""Tests of Assembly101's reader: real frames written in both published layouts, and real annotations."""

import csv
import gzip
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

import training.tasks.hands.assembly101 as assembly101
from training.tasks.hands.assembly101 import (
    MalformedRelease,
    Segment,
    UnknownChoice,
    annotation_file,
    filter_actions,
    pose_folder,
    read_assembly101,
    read_poses,
    read_segments,
)
from training.tasks.hands.npz import read_hands
from training.tasks.hands.recordings import Recording
from training.tasks.hands.windows import PRESETS, Window, cut

OFFICIAL = (
    "id,video,start_frame,end_frame,action_id,verb_id,noun_id,"
    "action_cls,verb_cls,noun_cls,toy_id,toy_name,is_shared,is_RGB"
)


@pytest.fixture
def frames_mm(data_folder: Path) -> np.ndarray:
    """Return 200 real frames, (frames, 2, 21, 3) float32 millimetres."""
    with np.load(data_folder / "hands/assembly101_sample/assembly101_sample.npz") as arrays:
        start, stop = arrays["seq_start"][1:3]
        return arrays["joints"][start:stop]


@pytest.fixture
def annotations_60fps(data_folder: Path) -> Path:
    return data_folder / "hands/assembly101_sample/validation_60fps.csv.gz"


def write_list(file: Path, frames_mm: np.ndarray, absent=()) -> Path:
    """Write the older layout without the (frame, hand) in `absent`."""
    content = []
    for i, hands in enumerate(frames_mm.tolist()):
        shown = {str(hand): points for hand, points in enumerate(hands) if (i, hand) not in absent}
        content.append({"landmarks": shown, "tracking_confidence": dict.fromkeys(shown, 1.0)})
    return write(file, content)


def write_dict(file: Path, frames_mm: np.ndarray, missing=(), absent=()) -> Path:
    """Write the newer layout without the frames in `missing` and the (frame, hand) in `absent`."""
    content = {
        str(i): {str(hand): points for hand, points in enumerate(hands) if (i, hand) not in absent}
        for i, hands in enumerate(frames_mm.tolist())
        if i not in missing
    }
    return write(file, content)


def write(file: Path, content) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def write_official(folder: Path, split: str, segments: list[tuple[str, int, int, str, str]]) -> Path:
    """Write a CSV as published, with 12 views per segment; a segment is recording, first and last frame at 30 fps, action, toy."""
    folder.mkdir(exist_ok=True)
    with (folder / f"{split}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(OFFICIAL.split(","))
        for number, (recording, start, end, action, toy) in enumerate(segments):
            verb, _, noun = action.partition(" ")
            for view in range(12):
                video = f"{recording}/C10095_rgb_{view}.mp4"
                rows.writerow(
                    [12 * number + view, video, start, end, 1, 2, 3, action, verb, noun, "a30", toy, 0, int(view < 8)]
                )
    return folder


def test_both_layouts_give_the_real_frames_in_metres(tmp_path, frames_mm):
    for file in (
        write_list(tmp_path / "poses@60fps/recording.json", frames_mm),
        write_dict(tmp_path / "landmarks3D/recording.json", frames_mm),
    ):
        clip = read_poses(file, tmp_path / "cache")
        assert clip.valid.all()
        assert clip.joints.dtype == np.float32
        np.testing.assert_allclose(1000 * clip.joints, frames_mm, rtol=1e-6)
        np.testing.assert_array_equal(clip.times, np.arange(len(frames_mm)) / 60)


def test_a_recording_read_from_json_gives_the_same_windows_as_from_npz(tmp_path, data_folder, frames_mm):
    with np.load(data_folder / "hands/assembly101_sample/assembly101_sample.npz") as arrays:
        name = arrays["seq_name"][1]
    clip = read_poses(write_dict(tmp_path / "landmarks3D/recording.json", frames_mm), tmp_path / "cache")
    known = next(r for r in read_hands(data_folder / "hands", "assembly101_sample") if r.name == name)
    windows = cut([Recording("assembly101", name, "", clip)], PRESETS["10+10@30"])
    expected = cut([known], PRESETS["10+10@30"])
    every_window = np.arange(len(expected))
    assert len(windows) == len(expected) == 200 - 2 * 19
    np.testing.assert_allclose(windows.past_future(every_window)[1], expected.past_future(every_window)[1], rtol=1e-6)


def test_missing_frames_and_hands_are_absent_and_not_zero(tmp_path, frames_mm):
    absent = [(5, 0), (6, 1)]
    older = read_poses(write_list(tmp_path / "poses_60fps/a.json", frames_mm, absent), tmp_path / "cache")
    newer = read_poses(
        write_dict(tmp_path / "landmarks3D/a.json", frames_mm, missing=(0, 1, 80), absent=absent), tmp_path / "cache"
    )
    expected = np.ones((200, 2), bool)
    expected[[5, 6], [0, 1]] = False
    np.testing.assert_array_equal(older.valid, expected)
    expected[[0, 1, 80]] = False
    np.testing.assert_array_equal(newer.valid, expected)
    np.testing.assert_array_equal(np.isnan(newer.joints).all(axis=(2, 3)), ~expected)
    np.testing.assert_allclose(1000 * newer.joints[expected], frames_mm[expected], rtol=1e-6)


def test_the_last_frame_id_determines_the_length(tmp_path, frames_mm):
    clip = read_poses(write_dict(tmp_path / "landmarks3D/a.json", frames_mm, missing=range(150, 199)), tmp_path / "c")
    assert len(clip) == 200
    assert clip.valid[199].all()


def test_null_and_empty_hands_and_null_frames_are_absent(tmp_path, frames_mm):
    right = frames_mm[0, 1].tolist()
    clip = read_poses(
        write(tmp_path / "a/a.json", {"0": {"0": None, "1": right}, "1": {"0": [], "1": right}, "2": None, "3": {}}),
        tmp_path,
    )
    assert clip.valid.tolist() == [[False, True], [False, True], [False, False], [False, False]]
    older = [{"landmarks": {"1": right}}, {"landmarks": None}, None]
    assert read_poses(write(tmp_path / "b/b.json", older), tmp_path).valid.tolist() == [
        [False, True],
        [False, False],
        [False, False],
    ]


def test_a_file_is_decoded_once_and_again_when_it_changes(tmp_path, frames_mm, monkeypatch):
    decoded = []
    decode = assembly101._decode
    monkeypatch.setattr(assembly101, "_decode", lambda file: decoded.append(file) or decode(file))
    file, cache = tmp_path / "landmarks3D/a.json", tmp_path / "cache"
    write_dict(file, frames_mm[:20])
    first, again = read_poses(file, cache), read_poses(file, cache)
    assert len(decoded) == 1
    assert isinstance(again.joints, np.memmap)
    np.testing.assert_array_equal(first.joints, again.joints)
    write_dict(file, frames_mm[:30])
    assert len(read_poses(file, cache)) == 30
    os.utime(file, ns=(0, 0))
    read_poses(file, cache)
    assert len(decoded) == 3
    assert not [left for left in cache.iterdir() if left.suffix != ".npy"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "expected a list of landmarks or hands by frame id"),
        ('"poses"', "expected a list"),
        ("[]", "frames numbered from 0, got 0"),
        ("{}", "frames numbered from 0, got 0"),
        ('{"first": {"0": []}}', "expected a list"),
        ('{"-3": {"0": []}}', "from -3"),
        ('{"0": {"0": [[1, 2]]}}', r"expected a list.*0"),
        ('{"0": {"0": [[1, 2, null]]}}', "expected a list"),
        ('{"0": {"1": [[1, 2, 3]]}}', "frame 0: expected 21 joints of the right hand, got 1"),
        ('[{"landmarks": {"0": [[1, 2, 3], [4, 5, 6]]}}]', "frame 0: expected 21 joints of the left hand, got 2"),
        ('[{"hands": {}}]', "landmarks"),
        ('{"4000000000": {}}', "expected at least one in 100 frame ids"),
        (json.dumps({"0": {"0": [[1e300, 2, 3]] * 21}}), r"millimetres, got one beyond 3.4e\+38"),
    ],
)
def test_a_malformed_recording_is_refused_and_not_cached(tmp_path, content, message):
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(MalformedRelease, match=message):
        read_poses(file, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_official_annotations_are_read_as_one_segment_each_in_pose_frames(tmp_path):
    folder = write_official(
        tmp_path / "fine", "train", [("rec", 84, 111, "clap hand", "suv"), ("rec", 111, 171, "pick up toy", "suv")]
    )
    assert read_segments(annotation_file(folder, "train")) == [
        Segment("rec", 168, 224, "clap hand", "clap", "suv"),  # 30 fps frames 84 to 111 are pose frames 168 to 223
        Segment("rec", 222, 344, "pick up toy", "pick", "suv"),
    ]


def test_annotations_already_in_pose_frames_are_recognised_by_their_format(annotations_60fps):
    segments = read_segments(annotations_60fps)
    assert segments[0] == Segment(
        "nusar-2021_action_both_9033-a30_9033_user_id_2021-02-04_131528", 169, 224, "clap hand", "clap", "suv"
    )
    assert len({segment.recording for segment in segments}) == 62
    assert len(segments) == 15_678  # 21 of the 15,699 rows repeat another
    assert np.median([segment.stop - segment.start for segment in segments]) == 58


def test_the_rate_of_annotations_can_be_given_explicitly(annotations_60fps, tmp_path):
    assert read_segments(annotations_60fps, csv_fps=30)[0].start == 2 * 169
    official = annotation_file(write_official(tmp_path, "test", [("rec", 84, 111, "clap hand", "suv")]), "test")
    assert read_segments(official, csv_fps=60)[0] == Segment("rec", 84, 112, "clap hand", "clap", "suv")
    with pytest.raises(MalformedRelease, match="at 25"):
        read_segments(official, csv_fps=25)


def test_real_rows_in_the_official_format_give_the_same_segments(annotations_60fps, tmp_path):
    """Segments of even length that begin on even frames are the same pose frames when written at 30 fps with 12 views."""
    segments = [s for s in read_segments(annotations_60fps) if s.start % 2 == s.stop % 2 == 0]
    assert len(segments) > 3000
    rows = [(s.recording, s.start // 2, s.stop // 2 - 1, s.action, s.toy) for s in segments]
    again = read_segments(annotation_file(write_official(tmp_path, "validation", rows), "validation"))
    frames = [(s.recording, s.start, s.stop, s.action, s.toy) for s in segments]
    assert [(s.recording, s.start, s.stop, s.action, s.toy) for s in again] == frames


def test_actions_are_chosen_by_whole_words(annotations_60fps):
    segments = read_segments(annotations_60fps)
    chosen = filter_actions(segments, ["pick up", "rotate"])
    assert {segment.verb for segment in chosen} >= {"pick up", "rotate"}
    assert all("pick up" in segment.action or "rotate" in segment.action for segment in chosen)
    assert 0 < len(chosen) < len(segments)
    screw = {segment.verb for segment in filter_actions(segments, ["screw"])}
    assert "screw" in screw
    assert "unscrew" not in screw
    assert filter_actions(segments, []) == segments


def test_an_unknown_action_is_refused_with_the_nearest(annotations_60fps):
    with pytest.raises(UnknownChoice, match=r"'rotat'; the nearest: .*rotate"):
        filter_actions(read_segments(annotations_60fps), ["pick up", "rotat"])


@pytest.fixture
def release(tmp_path, frames_mm) -> Path:
    """Return a release of two recordings with poses and one without, annotated for training; the first lacks frame 60."""
    write_dict(tmp_path / "landmarks3D/first.json", frames_mm, missing=(60,))
    write_dict(tmp_path / "landmarks3D/second.json", frames_mm[:100])
    write_official(
        tmp_path / "fine",
        "train",
        [
            ("first", 5, 44, "rotate partial toy", "suv"),
            ("lost", 0, 9, "rotate wheel", "crane"),
            ("second", 10, 19, "pick up wheel", "truck"),
            ("first", 60, 200, "pick up wheel", "suv"),
            ("second", 400, 500, "rotate wheel", "truck"),
        ],
    )
    return tmp_path


def test_action_segments_come_recording_by_recording_with_their_label(release, frames_mm, caplog):
    with caplog.at_level(logging.WARNING):
        recordings = list(read_assembly101(release, release / "fine", "train", cache=release / "cache"))
    assert [(r.source, r.name, r.label) for r in recordings] == [
        ("assembly101", "first", "rotate partial toy"),
        ("assembly101", "first", "pick up wheel"),  # cut off where the recording ends
        ("assembly101", "second", "pick up wheel"),  # and its other segment lies beyond the end
    ]
    assert [(r.clip.times[0], len(r.clip)) for r in recordings] == [(10 / 60, 80), (2.0, 80), (20 / 60, 20)]
    np.testing.assert_allclose(1000 * recordings[1].clip.joints, frames_mm[120:], rtol=1e-6)
    assert "1 of 3 recordings have no poses" in caplog.text


def test_context_before_a_segment_ends_at_the_start_of_the_recording(release):
    recordings = list(read_assembly101(release, release / "fine", "train", cache=release / "cache", context_s=0.25))
    assert [(r.clip.times[0], len(r.clip)) for r in recordings] == [(0, 90), (105 / 60, 95), (5 / 60, 35)]


def test_only_the_chosen_actions_are_read(release):
    recordings = read_assembly101(release, release / "fine", "train", cache=release / "cache", actions=["rotate"])
    assert [recording.label for recording in recordings] == ["rotate partial toy"]


def test_whole_recordings_come_once_each(release):
    recordings = list(read_assembly101(release, release / "fine", "train", cache=release / "cache", whole=True))
    assert [(r.name, r.label, len(r.clip)) for r in recordings] == [("first", "suv", 200), ("second", "truck", 100)]


def test_windows_of_a_release_are_memory_mapped_and_span_no_gap(release):
    recordings = read_assembly101(release, release / "fine", "train", cache=release / "cache", whole=True)
    windows = cut(recordings, Window(10, 10, 60))
    assert all(isinstance(track.points, np.memmap) for track in windows.tracks)
    assert len(windows) == (60 - 19) + (139 - 19) + (100 - 19)
    past, future = windows.past_future(np.arange(len(windows)))
    assert np.isfinite(past).all()
    assert np.isfinite(future).all()


def test_a_missing_file_is_reported_with_the_places_that_were_searched(release, tmp_path):
    fine, cache = release / "fine", release / "cache"
    with pytest.raises(UnknownChoice, match="no split 'val'; it has train, validation, test"):
        next(read_assembly101(release, fine, "val", cache=cache))
    with pytest.raises(FileNotFoundError, match=r"no validation\.csv or validation\.csv\.gz in .*fine"):
        next(read_assembly101(release, fine, "validation", cache=cache))
    with pytest.raises(FileNotFoundError, match=r"no <recording>\.json in .*fine, nor in landmarks3D, poses@60fps"):
        next(read_assembly101(fine, fine, "train", cache=cache))
    write_official(fine, "test", [("lost", 0, 9, "rotate wheel", "crane")])
    with pytest.raises(FileNotFoundError, match=r"none of the 1 recordings of test, such as lost\.json"):
        next(read_assembly101(release, fine, "test", cache=cache))


def test_the_newer_layout_is_preferred_to_the_older(tmp_path, frames_mm):
    write_list(tmp_path / "poses@60fps/a.json", frames_mm[:2])
    assert pose_folder(tmp_path) == tmp_path / "poses@60fps"
    write_dict(tmp_path / "landmarks3D/a.json", frames_mm[:2])
    assert pose_folder(tmp_path) == tmp_path / "landmarks3D"
    assert pose_folder(tmp_path / "poses@60fps") == tmp_path / "poses@60fps"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,video\n0,rec/a.mp4\n", "expected the columns video, start_frame.*; missing: start_frame, end_frame"),
        ("x" * 200_000, "expected a table of columns separated by commas: field larger than field limit"),
        (OFFICIAL + "\n0,rec/a.mp4,x,9,1,1,1,clap hand,clap,hand,a,suv,0,1\n", "line 2: expected integer frames"),
        (OFFICIAL + "\n0,rec/a.mp4,9,3,1,1,1,clap hand,clap,hand,a,suv,0,1\n", "got 9 to 3"),
    ],
)
def test_malformed_annotations_are_refused(tmp_path, rows, message):
    with gzip.open(tmp_path / "train.csv.gz", "wt") as file:
        file.write(rows)
    with pytest.raises(MalformedRelease, match=message):
        read_segments(annotation_file(tmp_path, "train"))
