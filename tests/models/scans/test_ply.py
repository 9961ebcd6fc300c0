"""Tests of .ply clouds and meshes."""

import struct
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from refusals import assert_refused, triangles_in
from variants import FEW, SEEDS, Polygons, some_points, some_polygons, sometimes, sorted_triangles
from variants import triangles_in as triangles_of

from benchmarks.fuzz.scans import POINTS, TRIANGLES, npz, ply, ply_body
from models.scans.cloud import BadCloud, NotFinite, TooBig, UnknownSuffix, Unreadable
from models.scans.files import read_scan


def announced(key: str, count: str) -> bytes:
    return ply("binary_little_endian").replace(
        f"{key} {len(POINTS if key == 'vertex' else TRIANGLES)}".encode(), f"{key} {count}".encode()
    )


PLY, PLY_TEXT = ply("binary_little_endian"), ply("ascii")
HEAD = b"ply\nformat ascii 1.0\nelement vertex 4\n"

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "npz called ply": (".ply", npz(points=POINTS), UnknownSuffix, "like a .npz file"),
    "text called ply": (".ply", b"1 2 3\n4 5 6\n", Unreadable, "begins with 'ply'"),
    "nan in a ply": (
        ".ply",
        PLY.replace(struct.pack("<f", POINTS[5, 1]), struct.pack("<f", np.nan)),
        NotFinite,
        "point 5",
    ),
    "nan in a text ply": (".ply", PLY_TEXT.replace(repr(float(POINTS[5, 1])).encode(), b"nan"), NotFinite, "point 5"),
    "ply cut short": (".ply", PLY[:-1], Unreadable, "row 29 of the 30 of face"),
    "ply cut in its vertices": (".ply", PLY[:300], Unreadable, "expected 24 rows of vertex of 16 bytes"),
    "ply cut in its header": (".ply", PLY[:60], Unreadable, "up to 'end_header'"),
    "text ply cut short": (".ply", PLY_TEXT[:-9], Unreadable, "of face"),
    "text ply cut in its vertices": (".ply", PLY_TEXT[:400], Unreadable, "expected 24 lines of vertex"),
    "ply that announces many vertices": (".ply", announced("vertex", "9" * 18), TooBig, "announces 9"),
    "ply that announces some more": (".ply", announced("vertex", "9000"), Unreadable, "expected 9000 rows of vertex"),
    "ply that announces many faces": (".ply", announced("face", "9" * 18), TooBig, "of face"),
    "ply that announces some more faces": (".ply", announced("face", "31"), Unreadable, "row 30 of the 31 of face"),
    "ply that announces nothing": (".ply", announced("vertex", "-4"), Unreadable, "got 'element vertex -4'"),
    "ply without vertices": (
        ".ply",
        HEAD.replace(b"vertex", b"camera") + b"end_header\n",
        Unreadable,
        "one element vertex",
    ),
    "ply without z": (".ply", HEAD + b"property float x\nend_header\n1 2 3 4\n", Unreadable, "x, y and z"),
    "ply with x twice": (".ply", HEAD + b"property float x\n" * 2 + b"end_header\n1\n", Unreadable, "different names"),
    "ply of a strange type": (".ply", HEAD + b"property quad x\nend_header\n1\n", Unreadable, "'quad'"),
    "ply of no format": (".ply", b"ply\nelement vertex 4\nend_header\n", Unreadable, "expected a format"),
    "ply with words": (".ply", PLY_TEXT[:-4] + b"abc\n", Unreadable, "expected numbers"),
    "ply with a face too far": (
        ".ply",
        PLY_TEXT.replace(b"3 %d %d %d\n" % tuple(TRIANGLES[0]), b"3 24 1 2\n", 1),
        Unreadable,
        "from 0 to 23, the indices of the points",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("extra", [False, True])
def test_polygons_of_a_ply_become_fans(form, extra):
    triangles = triangles_in(ply(form, mixed=True, extra=extra), ".ply")
    fans = [(0, 1, 2), (0, 2, 3), (5, 6, 7), (5, 7, 8), (5, 8, 9)]
    assert sorted(triangles) == sorted([*map(tuple, TRIANGLES.tolist()), *fans])


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_elements_come_in_any_order(form: str):
    header = f"ply\nformat {form} 1.0\nelement face 30\nproperty list uchar int vertex_index\n"
    header += "element vertex 24\nproperty double x\nproperty double y\nproperty double z\nend_header\n"
    rows = [("B3i", (3, *t)) for t in TRIANGLES.tolist()] + [("3d", tuple(p)) for p in POINTS.tolist()]
    scan = read_scan(header.encode() + ply_body(form, rows), ".ply")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.triangles, TRIANGLES)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("lengths", [(2, 2), (0, 0), (0, 3)], ids=["equal", "empty", "unequal"])
def test_a_vertex_may_have_lists_before_and_after_its_coordinates(form: str, lengths: tuple[int, int]):
    header = f"ply\nformat {form} 1.0\nelement vertex 24\nproperty list uchar uint view_indices\n"
    header += (
        "property double x\nproperty double y\nproperty double z\nproperty list ushort float view_weights\nend_header\n"
    )
    rows = []
    for i, point in enumerate(POINTS.tolist()):
        n = lengths[i % 2]
        rows.append((f"B{n}I3dH{n}f", (n, *range(n), *point, n, *[0.5] * n)))
    np.testing.assert_array_equal(read_scan(header.encode() + ply_body(form, rows), ".ply").points, POINTS)


