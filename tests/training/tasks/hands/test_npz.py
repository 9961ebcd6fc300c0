"""Tests of sources of hand motion in one .npz each: splits, units and refused files."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.tasks.hands.npz import MalformedSource, UnknownSource, read_hands
from training.tasks.hands.sources import hand_source

PERMISSIVE = ("tzionas", "leap", "thai_sign_leap", "ultraleap_tracking", "leap_playground", "leap_vrcollage")
SOURCES = ("assembly101_sample", "manipnet", "humoto", *PERMISSIVE)
ROOT = Path(__file__).parents[4]


@pytest.fixture
def hands(data_folder: Path) -> Path:
    return data_folder / "hands"


def some_source(folder: Path, **changes) -> Path:
    """Return a folder with a source `tiny` of two recordings of 3 and 4 frames, the first in train, with arrays changed."""
    rng = np.random.default_rng(0)
    arrays = {
        "joints": rng.normal(size=(7, 2, 21, 3)).astype(np.float32),
        "valid": np.ones((7, 2), bool),
        "timestamp": np.concatenate([np.arange(3), np.arange(4)]) / 30,
        "seq_start": np.array([0, 3, 7]),
        "seq_name": np.array(["one", "two"]),
        "label": np.array(["waving", "pinching"]),
    } | changes
    (folder / "tiny").mkdir()
    np.savez(folder / "tiny/tiny.npz", **{key: value for key, value in arrays.items() if value is not None})
    (folder / "splits.json").write_text(json.dumps({"tiny": {"train": ["one"], "test": []}}))
    return folder


@pytest.mark.parametrize("source", SOURCES)
def test_every_recording_is_in_one_split(hands, source):
    splits = [read_hands(hands, source, split) for split in ("train", "validation", "test")]
    names = [recording.name for split in splits for recording in split]
    assert sorted(names) == sorted(recording.name for recording in read_hands(hands, source))
    assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("source", SOURCES)
def test_hands_are_in_metres_where_valid_and_nan_where_absent(hands, source):
    with np.load(hands / source / f"{source}.npz") as arrays:
        joints, valid, times = arrays["joints"], arrays["valid"], arrays["timestamp"]
    recordings = read_hands(hands, source)
    assert sum(len(recording.clip) for recording in recordings) == len(joints)
    begin = 0
    for recording in recordings:
        clip, frames = recording.clip, slice(begin, begin + len(recording.clip))
        assert recording.source == source
        assert clip.joints.dtype == np.float32
        np.testing.assert_array_equal(clip.valid, valid[frames])
        np.testing.assert_array_equal(clip.times, times[frames])
        np.testing.assert_array_equal(np.isnan(clip.joints).all(axis=(2, 3)), ~clip.valid)
        np.testing.assert_allclose(1000 * clip.joints[clip.valid], joints[frames][valid[frames]], rtol=1e-6)
        begin += len(clip)
    index = np.linalg.norm(
        np.concatenate([r.clip.joints[:, :, 8] - r.clip.joints[:, :, 5] for r in recordings]), axis=-1
    )
    assert 0.06 < np.nanmedian(index) < 0.13  # wrist to index MCP, metres


def words(path: Path) -> str:
    """Return a text with single spaces for all white space."""
    return " ".join(path.read_text().split())


@pytest.mark.parametrize("source", PERMISSIVE)
def test_the_notice_keeps_the_licence_and_the_attribution_of_recordings_that_may_be_shipped(hands, source):
    (licence,) = (hands / source).glob("LICENSE-*.txt")
    terms = words(licence).partition("END OF TERMS AND CONDITIONS")[0]  # not the appendix that one copy lacks
    kept = "LICENSE" if licence.name == "LICENSE-Apache-2.0.txt" else "NOTICE"
    assert terms in words(ROOT / kept)
    own = hand_source(source)
    assert own.licence == licence.stem.removeprefix("LICENSE-")
    assert own.attribution in words(ROOT / "NOTICE")


def test_labels_and_names_equal_those_of_the_file(tmp_path):
    one, two = read_hands(some_source(tmp_path), "tiny")
    assert (one.name, one.label, len(one.clip)) == ("one", "waving", 3)
    assert (two.name, two.label, len(two.clip)) == ("two", "pinching", 4)
    assert [recording.name for recording in read_hands(tmp_path, "tiny", "train")] == ["one"]
    assert read_hands(tmp_path, "tiny", "test") == []


def test_an_unknown_source_or_split_is_refused_with_those_that_exist(tmp_path):
    some_source(tmp_path)
    with pytest.raises(UnknownSource, match=r"the sources in .* are: tiny"):
        read_hands(tmp_path, "large")
    with pytest.raises(UnknownSource, match="tiny has no split 'validation'; it has train, test"):
        read_hands(tmp_path, "tiny", "validation")
    (tmp_path / "splits.json").write_text("{}")
    with pytest.raises(UnknownSource, match="has no source 'tiny'"):
        read_hands(tmp_path, "tiny", "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid": None}, "missing: valid"),
        ({"joints": np.zeros((7, 42, 3), np.float32)}, r"expected joints \(N, 2, 21, 3\).*got \(7, 42, 3\)"),
        ({"seq_start": np.array([0, 3, 8])}, "and 8"),
        ({"seq_name": np.array(["first", "two"])}, "names recordings of tiny, train, that .* lacks: one"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, changes, message):
    with pytest.raises(MalformedSource, match=message):
        read_hands(some_source(tmp_path, **changes), "tiny", "train")
