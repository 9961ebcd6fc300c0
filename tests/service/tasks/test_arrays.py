"""Tests of arrays in request bodies: malformed archives and bombs are problems, not server errors."""

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from service.http.problems import Problem
from service.tasks.arrays import INFLATED_BYTES, Shape, json_bytes, npz_fields, shaped

PAST = np.zeros((6, 42, 3), np.float32)


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    np.save(file := io.BytesIO(), array, allow_pickle=allow_pickle)
    return file.getvalue()


def archive(**members: bytes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as content:
        for name, member in members.items():
            content.writestr(f"{name}.npy", member)
    return file.getvalue()


def fields(data: bytes) -> dict:
    return npz_fields(data, ("past", "left", "right"), ("fps", "units"))


class Trap:
    """An object whose pickle fails the test when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_arrays_and_options_are_read():
    read = fields(archive(past=npy(PAST), fps=npy(np.array(30)), units=npy(np.array("mm")), more=b"of something else"))
    assert read == {"past": PAST.tobytes(), "fps": 30, "units": "mm", "shape": (6, 42, 3), "dtype": "<f4"}


MALFORMED = {
    "no archive": b"PK\x03\x04",
    "a member that is no array": archive(past=npy(PAST), fps=b"30"),
    "a header that is no literal": archive(past=npy(PAST).replace(b"(6, 42, 3)", b"((6, 42, 3")),
    "objects": archive(past=npy(np.array([Trap()], object), allow_pickle=True)),
    "a pickle": archive(past=pickle.dumps(Trap())),
    "text that is not Unicode": archive(past=npy(PAST), units=npy(np.array("mm"))[:-8] + b"\xff" * 8),
    "a bomb": archive(past=npy(np.zeros((400_000, 42, 3), np.float32))),
    "a bomb in an option": archive(past=npy(PAST), fps=npy(np.zeros(50_000_000))),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_archive_is_refused_without_large_allocations(name: str):
    tracemalloc.start()
    try:
        with pytest.raises(Problem, match="malformed-body"):
            fields(MALFORMED[name])
        assert tracemalloc.get_traced_memory()[1] < INFLATED_BYTES + 2 * len(MALFORMED[name])
    finally:
        tracemalloc.stop()


def test_a_signalling_nan_is_read_as_nan():
    signalling = np.array([0x7F800001] * 6, "<u4").tobytes()
    assert np.isnan(shaped(signalling, (1, 2, 3), "<f4", "", Shape((3,), (3,), "[frames, joints, 3]"))).all()


def test_an_array_that_is_not_contiguous_can_be_encoded_as_json():
    array = np.arange(12.0).reshape(3, 4)
    assert json_bytes({"a": array.T, "b": array[:, ::2]}) == json_bytes(
        {"a": array.T.tolist(), "b": array[:, ::2].tolist()}
    )
    with pytest.raises(TypeError, match="not JSON serializable: set"):
        json_bytes({"a": {1}})
