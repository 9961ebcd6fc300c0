"""Tests of the readers of untrusted pickles and array files: they return plain values, run no code, and allocate little."""

import io
import os
import pickle
import pickletools
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from training.data.untrusted import UntrustedFile, load_numpy, load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Runs:
    """A value that creates a file when pickle.load reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch '{self.file}'",)


def pickled(file: Path, value: object, protocol: int = pickle.HIGHEST_PROTOCOL) -> Path:
    file.write_bytes(pickle.dumps(value, protocol))
    return file


def assert_same(a: object, b: object) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict) and isinstance(b, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.dtype != object:
            np.testing.assert_array_equal(a, b)
            return
        a, b = a.ravel().tolist(), b.ravel().tolist()
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def objects(*shape: int, order: Literal["C", "F"] = "C") -> np.ndarray:
    """Return an object array of arrays, lists and numbers."""
    array = np.empty(shape, dtype=object, order=order)
    for number, place in enumerate(np.ndindex(*shape)):
        array[place] = [np.arange(number), [number, np.float32(number)], number][number % 3]
    return array


VALUES = {
    "labels": (["a", "b"], [3, 4]),  # the form of *_label.pkl
    "plain": {"a": [1, 2.5, None, True, b"bytes", "text", 10**30], ("b", 1): ()},
    "array": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big-endian": np.arange(5, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "text": np.array(["left", "right"]),
    "bytes": np.array([b"left", b"right"]),
    "flags": np.array([True, False]),
    "scalars": [np.float64(1.5), np.int16(-3), np.bool_(True)],
    "objects": objects(2, 3),
    "fortran objects": objects(2, 3, order="F"),
    "no shape": np.array({"S1": {"Walk": np.ones((2, 3), np.float32)}}, dtype=object),
    "equal arrays": np.array([None, None], dtype=object),
}
VALUES["equal arrays"][:] = [np.ones((4, 3)), np.zeros((4, 3))]  # NumPy would merge these into one array


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_plain_values_and_arrays_are_read_from_every_protocol(tmp_path, value, protocol):
    assert_same(load_pickle(pickled(tmp_path / "a.pkl", value, protocol)), value)


def test_shared_values_stay_shared(tmp_path):
    array = np.arange(3.0)
    first, second = load_pickle(pickled(tmp_path / "a.pkl", [array, array]))
    assert first is second
    first[0] = 7  # the array is writable
    assert second[0] == 7


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"labels": [1, evil]}, lambda evil: np.array([evil])])
def test_a_pickle_that_runs_a_command_is_refused_before_it_runs(tmp_path, wrap, protocol):
    created = tmp_path / "created"
    file = pickled(tmp_path / "a.pkl", wrap(Runs(created)), protocol)
    with pytest.raises(UntrustedFile, match=r"asks for (posix|nt|os)\.system"):
        load_pickle(file)
    assert not created.exists()
    with file.open("rb") as stream:
        pickle.load(stream)  # control: an unprotected reader runs the command
    assert created.exists()


@pytest.mark.parametrize(
    "function", ["builtins eval", "numpy fromfile", "numpy.core.multiarray fromfile", "numpy load", "builtins getattr"]
)
def test_other_functions_are_refused(tmp_path, function):
    file = tmp_path / "a.pkl"
    file.write_bytes(b"c" + function.replace(" ", "\n").encode() + b"\n(U\x01xtR.")
    pickletools.dis(file.read_bytes(), out=io.StringIO())  # checks that the pickle is well formed
    with pytest.raises(UntrustedFile, match="asks for " + function.replace(" ", r"\.")):
        load_pickle(file)


def state_of(shape: str, dtype: bytes, raw: bytes) -> bytes:
    """Build a pickle of an array with this state."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR"
        b"(I1\n(" + shape.encode() + b"tcnumpy\ndtype\n(U" + bytes([len(dtype)]) + dtype + b"I0\nI1\ntR"
        b"(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nC" + bytes([len(raw)]) + raw + b"tb."
    )


