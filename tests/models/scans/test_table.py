"""Tests of tables of points as text: .xyz, .txt and .csv."""

import numpy as np
import pytest
from refusals import assert_refused

from benchmarks.fuzz.scans import POINTS, lines, ply
from models.scans.cloud import BadCloud, Degenerate, NotFinite, UnknownSuffix, Unreadable

NAN, INF = POINTS.copy(), POINTS.copy()
NAN[5, 1], INF[7, 2] = np.nan, np.inf

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "ply called xyz": (".xyz", ply("ascii"), UnknownSuffix, "like a .ply file"),
    "blank": (".xyz", b" \n\t\r\n", Degenerate, "empty"),
    "only a comment": (".xyz", b"# nothing\n", Degenerate, "at least 4 points, got 0"),
    "one point": (".xyz", b"1 2 3\n", Degenerate, "at least 4 points, got 1"),
    "points all equal, far away": (".xyz", b"1000.1 7 7\n" * 50, Degenerate, "all equal"),
    "nan in text": (".xyz", lines(NAN.tolist()).encode(), NotFinite, "point 5"),
    "larger than a double": (".xyz", b"1e999 0 0\n" * 4, NotFinite, "infinity"),
    "table of two columns": (".xyz", b"1 2\n3 4\n5 6\n7 8\n", Unreadable, "3 to 64 numbers in a row, got 2"),
    "ragged table": (
        ".xyz",
        b"1 2 3\n4 5 6\n7 8\n9 1 2 3\n",
        Unreadable,
        "expected 3 numbers in every row, .* got 2 in row 2",
    ),
    "infinity": (".csv", lines(INF.tolist(), ",").encode(), NotFinite, "point 7"),
    "names without x y z": (".csv", b"a,b,c\n1,2,3\n", Unreadable, "expected x, y and z"),
    "decimal pointss": (".csv", b"1,5 2,5 3,5\n", Unreadable, "one separator"),
    "decimal pointss and semicolons": (".csv", b"1,5;2,5;3,5\n", Unreadable, "decimal points"),
    "a number left out": (".csv", b"1,2,3\n4,,6\n", Unreadable, "nothing at a ','"),
    "words": (".txt", b"1 2 3\n4 5 six\n", Unreadable, "expected numbers in a table"),
    "half words": (".txt", b"1 2 3\n4 5 6-6e\n", Unreadable, "6 words that are not all numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_the_expected_and_the_actual_content(name: str):
    assert_refused(*BAD[name])
