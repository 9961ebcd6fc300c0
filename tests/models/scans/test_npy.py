"""Tests of clouds as arrays, .npy."""

import pickle
import struct
from random import Random

import numpy as np
import pytest
from hypothesis import given
from refusals import assert_refused
from variants import FEW, SEEDS, some_points

from benchmarks.fuzz.scans import POINTS, npy
from models.scans.cloud import BadCloud, Degenerate, Unreadable
from models.scans.files import read_scan

HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 3), }\n"
HUGE = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(HEADER)) + HEADER.encode()
NAN = POINTS.copy()
NAN[5, 1] = np.nan


class Bomb:
    """An object whose pickle fails the test when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "one point in an npy": (".npy", npy(POINTS[:1]), Degenerate, "got 1"),
    "points all equal": (".npy", npy(np.ones((50, 3))), Degenerate, "got 50 that are all equal"),
    "npy of objects": (".npy", npy(np.array([Bomb()] * 4, object), allow_pickle=True), Unreadable, "not of objects"),
    "pickle called npy": (".npy", pickle.dumps(Bomb()), Unreadable, "begins with"),
    "npy of words": (".npy", npy(np.array([["a", "b", "c"]])), Unreadable, "real numbers"),
    "npy of complex numbers": (".npy", npy(POINTS + 1j), Unreadable, "real numbers"),
    "npy of records": (".npy", npy(np.zeros(5, [("x", "f4")])), Unreadable, "records"),
    "npy of another shape": (
        ".npy",
        npy(np.tile(POINTS, (4, 1)).T),
        Unreadable,
        r"\(points, 3 to 64\), got \(3, 96\)",
    ),
    "npy of three axes": (".npy", npy(POINTS[None]), Unreadable, r"got \(1, 24, 3\)"),
    "npy cut short": (".npy", npy(POINTS)[:-1], Unreadable, "expected 576 bytes for .* got 575"),
    "npy too long": (".npy", npy(POINTS) + b"0", Unreadable, "got 577"),
    "npy that announces terabytes": (".npy", HUGE, Unreadable, "got 0"),
    "npy with a false shape": (".npy", npy(POINTS).replace(b"(24, 3)", b"(24,-3)"), Unreadable, "expected a shape"),
    "npy that computes": (".npy", npy(POINTS).replace(b"(24, 3)", b"[9**9]*"), Unreadable, "expected descr"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


@FEW
@given(SEEDS)
def test_every_way_to_write_an_npy_gives_the_same_scan(seed: int):
    rng = Random(seed)
    points = some_points(rng)
    dtype = np.dtype(rng.choice(("<f4", ">f4", "<f8", ">f8")))
    table = np.hstack([points, np.full((len(points), rng.randint(0, 4)), 7.0)]).astype(dtype)
    scan = read_scan(npy(rng.choice((np.ascontiguousarray, np.asfortranarray))(table)), ".npy")
    np.testing.assert_array_equal(scan.points, points)
