"""Tests of .obj meshes."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from refusals import assert_refused, triangles_in
from variants import (
    FEW,
    SEEDS,
    Polygons,
    some_points,
    some_polygons,
    some_text,
    sometimes,
    sorted_triangles,
    written,
)
from variants import triangles_in as triangles_of

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


def test_a_negative_corner_counts_back_from_its_line():
    lines_ = OBJ.splitlines(keepends=True)
    data = "".join([*lines_[:3], "f -3 -2 -1\n", *lines_[3:7], "f -4 -3 -1\n", *lines_[7:]])
    assert triangles_in(data.encode(), ".obj") == [(0, 1, 2), (3, 4, 6)]


def corner(rng: Random, at: int, seen: int) -> str:
    """Write a corner of a face, with texture and normal or without, counted from the start or back from here."""
    index = rng.choice((at + 1, at - seen))
    return f"{index}{rng.choice(('', '/1', '//1', '/1/1', '/-1/-1'))}"


def text_of(rng: Random, points: np.ndarray, polygons: Polygons) -> bytes:
    """Write a mesh as .obj: each face anywhere after its vertices, other elements and comments between."""
    todo, lines_ = list(polygons), ["# made by hand", *sometimes(rng, "mtllib face.mtl", "o v 1 2 3", "vn 0 0 1")]
    for seen, point in enumerate(points.tolist(), 1):
        extra = rng.choice(((), (), (1.0,), (0.5, 0.25, 1)))
        blank, comment = rng.choice(" \t"), rng.choice(("", " # v 1 2 3"))
        lines_.append(f"v{blank}{' '.join(written(rng, x) for x in (*point, *extra))}{comment}")
        lines_ += sometimes(rng, "vt 0.5 0.5", "", "g f 1 2 3", "usemtl skin", "s off", "l 1 2", "p 1")
        ready = [polygon for polygon in todo if max(polygon) < seen and (rng.random() < 0.5 or seen == len(points))]
        for polygon in ready:
            todo.remove(polygon)
            corners = [corner(rng, at, seen) for at in polygon]
            broken = rng.random() < 0.2
            lines_ += [f"f {corners[0]} \\", f"  {' '.join(corners[1:])}"] if broken else [f"f {' '.join(corners)}"]
    return some_text(rng, lines_)


@FEW
@given(SEEDS)
def test_every_way_to_write_an_obj_gives_the_same_scan(seed: int):
    rng = Random(seed)
    points = some_points(rng)
    polygons = some_polygons(rng, len(points)) if rng.random() < 0.8 else []
    scan = read_scan(text_of(rng, points, polygons), ".obj")
    np.testing.assert_array_equal(scan.points, points)
    assert sorted_triangles(scan.triangles) == triangles_of(polygons)