@pytest.mark.parametrize(
    "content",
    [
        state_of("I1000000000000\n", b"f8", b"12345678"),  # more numbers than bytes
        state_of("I2\n", b"f8", b"12345678"),
        state_of("I1\n", b"O8", b"12345678"),  # bytes as pointers to objects
        state_of("I1\n", b"V8", b"12345678"),
        b"cnumpy\nndarray\n(I1000000000000\ntR.",  # a direct call of the constructor
        b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x0fx.",  # a length beyond the end
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0fx.",
        b"](h\x00.",
        b"]q\x00h\x00a.",  # a list that contains itself
        b"cnumpy\ndtype\n.",
        b"no pickle",
        b"",
    ],
)
def test_malformed_and_hostile_pickles_are_refused(tmp_path, content):
    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    with pytest.raises(UntrustedFile):
        load_pickle(file)


@pytest.mark.parametrize("order", "<>")
def test_invalid_code_points_are_refused(tmp_path: Path, order: str):
    """Python raises SystemError when it converts them to str."""
    np.save(tmp_path / "a.npy", np.array(["walk", "\U0010ffff"], f"{order}U4"))
    assert np.asarray(load_numpy(tmp_path / "a.npy"))[1] == "\U0010ffff"
    np.save(tmp_path / "a.npy", np.array([0x110000, 1, 1, 1], f"{order}u4").view(f"{order}U4"))
    pickled(tmp_path / "a.pkl", np.array([0x110000], f"{order}u4").view(f"{order}U1"))
    for load, name in ((load_numpy, "a.npy"), (load_pickle, "a.pkl")):
        with pytest.raises(UntrustedFile, match="expected characters"):
            load(tmp_path / name)


# --- bounded by the size of the file ---

NESTED = b"".join(
    b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)
)  # each pair holds the previous one twice


def array(raw: bytes, shape: bytes = b"K\x01\x85") -> bytes:
    """Return opcodes that push an array of bytes with this raw content."""
    return b"cnumpy.core.multiarray\n_frombuffer\n(" + raw + b"cnumpy\ndtype\nU\x02u1\x85R" + shape + b"U\x01CtR"


