"""Tests of the reader of MATLAB files: it agrees with SciPy, and refuses damaged files."""

import io
from random import Random
from typing import Any

import numpy as np
import pytest
import scipy.io

from benchmarks.fuzz.mutation import mutate
from training.data.mat import read_mat
from training.data.unpickle import UntrustedFile

CONTENT: dict[str, Any] = {
    "x": np.arange(26.0).reshape(2, 13),
    "y": np.arange(26, dtype=np.uint8).reshape(2, 13),
    "flag": -1,
    "wide": np.array([[70_000, 2]], np.int32),
    "action": "bowl",
    "empty": np.zeros((0, 3)),
}
LIMIT = 2**20


def saved(compressed: bool, **content: Any) -> bytes:
    scipy.io.savemat(file := io.BytesIO(), content or CONTENT, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_matrices_and_text_are_read_as_scipy_reads_them(compressed: bool):
    data = saved(compressed)
    expected = scipy.io.loadmat(io.BytesIO(data))
    actual = read_mat(data, CONTENT, LIMIT)
    assert actual.keys() == CONTENT.keys()
    assert actual.pop("action") == expected["action"].item()
    for name, array in actual.items():
        assert isinstance(array, np.ndarray)
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name])


def test_other_variables_are_skipped():
    assert read_mat(saved(False, x=[1.0], other={"a": 1}), ("x",), LIMIT).keys() == {"x"}


@pytest.mark.parametrize("value", [1j, {"a": 1}, np.array(["ab", "cd"]), np.zeros((2, 2, 2))])
def test_values_other_than_real_matrices_and_text_are_refused(value: Any):
    with pytest.raises(UntrustedFile):
        read_mat(saved(False, x=value), ("x",), LIMIT)


def test_a_bomb_is_not_unpacked():
    with pytest.raises(UntrustedFile, match="expected fewer bytes"):
        read_mat(saved(True, x=np.zeros((1000, 1000))), ("x",), LIMIT)


def test_a_damaged_file_is_read_or_refused():
    """Some of these files crash SciPy's reader."""
    rng = Random(0)
    for seed in (saved(False), saved(True)):
        for _ in range(300):
            try:
                read_mat(mutate(rng, seed), CONTENT, LIMIT)
            except UntrustedFile:
                continue
