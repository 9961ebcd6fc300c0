"""Tests of the check of recordings of one's own: it says what is wrong before a step is taken, on the command line and in a job."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_hands import DECLARED, as_mediapipe, motion, write_set

from training.__main__ import main
from training.check import check
from training.data.reading import MalformedData
from training.tasks.hands.own.check import check_set
from training.tasks.hands.own.declaration import Declaration
from training.tasks.hands.own.sets import own_sets


def test_recordings_are_counted_by_split_and_every_split_has_one(tmp_path: Path):
    folder = write_set(tmp_path / "lab")
    assert check(folder) == {"hands": {"lab": {"train": 4, "validation": 1, "test": 1}}}
    checked = check_set(folder)
    assert dict(checked.hands) == {"the right hand alone": 6}
    assert checked.seconds["train"] == pytest.approx(4 * 59 / 30, abs=0.01)
    assert checked.warnings == []


def test_a_set_may_be_a_part_of_a_data_folder(tmp_path: Path):
    write_set(tmp_path / "data/hands/lab")
    assert check(tmp_path / "data") == {"hands": {"lab": {"train": 4, "validation": 1, "test": 1}}}
    assert own_sets(tmp_path / "data/hands")["lab"].part == "hands"
    (tmp_path / "data/hands/lab").rename(tmp_path / "data/hands/other")
    with pytest.raises(MalformedData, match="expected the name 'other', its folder's, got 'lab'"):
        check(tmp_path / "data")


def test_the_digest_covers_recordings_and_splits_and_neither_licence_nor_name(tmp_path: Path):
    def digest(folder: Path) -> str:
        return own_sets(folder / "hands")[json.loads((folder / "dataset.json").read_text())["name"]].sha256

    first = digest(write_set(tmp_path / "a"))
    assert first == digest(write_set(tmp_path / "b", name="other", licence="MIT"))
    assert first != digest(write_set(tmp_path / "c", splits={"seed": 1}))
    assert first != digest(write_set(tmp_path / "d", frames=61))


def test_the_digest_of_a_declaration_is_that_of_earlier_versions():
    assert Declaration.model_validate({**DECLARED, "splits": {"seed": 2}}).deciding == (
        '{"kind":"hands","joints":"mediapipe","units":"m","axes":"right-handed","fps":null,"hand":null,"exchange_hands":false,'
        '"splits":{"seed":2,"validation":0.2,"test":0.2}}'
    )


def test_splits_are_drawn_by_recording_and_the_same_again(tmp_path: Path):
    source = own_sets(write_set(tmp_path / "lab", 10) / "hands")["lab"]
    parts = {
        split: {one.name for one in source.read(tmp_path / "lab/hands", split)}
        for split in ("train", "validation", "test")
    }
    assert [len(part) for part in parts.values()] == [6, 2, 2]
    assert len(set.union(*parts.values())) == 10


def test_splits_may_be_given_by_name_or_pattern(tmp_path: Path):
    given = {"train": ["wave-[0-3].jsonl"], "validation": ["wave-4.jsonl"], "test": ["wave-5.jsonl"]}
    assert check(write_set(tmp_path / "lab", splits=given))["hands"]["lab"] == {"train": 4, "validation": 1, "test": 1}


SPLITS = {"train": ["wave-0.jsonl"], "validation": ["wave-1.jsonl"], "test": ["wave-2.jsonl"]}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"splits": {**SPLITS, "dev": ["wave-3.jsonl"]}}, "splits: expected the splits train, validation, test, got 'dev'"),
        ({"splits": {"seed": 0, "dev": 0.5}}, "splits: expected seed, validation and test, got 'dev'"),
        ({"splits": SPLITS}, r"wave-3\.jsonl is in no split"),
        ({"splits": {**SPLITS, "train": ["wave-*"]}}, r"wave-1\.jsonl is in train and in validation"),
        ({"splits": {**SPLITS, "train": ["walk"]}}, "train names 'walk', and there is no such recording"),
        ({"splits": {"validation": 0.6, "test": 0.6}}, "expected shares of less than 1 together"),
        ({"kind": "feet"}, "kind: expected one of hands, faces, bodies, got 'feet'"),
        ({"licence": ""}, "licence: expected at least 1 character, got 0"),
        ({"joints": "feet"}, "joints: expected a joint order, one of assembly101"),
        ({"units": "furlong"}, "units: expected a unit of length"),
        ({"rate": 30}, "rate: there is no such field"),
        ({"name": "tzionas"}, "'tzionas' is a source that Chiron knows"),
        ({"units": "mm"}, r"wave-0\.jsonl: expected a hand of 8 cm to 32 cm, got 0\.19 mm read in mm; it would fit in m"),
        ({"joints": "openxr"}, r"wave-0\.jsonl: frame 0, left hand: expected 26 joints of openxr, got 21"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(declared: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(MalformedData, match=message):
        check(write_set(tmp_path / "lab", **declared))


def lines(hands: np.ndarray) -> str:
    return "\n".join(json.dumps(as_mediapipe(hand, 33 * i)) for i, hand in enumerate(hands))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.jsonl: expected at least 2 frames, got 0"),
        (lines(motion(5)), r"a\.jsonl: expected at least 12 frames, got 5"),
        (lines(motion(20) * 0), r"a\.jsonl: expected a hand in at least one frame, got none"),
        (
            lines(motion(20) * 1000),
            r"a\.jsonl: expected a hand of 8 cm to 32 cm, got 187 m read in m; it would fit in mm",
        ),
        (lines(motion(20)[:, ::-1]), r"a\.jsonl: expected a hand in mediapipe order"),
        ('{"timestamp_ms": 0', r"a\.jsonl: line 1: expected JSON"),
    ],
)
def test_a_wrong_recording_is_named(content: str, message: str, tmp_path: Path):
    folder = write_set(tmp_path / "lab")
    (folder / "a.jsonl").write_text(content)
    with pytest.raises(MalformedData, match=message):
        check(folder)


def test_every_wrong_recording_is_named_at_once(tmp_path: Path):
    folder = write_set(tmp_path / "lab")
    for number in range(12):
        (folder / f"empty-{number:02}.csv").write_text("time\n")
    with pytest.raises(MalformedData, match=r"empty-00\.csv: .*; empty-09\.csv: .*; and 2 more$"):
        check(folder)


def test_a_set_without_recordings_is_refused(tmp_path: Path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/dataset.json").write_text(json.dumps(DECLARED))
    with pytest.raises(MalformedData, match=r"expected 1 to 100,000 recordings .* got 0"):
        check(tmp_path / "lab")


def test_joints_that_are_often_missing_are_doubtful(tmp_path: Path):
    folder, notes = write_set(tmp_path / "lab"), list[str]()
    frames = [as_mediapipe(hand, 33 * i) for i, hand in enumerate(motion(30))]
    for frame in frames[::3]:
        frame["hand_world_landmarks"][0][4] = None
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, frames)))
    check(folder, note=notes.append)
    assert notes == ["a.jsonl: the right hand lacks joints in 10 of 30 frames, which are not used"]


def test_the_command_prints_counts_and_windows_or_the_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_set(tmp_path / "lab")
    main(["check", str(folder), "--preset", "10+10@30"])
    printed = capsys.readouterr().out
    assert "hands lab: 4 train, 1 validation, 1 test" in printed
    assert "| lab | train | 10+10@30 |" in printed
    shutil.copyfile(folder / "dataset.json", folder / "more.json")
    with pytest.raises(SystemExit):
        main(["check", str(folder)])
    assert "more.json: expected `frames`, or arrays" in capsys.readouterr().err
