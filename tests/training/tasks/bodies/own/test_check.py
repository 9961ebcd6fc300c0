"""Tests of the check of body recordings of one's own: it says what is wrong before a step is taken."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_bodies import declare, person, write_set

from training.__main__ import main
from training.check import check
from training.data.reading import MalformedData
from training.tasks.bodies.own.sets import own_bodies


def test_recordings_are_counted_by_split(tmp_path: Path):
    counts = {"body": {"studio": {"train": 4, "validation": 1, "test": 1}}}
    assert check(write_set(tmp_path / "lab")) == counts
    assert check(write_set(tmp_path / "data/body/studio").parents[1]) == counts
    given = {"train": ["step-[0-3].npy"], "validation": ["step-4.npy"], "test": ["step-5.npy"]}
    assert check(write_set(tmp_path / "given", splits=given)) == counts


def test_the_digest_covers_recordings_and_splits_and_neither_licence_nor_name(tmp_path: Path):
    def digest(folder: Path) -> str:
        (own,) = own_bodies(folder / "body").values()
        return own.sha256

    first = digest(write_set(tmp_path / "a"))
    assert first == digest(write_set(tmp_path / "b", name="other", licence="MIT"))
    assert first != digest(write_set(tmp_path / "c", splits={"seed": 1}))
    assert first != digest(write_set(tmp_path / "d", frames=121))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"joints": "feet"}, "joints: expected a joint order, one of h36m-17"),
        ({"markers": {"hip": ["LASI"]}}, "markers: expected joints of h36m-17, pelvis, right_hip.*; got 'hip'"),
        ({"markers": {"pelvis": []}}, "markers.pelvis: expected at least 1 item, got 0"),
        ({"axes": "left-handed"}, "axes: expected 'y-up', 'z-up' or 'camera', got 'left-handed'"),
        ({"scale": 0}, "scale: expected a number greater than 0, got 0"),
        ({"hand": "left"}, "hand: there is no such field"),
        ({"kind": "hands", "joints": "mediapipe"}, "expected two hands, or a declared `hand` for one"),
        ({"name": "cmu_9act"}, "'cmu_9act' is a source that Chiron knows"),
        ({"units": "mm"}, r"step-0\.npy: expected a person of 50 cm to 2\.6 m, got 1\.\d+ mm read in mm; it would fit in m"),
        ({"fps": None}, r"step-0\.npy: expected a rate of 5 to 1000 frames a second, got fps None; declare `fps`"),
        ({"joints": "smpl-24"}, r"step-0\.npy: expected smpl-24 points of shape \(\.\.\., 24, 3\), got \(120, 17, 3\)"),
        ({"splits": {"train": ["*"], "validation": ["walk"], "test": ["*"]}}, "validation names 'walk', and there is no such"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(declared: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(MalformedData, match=message):
        check(write_set(tmp_path / "lab", **declared))


def test_every_wrong_recording_is_named_at_once(tmp_path: Path):
    folder = write_set(tmp_path / "lab")
    np.save(folder / "empty.npy", np.zeros((0, 17, 3)))
    np.save(folder / "nan.npy", np.full((40, 17, 3), np.nan))
    np.save(folder / "one-point.npy", np.ones((40, 17, 3)))
    np.save(folder / "short.npy", person(11))
    np.save(folder / "upside-down.npy", -person(40))
    (folder / "walk.bvh").write_text("walk")
    with pytest.raises(MalformedData) as caught:
        check(folder)
    for said in (
        "empty.npy: expected a frame with every joint of h36m-17, got none of 0",
        "nan.npy: expected a frame with every joint of h36m-17, got none of 40; no frame has pelvis, right_hip",
        "one-point.npy: expected the joints of a person, got all joints at one point",
        "short.npy: expected at least 12 frames in a row with every joint, got 11 of 11",
        "upside-down.npy: expected a person with y up",
        "walk.bvh: expected HIERARCHY and MOTION, the parts of a BVH, got other text",
    ):
        assert said in str(caught.value)


def test_gaps_and_exchanged_sides_are_doubtful(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_set(tmp_path / "lab")
    points = person(60)
    points[30:40] = np.nan
    np.save(folder / "gap.npy", points)
    main(["check", str(folder)])
    printed = capsys.readouterr().out
    assert "body studio: 5 train, 1 validation, 1 test" in printed
    assert "doubtful: gap.npy: 30 of 60 frames lack joints, or are apart from the longest run without gaps" in printed


def test_a_set_of_another_kind_or_name_among_bodies_is_refused(tmp_path: Path):
    folder = write_set(tmp_path / "data/body/other")
    with pytest.raises(MalformedData, match="expected the name 'other', its folder's, got 'studio'"):
        check(tmp_path / "data")
    (folder / "dataset.json").write_text(json.dumps({"kind": "hands"}))
    with pytest.raises(MalformedData, match='expected "kind": "bodies" in body/, got hands'):
        check(tmp_path / "data")
    declare(folder, name="other", fps=30)
    assert list(own_bodies(tmp_path / "data/body")) == ["other"]
