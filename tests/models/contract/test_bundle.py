"""Tests of bundles: atomic writes, checksums, the stored example, and the model card."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.contract.bundle import (
    EXAMPLE,
    MAX_META_BYTES,
    META,
    MODEL,
    BadBundle,
    Bundle,
    BundleMeta,
    Measurement,
    TrainingSource,
    model_card,
    read_bundle,
    repeat_example,
    write_bundle,
)
from models.contract.task import FaceLandmarks, HandForecast
from models.contract.tensor import WrongShape

TASK = HandForecast(past=4, future=2, fps=30)
INPUTS = {"past": np.random.default_rng(0).normal(size=(1, 4, 42, 3)).astype(np.float32)}
OUTPUTS = {"future": np.repeat(INPUTS["past"][:, None, -1:], 2, axis=2)}


def hold(inputs: Any) -> dict[str, np.ndarray]:
    return {"future": np.repeat(inputs["past"][:, None, -1:], 2, axis=2)}


def meta(**changes: Any) -> BundleMeta:
    content = {
        "name": "hands-made-up",
        "title": "Made up",
        "task": TASK,
        "symmetries": ("translation", "rotation"),
        "network": "Hold",
        "parameters": 12345,
        "opset": 20,
        "licence": "Apache-2.0",
        "trained_on": (TrainingSource(name="leap", licence="Apache-2.0", attribution="Leap Motion", recordings=17),),
        "measurements": (
            Measurement(
                metric="MPJPE", value=21.25, unit="mm", split="test", source="leap", windows=100, recordings=4,
                baseline="damped velocity", baseline_value=30.04, interval=(18.04, 25.0),
            ),
            Measurement(metric="MPJPE", value=9.0, unit="mm", split="test", source="tzionas", windows=3, recordings=1),
        ),
        "command": "python -m training export hands-made-up",
        "git_commit": "0123456789abcdef" * 2,
        "made_with": {"torch": "2.13.0"},
    }  # fmt: skip
    return BundleMeta(**{**content, **changes})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "hands-made-up", meta(), b"a graph", INPUTS, OUTPUTS, {"model.ts": b"a copy"})


def test_a_bundle_is_read_as_it_was_written(bundle: Bundle):
    again = read_bundle(bundle.folder)
    assert again == bundle
    assert again.model.read_bytes() == b"a graph"
    assert set(again.meta.files) == {MODEL, EXAMPLE, "model.ts"}
    inputs, outputs = again.example()
    assert np.array_equal(inputs["past"], INPUTS["past"])
    assert np.array_equal(outputs["future"], OUTPUTS["future"])


def test_a_version_depends_on_the_files_alone(tmp_path: Path, bundle: Bundle):
    same = write_bundle(tmp_path / "same", meta(title="Other"), b"a graph", INPUTS, OUTPUTS, {"model.ts": b"a copy"})
    other = write_bundle(tmp_path / "other", meta(), b"a Graph", INPUTS, OUTPUTS, {"model.ts": b"a copy"})
    fewer = write_bundle(tmp_path / "fewer", meta(), b"a graph", INPUTS, OUTPUTS)
    assert len(bundle.meta.version) == 12
    assert same.meta.version == bundle.meta.version
    assert len({bundle.meta.version, other.meta.version, fewer.meta.version}) == 3


def test_fields_that_are_not_used_are_not_written(bundle: Bundle):
    content = json.loads((bundle.folder / META).read_text())
    assert bundle.meta.graph_commit is None
    assert "graph_commit" not in content, "expected a file that a service without this field can read"
    assert "interval" not in content["measurements"][1]


def test_writing_over_a_bundle_is_refused(bundle: Bundle):
    with pytest.raises(FileExistsError, match="never changed"):
        write_bundle(bundle.folder, meta(), b"another graph", INPUTS, OUTPUTS)
    assert read_bundle(bundle.folder).model.read_bytes() == b"a graph"


def test_a_bundle_is_written_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="disk"):
        write_bundle(tmp_path / "hands-made-up", meta(), b"a graph", INPUTS, OUTPUTS)
    assert list(tmp_path.iterdir()) == []


def test_an_example_that_does_not_fit_the_task_is_not_written(tmp_path: Path):
    with pytest.raises(WrongShape, match="the input of the example of hands-made-up: expected past"):
        write_bundle(tmp_path / "b", meta(), b"", {"past": INPUTS["past"][:, 1:]}, OUTPUTS)
    with pytest.raises(WrongShape, match="the output of the example of hands-made-up: expected future"):
        write_bundle(tmp_path / "b", meta(), b"", INPUTS, {"future": OUTPUTS["future"].astype(np.float64)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [MODEL, EXAMPLE, "model.ts"])
def test_a_changed_file_is_refused(bundle: Bundle, name: str):
    content = bytearray((bundle.folder / name).read_bytes())
    content[0] ^= 1
    (bundle.folder / name).write_bytes(content)
    with pytest.raises(BadBundle, match=rf"{name} is not the file that was written: its checksum"):
        read_bundle(bundle.folder)


@pytest.mark.parametrize("name", [MODEL, EXAMPLE])
def test_a_missing_file_is_refused(bundle: Bundle, name: str):
    (bundle.folder / name).unlink()
    with pytest.raises(BadBundle, match=f"lacks {name}"):
        read_bundle(bundle.folder)


def tampered(bundle: Bundle, change: Any) -> Path:
    path = bundle.folder / META
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return bundle.folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["files"].pop(MODEL), f"lists no {MODEL}"),
        (lambda c: c["files"].pop(EXAMPLE), f"lists no {EXAMPLE}"),
        (lambda c: c["files"].update({"../secret": c["files"][MODEL]}), r"lacks \.\./secret"),
        (lambda c: c.update(format=2), "not a bundle of format 1"),
        (lambda c: c.update(name="../up"), "not a bundle of format 1"),
        (lambda c: c.update(symmetries=["scale"]), "not a bundle of format 1"),
        (lambda c: c.update(colour="red"), "not a bundle of format 1"),
        (lambda c: c["files"][MODEL].update(sha256="0" * 64), "its checksum differs"),
    ],
)
def test_metadata_that_does_not_describe_the_folder_is_refused(bundle: Bundle, change: Any, message: str):
    with pytest.raises(BadBundle, match=message):
        read_bundle(tampered(bundle, change))


def test_a_folder_that_is_not_a_bundle_is_refused(tmp_path: Path):
    with pytest.raises(BadBundle, match=f"has no {META}"):
        read_bundle(tmp_path)
    (tmp_path / META).write_text("not json")
    with pytest.raises(BadBundle, match="not a bundle of format 1"):
        read_bundle(tmp_path)
    (tmp_path / META).write_bytes(b" " * (MAX_META_BYTES + 1))
    with pytest.raises(BadBundle, match=f"at most {MAX_META_BYTES} bytes, got {MAX_META_BYTES + 1}"):
        read_bundle(tmp_path)


def test_only_a_function_that_repeats_the_example_is_accepted(bundle: Bundle):
    assert repeat_example(bundle, hold) == 0

    def nearly(inputs: Any) -> dict[str, np.ndarray]:
        return {"future": hold(inputs)["future"] + np.float32(1e-4)}

    def nan(inputs: Any) -> dict[str, np.ndarray]:
        return {"future": np.full_like(hold(inputs)["future"], np.nan)}

    with pytest.raises(BadBundle, match=r"hands-made-up does not repeat its example: .* got 1\.0.*e-04"):
        repeat_example(bundle, nearly)
    with pytest.raises(BadBundle, match="got nan"):
        repeat_example(bundle, nan)


FACE = FaceLandmarks(levels=(12, 6), neighbours=3, parents=2)
SCAN = {
    "points": np.random.default_rng(1).normal(size=(1, 12, 3)),
    "neighbours": np.zeros((1, 18, 3), np.int64),
    "parents": np.zeros((1, 12, 2), np.int64),
}


def answer(**changes: np.ndarray) -> dict[str, np.ndarray]:
    outputs = {
        "heatmaps": np.zeros((1, 68, 12), np.float32),
        "landmarks": np.zeros((1, 68, 3)),
        "confidence": np.zeros((1, 68), np.float32),
    }
    return {**outputs, **changes}


@pytest.mark.parametrize("name", ["heatmaps", "landmarks", "confidence"])
def test_a_nan_in_any_of_several_outputs_is_a_difference(tmp_path: Path, name: str):
    bundle = write_bundle(tmp_path / "faces", meta(task=FACE), b"a graph", SCAN, answer())
    assert repeat_example(bundle, lambda _: answer()) == 0
    with_nan = answer()[name]
    with_nan.flat[7] = np.nan
    with pytest.raises(BadBundle, match="got nan"):
        repeat_example(bundle, lambda _: answer(**{name: with_nan}))
    bundle_with_nan = write_bundle(tmp_path / "nan", meta(task=FACE), b"a graph", SCAN, answer(**{name: with_nan}))
    for repeated in (answer(), answer(**{name: with_nan})):
        with pytest.raises(BadBundle, match="got nan"):
            repeat_example(bundle_with_nan, lambda _, repeated=repeated: repeated)


def test_a_missing_output_or_one_of_another_shape_is_a_difference(tmp_path: Path):
    bundle = write_bundle(tmp_path / "faces", meta(task=FACE), b"a graph", SCAN, answer())
    incomplete = answer()
    del incomplete["confidence"]
    for repeated in (incomplete, answer(landmarks=np.zeros((1, 1, 3)))):
        with pytest.raises(BadBundle, match="got nan"):
            repeat_example(bundle, lambda _, repeated=repeated: repeated)


def test_the_model_card_contains_the_metadata(bundle: Bundle):
    card = (bundle.folder / "README.md").read_text()
    assert card == model_card(bundle.meta)
    assert "# Made up" in card
    assert f"version `{bundle.meta.version}`" in card
    assert "12,345 parameters" in card
    assert "| leap | 17 | Apache-2.0 | Leap Motion |" in card
    assert "| MPJPE | test | leap | 21.2 mm | 30.0 mm (damped velocity) | 100 | 4 | 18.0 to 25.0 |" in card
    assert "| MPJPE | test | tzionas | 9.0 mm |  | 3 | 1 |  |" in card


@pytest.mark.parametrize("name", ["", "Hands", "hands_eq", "-hands", "hands--eq", "a/b", "a" * 65])
def test_a_name_that_is_unsafe_in_a_path_or_url_is_refused(name: str):
    with pytest.raises(ValueError, match="name"):
        meta(name=name)


def with_example(bundle: Bundle, content: bytes) -> Bundle:
    """Return the bundle with another example and its correct checksum."""
    (bundle.folder / EXAMPLE).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return read_bundle(tampered(bundle, lambda c: c["files"].update({EXAMPLE: entry})))


def npz(**arrays: np.ndarray) -> bytes:
    np.savez_compressed(file := io.BytesIO(), allow_pickle=True, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK", "expected a .npz archive"),
        (npz(in_past=INPUTS["past"]), "expected tensors"),
        (npz(in_past=INPUTS["past"][:, 1:], out_future=OUTPUTS["future"]), "expected past of shape"),
        (npz(in_past=np.array([[0]], object), out_future=OUTPUTS["future"]), "not of objects"),
        (npz(in_past=np.zeros((1, 3_000_000)), out_future=OUTPUTS["future"]), "at most 8388608 bytes"),
    ],
)
def test_a_malformed_example_is_refused(bundle: Bundle, content: bytes, message: str):
    with pytest.raises(BadBundle, match=message):
        repeat_example(with_example(bundle, content), hold)
