"""Tests of sources of hand motion: their names, their readers, the check, and their licences."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from laws import hand_motion

from training.data.licences import UnknownLicence
from training.tasks.hands import assembly101
from training.tasks.hands.check import check_hands
from training.tasks.hands.data import HandData
from training.tasks.hands.sources import AmbiguousSource, hand_source
from training.tasks.hands.windows import Window

WINDOW = Window(6, 6, 60)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder with Assembly101 as published: one recording and one segment for each split."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "data" / "hands" / "assembly101"
    (root / "landmarks3D").mkdir(parents=True)
    (root / assembly101.ANNOTATION_FOLDER).mkdir()
    for number, split in enumerate(("train", "validation", "test")):
        joints = 1000 * hand_motion(40, 42, batch=1, seed=number)[0].reshape(40, 2, 21, 3)
        frames = {str(i): {"0": left.tolist(), "1": right.tolist()} for i, (left, right) in enumerate(joints)}
        (root / "landmarks3D" / f"{split}-recording.json").write_text(json.dumps(frames))
        with (root / assembly101.ANNOTATION_FOLDER / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(assembly101.COLUMNS)
            rows.writerow((f"{split}-recording", 5, 34, "pick up toy", "pick up", "toy"))
    return tmp_path / "data"


def test_a_source_has_its_licence():
    entry = hand_source("tzionas").trained_on(14)
    assert (entry.name, entry.licence, entry.recordings) == ("tzionas", "MIT", 14)


def test_a_source_without_a_known_licence_gets_no_bundle():
    with pytest.raises(UnknownLicence, match="the licence of mine is not known"):
        hand_source("mine").trained_on(1)


def test_an_unregistered_source_is_read_from_the_npz_file_of_its_name(synthetic_data: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.npz").write_bytes((synthetic_data / "hands" / "leap" / "leap.npz").read_bytes())
    names = {recording.name for recording in hand_source("mine").read(tmp_path, None)}
    assert names == {"walk", "wave", "check", "meet", "part", "alone"}


def test_the_published_assembly101_can_be_used_like_other_sources(release: Path):
    batches = HandData(("assembly101",), WINDOW).load(release)
    assert [batches.recordings(split, "assembly101") for split in ("train", "validation", "test")] == [1, 1, 1]
    windows = batches.windows("test", 2, phases="first")
    assert windows.recordings == [("assembly101", "test-recording", "pick up toy")]
    assert len(windows) == 30 - 11  # pose frames 5 to 34
    inputs, future = batches.training_batch(0, 0)
    assert np.isfinite(inputs["past"]).all()
    assert future.shape[1] == 6
    assert len(hand_source("assembly101").read(release / "hands", None)) == 3


def test_the_check_reads_published_sources_and_leaves_the_data_folder_as_it_is(release: Path):
    before = sorted(release.rglob("*"))
    counted = list(check_hands(release / "hands"))
    assert counted == [("assembly101", split, 1) for split in ("train", "validation", "test")]
    assert sorted(release.rglob("*")) == before


EXTENSION = """
from training.tasks.hands.npz import read_hands
from training.tasks.hands.recordings import HandSource

SOURCE = HandSource({name!r}, "CC0", "me", lambda folder, split: read_hands(folder / "from-elsewhere", "leap", split))
"""


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that lists an extension file with a source of a name."""

    def add(name: str) -> None:
        path = tmp_path / f"extension_{name}.py"
        path.write_text(EXTENSION.format(name=name))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("CHIRON_EXTENSIONS", str(path))

    return add


def test_a_source_from_an_extension_is_read_by_data_and_by_the_check(extension, synthetic_data: Path, tmp_path: Path):
    extension("mine")
    shutil.copytree(synthetic_data / "hands", tmp_path / "hands" / "from-elsewhere")
    (tmp_path / "hands" / "splits.json").write_text("{}")
    (tmp_path / "hands" / "mine").mkdir()
    batches = HandData(("mine",), Window(6, 6, 30)).load(tmp_path)
    assert batches.recordings("train", "mine") == 2
    assert len(batches.windows("test", 2, phases="first")) > 0
    assert hand_source("mine").trained_on(2).licence == "CC0"
    assert [(name, split) for name, split, _ in check_hands(tmp_path / "hands")] == [
        ("mine", split) for split in ("train", "validation", "test")
    ]


def test_two_sources_of_one_name_are_refused(extension):
    extension("leap")
    with pytest.raises(AmbiguousSource, match="two sources of hand motion have the name 'leap'"):
        hand_source("leap")
