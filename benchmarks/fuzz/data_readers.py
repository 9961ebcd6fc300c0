"""The readers of training data: untrusted pickles and array files, and the check of a data folder."""

import io
import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io

from benchmarks.fuzz import containers
from benchmarks.fuzz.file_readers import MEMORY
from benchmarks.fuzz.harness import Reader
from training.check import check
from training.data.reading import MalformedData
from training.data.untrusted import UntrustedFile, load_numpy, load_pickle

FRAMES = 12
SPLITS = {"lab": {"train": ["a"], "validation": ["b"], "test": []}}


def _through(suffix: str, load: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a reader of bytes from a reader of files."""

    def read(data: bytes) -> object:
        with tempfile.NamedTemporaryFile(suffix=suffix, dir=MEMORY if MEMORY.is_dir() else None) as file:
            file.write(data)
            file.flush()
            return load(Path(file.name))

    return read


def _pickles() -> list[bytes]:
    value = {"labels": ["walk", "run"], "joints": np.ones((2, 3)), "of": ("S1", [1, 2.5, None, True]), 3: np.float32(1)}
    return [pickle.dumps(value, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]


def _saved(array: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), array, allow_pickle=True)
    return file.getvalue()


def _npys() -> list[bytes]:
    objects = np.array([{"S1": np.ones((2, 3), np.float32)}, ["a", 1]], dtype=object)
    return [_saved(np.arange(30.0).reshape(5, 6)), _saved(np.array(["left", "right"])), _saved(objects)]


def _npzs() -> list[bytes]:
    points, objects, text = _npys()
    return [containers.zipped({"points.npy": points, "names.npy": text, "subjects.npy": objects})]


def _hands() -> bytes:
    """Return hands/lab/lab.npz: two recordings of two hands."""
    rng = np.random.default_rng(0)
    np.savez_compressed(
        file := io.BytesIO(),
        joints=rng.normal(scale=50, size=(2 * FRAMES, 2, 21, 3)).astype(np.float32),
        valid=np.ones((2 * FRAMES, 2), bool),
        timestamp=np.tile(np.arange(FRAMES) / 30, 2),
        seq_start=np.array([0, FRAMES, 2 * FRAMES]),
        seq_name=np.array(["a", "b"]),
        label=np.array(["wave", "grasp"]),
    )
    return file.getvalue()


def _mat(compressed: bool) -> bytes:
    """Return body/penn_action/labels/0001.mat."""
    rng = np.random.default_rng(0)
    clip = {"x": rng.uniform(0, 300, (FRAMES, 13)), "y": rng.uniform(0, 300, (FRAMES, 13))}
    clip |= {"visibility": np.ones((FRAMES, 13)), "train": 1, "action": "bowl", "dimensions": [240, 320, FRAMES]}
    scipy.io.savemat(file := io.BytesIO(), clip, do_compression=compressed)
    return file.getvalue()


def _in_folder(name: str, others: dict[str, bytes]) -> Callable[[bytes], object]:
    """Return a reader that checks a data folder in which the file `name` is `data`."""

    def read(data: bytes) -> object:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            for path, content in {**others, name: data}.items():
                (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / path).write_bytes(content)
            return check(Path(folder))

    return read


LISTED, HANDS, MAT = "hands/splits.json", "hands/lab/lab.npz", "body/penn_action/labels/0001.mat"
SPLIT = json.dumps(SPLITS).encode()
READERS = {
    "data.pickle": Reader(_through(".pkl", load_pickle), _pickles, (UntrustedFile,)),
    "data.npy": Reader(_through(".npy", load_numpy), _npys, (UntrustedFile,)),
    "data.npz": Reader(_through(".npz", load_numpy), _npzs, (UntrustedFile,), containers.members),
    "data.hands": Reader(_in_folder(HANDS, {LISTED: SPLIT}), lambda: [_hands()], (MalformedData,), containers.members),
    "data.splits": Reader(_in_folder(LISTED, {HANDS: _hands()}), lambda: [SPLIT], (MalformedData,), containers.values),
    "data.mat": Reader(_in_folder(MAT, {}), lambda: [_mat(False), _mat(True)], (MalformedData,)),
}
