"""Tests of .stl meshes."""

import pytest
from refusals import assert_refused

from benchmarks.fuzz.scans import ply, stl_binary, stl_text
from models.scans.cloud import BadCloud, Degenerate, UnknownSuffix, Unreadable

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "another format's suffix": (".stl", ply("ascii"), UnknownSuffix, "like a .ply file"),
    "stl without a face": (".stl", bytes(84), Degenerate, "at least 4 points, got 0"),
    "stl cut short": (".stl", stl_binary()[:-1], Unreadable, "expected 1584 bytes .* announces 30 triangles, got 1583"),
    "text stl cut short": (".stl", stl_text()[:-40].encode(), Unreadable, "cut short"),
    "text stl without a corner": (".stl", stl_text().replace("vertex", "corner", 2).encode(), Unreadable, "3 vertices"),
    "stl that announces many": (".stl", bytes(80) + b"\xff" * 4, Unreadable, "announces 4294967295"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_the_expected_and_the_actual_content(name: str):
    assert_refused(*BAD[name])
