"""Tests of .stl meshes."""

import struct
from random import Random

import numpy as np
import pytest
from hypothesis import given
from refusals import assert_refused
from variants import FEW, SEEDS, some_points, some_text, sometimes, written

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


NAMES = ("", "face", "facet normal 0 0 1", "endsolid", "Exported from Blender-4.2.0", "vertex 9 9 9")


def text_of(rng: Random, corners: np.ndarray) -> bytes:
    """Write triangles as text: any name, indents, case and line ends, in one solid or several."""
    cut = rng.randint(1, len(corners))
    lines: list[str] = []
    for part in (corners[:cut], corners[cut:]):
        if len(part):
            lines.append(f"solid {rng.choice(NAMES)}")
            for triangle in part.tolist():
                vertices = [f"vertex {' '.join(written(rng, x) for x in point)}" for point in triangle]
                lines += ["facet normal 0 0 1", "outer loop", *vertices, "endloop", "endfacet", *sometimes(rng, "")]
            lines.append(rng.choice(("endsolid", "endsolid face", "endsolid vertex 9 9 9")))
    indent = rng.choice(("", "  ", "\t"))
    lines = [lines[0], *(indent + line for line in lines[1:])]
    return some_text(rng, [line.upper() for line in lines] if rng.random() < 0.2 else lines)


def binary_of(rng: Random, corners: np.ndarray) -> bytes:
    """Write triangles as binary: any header and attributes, a count of 0, and bytes after them."""
    head = rng.choice((rng.randbytes(80), b"solid face".ljust(80, b" "), b"COLOR=\xff\0\0\xff".ljust(80, b"\0")))
    facets = [struct.pack("<12fH", 0, 0, 1, *triangle.ravel(), rng.randrange(1 << 16)) for triangle in corners]
    count, tail = rng.choice(((len(corners), b""), (0, b""), (len(corners), b"made by a scanner")))
    return head + struct.pack("<I", count) + b"".join(facets) + tail


@FEW
@given(SEEDS)
def test_every_way_to_write_an_stl_gives_the_same_scan(seed: int):
    rng = Random(seed)
    corners = some_points(rng, 3 * rng.randint(2, 5)).reshape(-1, 3, 3)
    scan = read_scan(rng.choice((text_of, binary_of))(rng, corners), ".stl")
    np.testing.assert_array_equal(scan.points, corners.reshape(-1, 3))
    np.testing.assert_array_equal(scan.triangles, np.arange(3 * len(corners)).reshape(-1, 3))