def test_undeclared_numbers_at_the_end_of_a_text_row_are_ignored():
    header, rows = PLY_TEXT.split(b"end_header\n")
    data = header + b"end_header\n" + rows.replace(b"\n", b" 9 1 1\n")
    scan = read_scan(data, ".ply")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.triangles, TRIANGLES)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_a_minus_one_begins_another_triangle_strip(form: str):
    header = f"ply\nformat {form} 1.0\nelement vertex 24\nproperty double x\nproperty double y\nproperty double z\n"
    header += "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    strip = (0, 1, 2, 3, -1, 7, 8, 9)
    rows = [("3d", tuple(p)) for p in POINTS.tolist()] + [(f"i{len(strip)}i", (len(strip), *strip))]
    assert triangles_in(header.encode() + ply_body(form, rows), ".ply") == [(0, 1, 2), (2, 1, 3), (7, 8, 9)]


COUNTS = ("uchar", "uint8", "char", "ushort", "int", "uint32")
CORNERS = ("int", "int32", "uint", "short", "ushort", "uchar")
CODES = {
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "ushort": "H", "int": "i", "int32": "i", "uint": "I",
    "uint32": "I", "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip
Row = tuple[str, tuple]


def list_of(rng: Random, values: Sequence[float], count: str, kind: str) -> Row:
    return f"{CODES[count]}{len(values)}{CODES[kind]}", (len(values), *values)


def vertex_element(rng: Random, points: np.ndarray) -> tuple[list[str], list[Row]]:
    """Write an element vertex whose x, y and z are anywhere among other properties."""
    kinds = {axis: rng.choice(("float", "float32", "double", "float64")) for axis in "xyz"}
    others = rng.sample(("uchar red", "float nx", "int label", "list uchar int views", "list ushort float weights"), 2)
    names = rng.sample([*kinds, *others], 5)
    header = [f"property {kinds[name]} {name}" if name in kinds else f"property {name}" for name in names]
    rows = []
    for point in points.tolist():
        row: list[Row] = []
        for name in names:
            if name in kinds:
                row.append((CODES[kinds[name]], (point["xyz".index(name)],)))
            elif name.startswith("list"):
                _, count, kind, _ = name.split()
                row.append(list_of(rng, range(rng.randint(0, 3)), count, kind))
            else:
                row.append((CODES[name.split()[0]], (7,)))
        rows.append(("".join(code for code, _ in row), tuple(value for _, values in row for value in values)))
    return [f"element vertex {len(points)}", *header], rows


def face_element(rng: Random, polygons: Polygons) -> tuple[list[str], list[Row]]:
    """Write an element face, or tristrips of the same triangles."""
    count, corner = rng.choice(COUNTS), rng.choice(CORNERS)
    name = rng.choice(("vertex_indices", "vertex_index"))
    if rng.random() < 0.3:
        strips = [corner for triangle in triangles_of(polygons) for corner in (*triangle, -1)]
        return ["element tristrips 1", f"property list int int {name}"], [list_of(rng, strips, "int", "int")]
    texture = rng.random() < 0.5
    header = [f"element face {len(polygons)}", f"property list {count} {corner} {name}"]
    header[1:1] = ["property list uchar float texcoord", "property uchar flags"] if texture else []
    rows = []
    for polygon in polygons:
        code, values = list_of(rng, polygon, count, corner)
        rows.append((f"B{2 * texture}fB{code}", (2, 0.5, 0.5, 9, *values)) if texture else (code, values))
    return header, rows


@FEW
@given(SEEDS)
def test_every_way_to_write_a_ply_gives_the_same_scan(seed: int):
    rng = Random(seed)
    points, form = some_points(rng), rng.choice(("ascii", "binary_little_endian", "binary_big_endian"))
    polygons = some_polygons(rng, len(points)) if rng.random() < 0.8 else []
    elements = [vertex_element(rng, points), (["element camera 2", "property float fov"], [("f", (1.0,))] * 2)]
    elements += [face_element(rng, polygons)] if polygons else []
    rng.shuffle(elements)
    header = ["ply", *sometimes(rng, "comment VCGLIB generated"), f"format {form} 1.0"]
    for lines, _ in elements:
        header += [*sometimes(rng, "comment", "obj_info num_cols 512", "comment property float x"), *lines]
    body = ply_body(form, [row for _, rows in elements for row in rows])
    if form == "ascii":
        body = body.replace(b"\n", rng.choice((b"\n", b"\r\n", b" \n")))
        header[0] = rng.choice(("", "\N{ZERO WIDTH NO-BREAK SPACE}")) + header[0]
    scan = read_scan(rng.choice(("\n", "\r\n")).join([*header, "end_header\n"]).encode() + body, ".ply")
    np.testing.assert_array_equal(scan.points, points)
    assert sorted_triangles(scan.triangles) == triangles_of(polygons)
