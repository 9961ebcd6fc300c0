"""Tests of .stl meshes."""

import numpy as np
import pytest
from refusals import assert_refused

from benchmarks.fuzz.scans import SOUP, ply, stl_binary, stl_text
from models.scans.cloud import BadCloud, Degenerate, UnknownSuffix, Unreadable
from models.scans.files import read_scan

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "another format's suffix": (".stl", ply("ascii"), UnknownSuffix, "like a .ply file"),
    "stl without a face": (".stl", bytes(84), Degenerate, "at least 4 points, got 0"),
    "stl cut short": (".stl", stl_binary()[:-1], Unreadable, "expected 1584 bytes .* announces 30 triangles, got 1583"),
    "text stl cut short": (".stl", stl_text()[:-40].encode(), Unreadable, "cut short"),
    "text stl without a corner": (".stl", stl_text().replace("vertex", "corner", 2).encode(), Unreadable, "3 vertices"),
    "stl that announces many": (".stl", bytes(80) + b"\xff" * 4, Unreadable, "announces 4294967295"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


@pytest.mark.parametrize("name", ["face facet scan", "vertex 1 2 3", "endsolid", "", "façade"])
def test_a_solid_may_have_any_name(name: str):
    text = stl_text().replace("face of vertices", name)
    for data in (text.encode(), text.encode("utf-8-sig"), text.replace("\n", "\r").encode()):
        scan = read_scan(data, ".stl")
        np.testing.assert_array_equal(scan.points, SOUP.points)
        np.testing.assert_array_equal(scan.triangles, SOUP.triangles)


@pytest.mark.parametrize("head", [b"made in a test", b"solid face"])
@pytest.mark.parametrize("tail", [b"\n", b"\0" * 50, b"made by a scanner"])
def test_bytes_after_the_announced_triangles_are_ignored(head: bytes, tail: bytes):
    np.testing.assert_array_equal(read_scan(stl_binary(head) + tail, ".stl").points, SOUP.points)


def test_a_count_of_0_is_replaced_by_the_count_from_the_length():
    data = stl_binary()
    np.testing.assert_array_equal(read_scan(data[:80] + bytes(4) + data[84:], ".stl").points, SOUP.points)