HOSTILE = {
    "bytes as a number": array(b"J" + struct.pack("<i", 2_000_000_000)) + b".",
    "a shape": array(b"C\x011", b"(J" + struct.pack("<i", 2_000_000_000) + b"K\x00t") + b".",
    "a shape of giants": array(b"C\x011", b"(\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"2" * 5000 + b"t") + b".",
    "an announced length": b"\x80\x05\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "an announced length of a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"x.",
    "an announced frame": b"\x80\x04\x95" + struct.pack("<Q", 2**33) + b"].",
    "empty lists": b"\x80\x02(" + b"]" * 6_000 + b"l.",
    "marks": b"\x80\x02" + b"(" * 3_500 + b".",
    "memo entries": b"\x80\x04]" + b"\x94" * 4_000 + b".",
    "one array many times": b"\x80\x03(B" + struct.pack("<I", 200_000) + b"\0" * 200_000 + b"q\x00"
    + array(b"h\x00", b"J" + struct.pack("<i", 200_000) + b"\x85") * 2000 + b"l.",
    "one list as many arrays": b"\x80\x02(" + b"N" * 10_000 + b"lq\x00"
    + (b"cnumpy.core.multiarray\n_frombuffer\n(h\x00cnumpy\ndtype\nU\x01O\x85RJ" + struct.pack("<i", 10_000) + b"\x85U\x01CtR") * 40
    + b".",
    "a key of nested tuples": b"\x80\x02}K\x01\x85q\x00" + NESTED + b"K\x02s.",
    "text of a nested tuple": b"\x80\x02K\x01\x85q\x00" + NESTED + b"cnumpy\ndtype\nh\x3c\x85R.",
    "keys of one hash": b"\x80\x02}("
    + b"".join(b"\x8a\x0b" + ((2**61 - 1) * i).to_bytes(11, "little") + b"N" for i in range(500))
    + b"u.",
    "a slice of an array": array(b"C\x011") + b")K\x00s.",
}  # fmt: skip


@pytest.fixture
def allowance(monkeypatch: pytest.MonkeyPatch) -> int:
    """Scale the memory limit by 1/192, like the size of the test files."""
    monkeypatch.setattr("training.data.unpickle.ALLOWANCE", 2**18)
    return 2**18


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_small_file_cannot_allocate_much_memory(tmp_path: Path, content: bytes, allowance: int):
    """Some of these files take gigabytes or minutes in NumPy's and Python's readers."""
    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    del content
    tracemalloc.start()
    try:
        with pytest.raises(UntrustedFile):
            load_pickle(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * file.stat().st_size + allowance + 2**20


@pytest.mark.parametrize("index", [b"r" + struct.pack("<I", 2_000_000_000), b"p2000000000\n"])
def test_a_large_memo_index_allocates_no_memory(tmp_path: Path, index: bytes):
    """Python's unpickler allocates 3.1 GB for one of these."""
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02]" + index + b".")
    tracemalloc.start()
    try:
        assert load_pickle(tmp_path / "a.pkl") == []
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_nested_tuples_that_share_their_parts_are_read_once(tmp_path: Path):
    file = tmp_path / "a.pkl"
    file.write_bytes(b"\x80\x02K\x01\x85q\x00" + NESTED + b".")
    value, depth = load_pickle(file), 0
    while isinstance(value, tuple):
        value, depth = value[0], depth + 1
    assert depth == 61


@pytest.mark.usefixtures("allowance")
def test_a_data_set_of_many_small_values_is_read(tmp_path: Path):
    """The file has 1/192 of the names and labels of Kinetics-skeleton, within 1/192 of the memory limit."""
    labels = ([f"{i:011d}.skeleton" for i in range(1_250)], [i % 400 for i in range(1_250)])
    assert load_pickle(pickled(tmp_path / "a.pkl", labels, 2)) == labels
    assert load_pickle(pickled(tmp_path / "a.pkl", labels)) == labels


def test_a_consistent_state_is_read(tmp_path):
    file = tmp_path / "a.pkl"
    file.write_bytes(state_of("I1\n", b"f8", np.array([2.5]).tobytes()))
    np.testing.assert_array_equal(load_pickle(file), [2.5])


def test_a_file_over_the_size_limit_is_not_opened(tmp_path):
    file = pickled(tmp_path / "a.pkl", list(range(1000)))
    with pytest.raises(UntrustedFile, match="expected at most 100 bytes, got 2,760"):
        load_pickle(file, max_bytes=100)
    np.savez_compressed(tmp_path / "bomb.npz", zeros=np.zeros(100_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 10_000
    with pytest.raises(UntrustedFile, match="expected at most 10,000 bytes"):
        load_numpy(tmp_path / "bomb.npz", max_bytes=10_000)


@pytest.mark.parametrize("value", [v for v in VALUES.values() if isinstance(v, np.ndarray)])
def test_array_files_are_read_with_their_objects(tmp_path, value):
    np.save(tmp_path / "a.npy", value, allow_pickle=True)
    assert_same(load_numpy(tmp_path / "a.npy"), value)
    np.savez(tmp_path / "a.npz", allow_pickle=True, first=value, second=np.arange(3))
    arrays = load_numpy(tmp_path / "a.npz")
    assert isinstance(arrays, dict)
    assert_same(arrays, {"first": value, "second": np.arange(3)})


def test_an_array_file_that_runs_a_command_is_refused_before_it_runs(tmp_path):
    created = tmp_path / "created"
    evil = np.array([Runs(created)], dtype=object)
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "a.npz", allow_pickle=True, evil=evil)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UntrustedFile, match="system"):
            load_numpy(tmp_path / name)
    assert not created.exists()


def test_malformed_array_files_are_refused(tmp_path):
    np.save(tmp_path / "good.npy", np.arange(100.0))
    good = (tmp_path / "good.npy").read_bytes()
    huge = good.replace(b"(100,), }" + b" " * 12, b"(100000000000000,), }")
    np.save(tmp_path / "objects.npy", objects(4), allow_pickle=True)
    shrunk = (tmp_path / "objects.npy").read_bytes().replace(b"(4,)", b"(5,)")
    for content in (b"", b"text", good[:200], huge, shrunk):
        assert content != good
        (tmp_path / "bad.npy").write_bytes(content)
        with pytest.raises(UntrustedFile, match=r"bad\.npy"):
            load_numpy(tmp_path / "bad.npy")
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(UntrustedFile, match=r"bad\.npz is no \.npz file"):
        load_numpy(tmp_path / "bad.npz")
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("a.npy", b"text")
    with pytest.raises(UntrustedFile, match=r"array a\.npy"):
        load_numpy(tmp_path / "odd.npz")
