"""Tests of .off meshes."""

import pytest
from refusals import assert_refused

from benchmarks.fuzz.scans import GOOD, POINTS, TRIANGLES, lines
from models.scans.cloud import BadCloud, Degenerate, TooBig, Unreadable

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "off without a face": (
        ".off",
        f"OFF\n24 0 0\n{lines(POINTS.tolist())}".encode(),
        Degenerate,
        "with faces, got none",
    ),
    "off that is binary": (".off", b"OFF BINARY\n" + bytes(40), Unreadable, "text that begins with OFF"),
    "off cut short": (".off", GOOD["off"][1][:-8], Unreadable, "24 vertices and 30 faces|number of corners"),
    "off that announces more": (".off", GOOD["off"][1].replace(b"24 30", b"90 30"), Unreadable, "90 vertices"),
    "off that announces far more": (
        ".off",
        GOOD["off"][1].replace(b"24 30", b"9e15 3"),
        TooBig,
        "announces 9000000000000000",
    ),
    "off with a longer face": (
        ".off",
        GOOD["off"][1][: -len(lines([[3, *TRIANGLES[-1]]]))] + b"4 1 2 3\n",
        Unreadable,
        "corners",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])
