"""Tests of .obj meshes."""

import numpy as np
import pytest
from refusals import assert_refused, triangles_in

from benchmarks.fuzz.scans import OBJ, POINTS, lines
from models.scans.cloud import BadCloud, Degenerate, Unreadable
from models.scans.files import read_scan

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "picture called obj": (".obj", b"\x89PNG\r\n" + bytes(90), Unreadable, "lines 'v x y z'"),
    "obj of segments": (".obj", (OBJ + "f 1 2\n").encode(), Degenerate, "with faces, got none"),
    "obj with a face too far": (
        ".obj",
        (OBJ + "f 1 2 25\n").encode(),
        Unreadable,
        "from 0 to 23, the indices of the points",
    ),
    "obj with a face of point 0": (
        ".obj",
        (OBJ + "f 0 1 2\n").encode(),
        Unreadable,
        "from 0 to 23, the indices of the points",
    ),
    "obj with half a corner": (
        ".obj",
        (OBJ + "f 1 2 2.5\n").encode(),
        Unreadable,
        "from 0 to 23, the indices of the points",
    ),
    "obj with a point of two": (".obj", b"v 1 2\nf 1 1 1\n", Unreadable, "lines 'v x y z'"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


def test_polygons_of_an_obj_and_an_off_become_fans():
    expected = [(0, 1, 2), (3, 4, 5), (3, 5, 6), (7, 8, 9), (7, 9, 10), (7, 10, 11)]
    obj = triangles_in((OBJ + "f 1 2 3\nf 4 5 6 7\nf 8 9 10 11 12\nf 1 2\n").encode(), ".obj")
    off = triangles_in(
        f"OFF\n24 4 0\n{lines(POINTS.tolist())}3 0 1 2\n4 3 4 5 6\n5 7 8 9 10 11\n2 0 1\n".encode(), ".off"
    )
    assert sorted(obj) == sorted(off) == expected


@pytest.mark.parametrize("extra", ["", "vn 0 0 1\np 1 2 3\n", "l 1 2\n"])
def test_an_obj_without_faces_is_a_cloud(extra: str):
    scan = read_scan((OBJ + extra).encode(), ".obj")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.triangles is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_does_not_swallow_the_first_vertex(encoding: str):
    np.testing.assert_array_equal(read_scan(OBJ.encode(encoding), ".obj").points, POINTS)
