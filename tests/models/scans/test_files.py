"""Scans from files: every format written and read back, every bad file refused in one way, and fuzz."""

import base64
import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.scans.cloud import (
    BadCloud,
    Degenerate,
    NotFinite,
    Scan,
    TooBig,
    UnknownSuffix,
    Unreadable,
)
from models.scans.files import READERS, read_scan

POINTS = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32).astype(np.float64)  # every format holds them
TRIANGLES = np.random.default_rng(1).permuted(np.tile(np.arange(24), (30, 1)), axis=1)[:, :3]
SOUP = Scan(POINTS[TRIANGLES].reshape(-1, 3), np.arange(90).reshape(-1, 3))  # an .stl's: no point is shared
CLOUD, MESH = Scan(POINTS, None), Scan(POINTS, TRIANGLES)


def lines(rows, mark: str = " ", start: str = "") -> str:
    return "".join(
        start + mark.join(repr(float(x)) if isinstance(x, float) else str(x) for x in row) + "\n" for row in rows
    )


def npy(array: np.ndarray, **options) -> bytes:
    np.save(file := io.BytesIO(), array, **options)
    return file.getvalue()


def npz(deflate: bool = True, **arrays: np.ndarray) -> bytes:
    (np.savez_compressed if deflate else np.savez)(file := io.BytesIO(), allow_pickle=True, **arrays)
    return file.getvalue()


def ply(form: str, *, faces: bool = True, extra: bool = False, mixed: bool = False) -> bytes:
    """A .ply: with colours, texture coordinates and another element if `extra`, with quads and a segment if `mixed`."""
    polygons = [list(map(int, t)) for t in TRIANGLES]
    if mixed:
        polygons[3:3] = [[0, 1, 2, 3], [4, 5]]
        polygons.append([5, 6, 7, 8, 9])
    header = f"ply\nformat {form} 1.0\ncomment made in a test\n"
    if extra:
        header += "element camera 2\nproperty double fov\nproperty list uchar short size\n"
    header += f"element vertex {len(POINTS)}\n"
    header += "property uchar red\n" if extra else ""
    header += "property float x\nproperty float y\nproperty double z\n"
    if faces:
        header += f"element face {len(polygons)}\nproperty list uchar int vertex_indices\n"
        header += "property list uchar float texcoord\nproperty uchar flags\n" if extra else ""
    body, order = [], ">" if "big" in form else "<"

    def put(kind: str, *values) -> None:
        body.append(" ".join(map(str, values)) + " " if form == "ascii" else struct.pack(order + kind, *values))

    if extra:
        put("dBhh", 45.5, 2, 640, 480)
        put("dB", 50.5, 0)
    for x, y, z in POINTS.tolist():
        if extra:
            put("B", 200)
        put("ffd", x, y, z)
    for polygon in polygons if faces else []:
        put(f"B{len(polygon)}i", len(polygon), *polygon)
        if extra:
            put("B6fB", 6, *([0.5] * 6), 1)
    rest = "".join(body).encode() if form == "ascii" else b"".join(body)
    return (header + "end_header\n").encode() + rest


def pcd(form: str, extra: bool = False) -> bytes:
    names, sizes, kinds, counts = ["x", "y", "z"], [4, 4, 8], ["F", "F", "F"], [1, 1, 1]
    if extra:
        names, sizes, kinds, counts = ["normal", *names, "label"], [4, *sizes, 2], ["F", *kinds, "U"], [3, *counts, 1]
    header = "# .PCD v0.7\nVERSION 0.7\n"
    for key, values in (("FIELDS", names), ("SIZE", sizes), ("TYPE", kinds), ("COUNT", counts)):
        header += f"{key} {' '.join(map(str, values))}\n"
    header += f"WIDTH {len(POINTS)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(POINTS)}\nDATA {form}\n"
    rows = [((0.0, 0.0, 1.0), *p, 3) if extra else (*p,) for p in POINTS.tolist()]
    if form == "ascii":
        flat = [[*row[0], *row[1:]] if extra else row for row in rows]
        return (header + lines(flat)).encode()
    pack = [struct.pack("<3f2fdH", *row[0], *row[1:]) if extra else struct.pack("<2fd", *row) for row in rows]
    return header.encode() + b"".join(pack)


def gltf(
    nodes=None, *, strided: bool = False, mode: int = 4, change: Callable[[dict], None] | None = None
) -> tuple[dict, bytes]:
    """JSON and buffer of POINTS and TRIANGLES, float32 and uint16, the points interleaved with normals if `strided`."""
    table = np.hstack([POINTS, np.ones_like(POINTS)]) if strided else POINTS
    points, corners = table.astype("<f4").tobytes(), TRIANGLES.astype("<u2").tobytes()
    view = {"buffer": 0, "byteOffset": 4, "byteLength": len(points)}
    primitive = {"attributes": {"POSITION": 0}, "indices": 1, "mode": mode, "material": 0}
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes or [{"mesh": 0}],
        "meshes": [{"primitives": [primitive, {"attributes": {"POSITION": 0}, "mode": 0}]}],
        "materials": [{}],
        "buffers": [{"byteLength": 4 + len(points) + len(corners)}],
        "bufferViews": [
            {**view, "byteStride": 24} if strided else view,
            {"buffer": 0, "byteOffset": 4 + len(points), "byteLength": len(corners)},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(POINTS), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": TRIANGLES.size, "type": "SCALAR"},
        ],
    }
    if change:
        change(document)
    return document, b"\0" * 4 + points + corners


def glb(document: dict, buffer: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    buffer += b"\0" * (-len(buffer) % 4)
    body = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", len(buffer), 0x004E4942) + buffer
    return b"glTF" + struct.pack("<2I", 2, 12 + len(body)) + body


def inline(document: dict, buffer: bytes) -> bytes:
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(buffer).decode()
    return json.dumps(document).encode()


def stl_text() -> str:
    facets = (
        f"facet normal 0 0 0\nouter loop\n{lines(t, start='vertex ')}endloop\nendfacet\n"
        for t in POINTS[TRIANGLES].tolist()
    )
    return f"solid face of vertices\n{''.join(facets)}endsolid face\n"


def stl_binary(head: bytes = b"made in a test") -> bytes:
    facets = (struct.pack("<12fH", 0, 0, 0, *t.ravel(), 0) for t in POINTS[TRIANGLES])
    return head.ljust(80, b"\0") + struct.pack("<I", len(TRIANGLES)) + b"".join(facets)


OBJ = lines(POINTS.tolist(), start="v ")
FACES_3 = lines((TRIANGLES + 1).tolist(), start="f ")
TEXTURED = "".join("f " + " ".join(f"{i + 1}/{i + 1}/1" for i in t) + "\n" for t in TRIANGLES)
COUNTED = lines([[3, *t] for t in TRIANGLES.tolist()])
NAMED = lines([[7, *p] for p in POINTS.tolist()], ",")

GOOD: dict[str, tuple[str, bytes, Scan]] = {
    "xyz": (".xyz", lines(POINTS.tolist()).encode(), CLOUD),
    "xyz in capitals, with normals, tabs, comments and no last newline": (
        ".XYZ",
        ("# a scan\n\n// of a face\n" + lines(np.hstack([POINTS, POINTS]).tolist(), "\t")).rstrip("\n").encode(),
        CLOUD,
    ),
    "txt with carriage returns": (".txt", lines(POINTS.tolist()).replace("\n", "\r\n").encode(), CLOUD),
    "csv": (".csv", lines(POINTS.tolist(), ", ").encode(), CLOUD),
    "csv with names": (".csv", b'\xef\xbb\xbfid,"X",Y,z\n' + NAMED.encode(), CLOUD),
    "csv with semicolons": (".csv", b"x;y;z\n" + lines(POINTS.tolist(), ";").encode(), CLOUD),
    "table with names apart": (".txt", b"# cloud\nx y z\n" + lines(POINTS.tolist()).encode(), CLOUD),
    "npy": (".npy", npy(POINTS), CLOUD),
    "npy of float32, big endian, with normals": (".npy", npy(np.hstack([POINTS, POINTS]).astype(">f4")), CLOUD),
    "npy in Fortran order": (".npy", npy(np.asfortranarray(POINTS)), CLOUD),
    "npy of whole numbers": (".npy", npy((POINTS * 100).astype(np.int16)), Scan(np.trunc(POINTS * 100), None)),
    "npz": (".npz", npz(points=POINTS), CLOUD),
    "npz of one array, stored": (".npz", npz(deflate=False, scan=POINTS), CLOUD),
    "npz of a mesh": (".npz", npz(vertices=POINTS, faces=TRIANGLES, names=np.array(["a"], object)), MESH),
    "pcd": (".pcd", pcd("ascii"), CLOUD),
    "pcd with more fields": (".pcd", pcd("ascii", extra=True), CLOUD),
    "pcd, binary": (".pcd", pcd("binary"), CLOUD),
    "pcd, binary, with more fields": (".pcd", pcd("binary", extra=True), CLOUD),
    **{
        f"ply {form}{faces * ' with faces'}{extra * ' and more'}": (
            ".ply",
            ply(form, faces=faces, extra=extra),
            (CLOUD, MESH)[faces],
        )
        for form in ("ascii", "binary_little_endian", "binary_big_endian")
        for faces in (False, True)
        for extra in (False, True)
    },
    "obj": (".obj", (OBJ + FACES_3).encode(), MESH),
    "obj with the rest of the format": (
        ".obj",
        f"# face\nmtllib face.mtl\no face\n{OBJ}vn 0 0 1\n vt 0.5 0.5\ng skin\ns 1\nusemtl skin\n{TEXTURED}l 1 2\n".encode(),
        MESH,
    ),
    "obj counted from the end": (".obj", (OBJ + lines((TRIANGLES - 24).tolist(), start="f ")).encode(), MESH),
    "obj with colours and a broken line": (
        ".obj",
        (lines(np.hstack([POINTS, np.ones((24, 3))]).tolist(), start="v ") + FACES_3.replace(" ", " \\\n", 1)).encode(),
        MESH,
    ),
    "off": (".off", f"OFF\n# counts\n24 30 0\n{lines(POINTS.tolist())}{COUNTED}".encode(), MESH),
    "off with colours": (
        ".off",
        f"COFF 24 30 0\n{lines(np.hstack([POINTS, np.ones((24, 4))]).tolist())}{COUNTED.replace(chr(10), ' 255 0 0' + chr(10))}".encode(),
        MESH,
    ),
    "stl": (".stl", stl_text().encode(), SOUP),
    "stl in capitals": (".stl", stl_text().upper().encode(), SOUP),
    "stl, binary": (".stl", stl_binary(), SOUP),
    "stl, binary, that begins like text": (".stl", stl_binary(b"solid face"), SOUP),
    "glb": (".glb", glb(*gltf()), MESH),
    "glb, interleaved": (".glb", glb(*gltf(strided=True)), MESH),
    "gltf": (".gltf", inline(*gltf()), MESH),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_written_is_read_back_in_the_files_order(name):
    suffix, data, wanted = GOOD[name]
    scan = read_scan(data, suffix)
    np.testing.assert_array_equal(scan.points, wanted.points)
    assert (scan.triangles is None) == (wanted.triangles is None)
    if scan.triangles is not None and wanted.triangles is not None:
        np.testing.assert_array_equal(scan.triangles, wanted.triangles)
    assert scan.points.dtype == np.float64
    assert scan.points.flags.c_contiguous


def triangles_in(data: bytes, suffix: str) -> list[tuple[int, ...]]:
    triangles = read_scan(data, suffix).triangles
    assert triangles is not None
    return [tuple(corners) for corners in triangles.tolist()]


def test_every_suffix_is_in_the_table_of_good_files():
    assert {suffix.lower() for suffix, _, _ in GOOD.values()} == set(READERS)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".off", ".glb"])
def test_what_trimesh_writes_is_read_as_trimesh_made_it(suffix):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    data = mesh.export(file_type=suffix[1:])
    scan = read_scan(data.encode() if isinstance(data, str) else bytes(data), suffix)
    assert scan.triangles is not None
    np.testing.assert_allclose(scan.points[scan.triangles], mesh.vertices[mesh.faces], atol=1e-6)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("extra", [False, True])
def test_polygons_of_a_ply_become_fans(form, extra):
    triangles = triangles_in(ply(form, mixed=True, extra=extra), ".ply")
    fans = [(0, 1, 2), (0, 2, 3), (5, 6, 7), (5, 7, 8), (5, 8, 9)]
    assert sorted(triangles) == sorted([*map(tuple, TRIANGLES.tolist()), *fans])


def test_polygons_of_an_obj_and_an_off_become_fans():
    wanted = [(0, 1, 2), (3, 4, 5), (3, 5, 6), (7, 8, 9), (7, 9, 10), (7, 10, 11)]
    obj = triangles_in((OBJ + "f 1 2 3\nf 4 5 6 7\nf 8 9 10 11 12\nf 1 2\n").encode(), ".obj")
    off = triangles_in(
        f"OFF\n24 4 0\n{lines(POINTS.tolist())}3 0 1 2\n4 3 4 5 6\n5 7 8 9 10 11\n2 0 1\n".encode(), ".off"
    )
    assert sorted(obj) == sorted(off) == wanted


def test_gltf_nodes_carry_their_meshes():
    turn = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]  # a quarter about z: x to y
    nodes = [
        {"children": [1, 2], "translation": [1, 2, 3]},
        {"mesh": 0, "rotation": turn, "scale": [2, 2, 2]},
        {"mesh": 0, "matrix": [0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 5, 0, 0, 1]},
    ]
    data = glb(*gltf(nodes))
    quarter = POINTS @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).T
    both = {"first": quarter * 2 + np.array([1, 2, 3]), "second": quarter + np.array([6, 2, 3])}
    scan = read_scan(data, ".glb")
    assert scan.points.shape == (48, 3)
    assert scan.triangles is not None
    for points in both.values():
        assert min(np.abs(part - points).max() for part in (scan.points[:24], scan.points[24:])) < 1e-6
    scene = trimesh.load(io.BytesIO(data), file_type="glb")
    assert isinstance(scene, trimesh.Scene)
    theirs = np.sort(np.vstack([m.vertices for m in scene.dump() if isinstance(m, trimesh.Trimesh)]), axis=0)
    np.testing.assert_allclose(np.sort(scan.points, axis=0), theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [(5, [(0, 1, 2), (2, 1, 3), (2, 3, 4), (4, 3, 5)]), (6, [(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5)])],
)
def test_gltf_strips_and_fans_are_wound_one_way(mode, wanted):
    def change(document: dict) -> None:
        del document["meshes"][0]["primitives"][0]["indices"]
        document["accessors"][0]["count"] = 6

    assert triangles_in(glb(*gltf(mode=mode, change=change)), ".glb") == wanted


def test_gltf_without_scenes_and_with_whole_numbers_for_points():
    def change(document: dict) -> None:
        del document["scenes"], document["scene"]
        document["accessors"][0].update(componentType=5122, normalized=True)
        document["bufferViews"][0]["byteStride"] = 12
        document["extensionsRequired"] = ["KHR_mesh_quantization"]

    document, buffer = gltf(change=change)
    whole = np.zeros((24, 6), "<i2")
    whole[:, :3] = np.rint(POINTS * 5000)
    buffer = buffer[:4] + whole.tobytes() + buffer[4 + 288 :]
    np.testing.assert_allclose(
        read_scan(glb(document, buffer), ".glb").points, np.rint(POINTS * 5000) / 32767, atol=1e-12
    )


def zip_with(name: str, content: bytes, **changes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", changes.pop("method", zipfile.ZIP_DEFLATED)) as archive:
        archive.writestr(name, content)
    return file.getvalue()


class Bomb:
    """What a pickle may do to who loads it."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def bad_gltf(change: Callable[[dict], None]) -> bytes:
    return glb(*gltf(change=change))


def announced(key: str, count: str) -> bytes:
    return ply("binary_little_endian").replace(
        f"{key} {len(POINTS if key == 'vertex' else TRIANGLES)}".encode(), f"{key} {count}".encode()
    )


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 3), }\n"
HUGE = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(HEADER)) + HEADER.encode()
NAN, INF = POINTS.copy(), POINTS.copy()
NAN[5, 1], INF[7, 2] = np.nan, np.inf
SIZES = struct.pack("<2I", len(npy(POINTS)), len(npy(POINTS)))  # in the archive's directory: deflated and inflated
PLY, PLY_TEXT = ply("binary_little_endian"), ply("ascii")
HEAD = b"ply\nformat ascii 1.0\nelement vertex 4\n"

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "no suffix": ("", b"1 2 3", UnknownSuffix, "no reader for '' files; there are .ply, .obj"),
    "unknown suffix": (".fbx", b"1 2 3", UnknownSuffix, "'.fbx'"),
    "another format's suffix": (".stl", PLY, UnknownSuffix, "this is a .ply file"),
    "npz called ply": (".ply", npz(points=POINTS), UnknownSuffix, "this is a .npz file"),
    "ply called xyz": (".xyz", PLY, UnknownSuffix, "this is a .ply file"),
    "text called ply": (".ply", b"1 2 3\n4 5 6\n", Unreadable, "begins with 'ply'"),
    "picture called npz": (".npz", b"\x89PNG\r\n" + bytes(90), Unreadable, "no archive"),
    "picture called obj": (".obj", b"\x89PNG\r\n" + bytes(90), Unreadable, "lines 'v x y z'"),
    **{f"empty {suffix}": (suffix, b"", Degenerate, f"an empty {suffix} file") for suffix in READERS},
    "blank": (".xyz", b" \n\t\r\n", Degenerate, "empty"),
    "only a comment": (".xyz", b"# nothing\n", Degenerate, "at least 4 points; came 0"),
    "one point": (".xyz", b"1 2 3\n", Degenerate, "at least 4 points; came 1"),
    "one point in an npy": (".npy", npy(POINTS[:1]), Degenerate, "came 1"),
    "no point in an npz": (".npz", npz(points=POINTS[:0]), Degenerate, "came 0"),
    "points all equal": (".npy", npy(np.ones((50, 3))), Degenerate, "the 50 points are all equal"),
    "points all equal, far away": (".xyz", b"1000.1 7 7\n" * 50, Degenerate, "all equal"),
    "nan": (".npy", npy(NAN), NotFinite, "1 of 24 points .* point 5"),
    "nan in text": (".xyz", lines(NAN.tolist()).encode(), NotFinite, "point 5"),
    "infinity": (".csv", lines(INF.tolist(), ",").encode(), NotFinite, "point 7"),
    "larger than a double": (".xyz", b"1e999 0 0\n" * 4, NotFinite, "infinity"),
    "nan in a ply": (
        ".ply",
        PLY.replace(struct.pack("<f", POINTS[5, 1]), struct.pack("<f", np.nan)),
        NotFinite,
        "point 5",
    ),
    "nan in a text ply": (".ply", PLY_TEXT.replace(repr(float(POINTS[5, 1])).encode(), b"nan"), NotFinite, "point 5"),
    "obj without a face": (".obj", OBJ.encode(), Degenerate, "a .obj file wants a face"),
    "off without a face": (".off", f"OFF\n24 0 0\n{lines(POINTS.tolist())}".encode(), Degenerate, "wants a face"),
    "stl without a face": (".stl", bytes(84), Degenerate, "at least 4 points; came 0"),
    "glb of points": (".glb", bad_gltf(lambda d: d["meshes"][0]["primitives"].pop(0)), Degenerate, "came 0"),
    "obj of segments": (".obj", (OBJ + "f 1 2\n").encode(), Degenerate, "wants a face"),
    "table of two columns": (".xyz", b"1 2\n3 4\n5 6\n7 8\n", Unreadable, "3 to 64 columns; a row has 2"),
    "ragged table": (".xyz", b"1 2 3\n4 5 6\n7 8\n9 1 2 3\n", Unreadable, "row 0 has 3 numbers, but row 2 has 2"),
    "words": (".txt", b"1 2 3\n4 5 six\n", Unreadable, "wants numbers; came"),
    "half words": (".txt", b"1 2 3\n4 5 6-6e\n", Unreadable, "not all of the 6 words"),
    "names without x y z": (".csv", b"a,b,c\n1,2,3\n", Unreadable, "x, y and z among them"),
    "decimal commas": (".csv", b"1,5 2,5 3,5\n", Unreadable, "one separator"),
    "decimal commas and semicolons": (".csv", b"1,5;2,5;3,5\n", Unreadable, "decimal comma"),
    "a number left out": (".csv", b"1,2,3\n4,,6\n", Unreadable, "nothing at a ','"),
    "npy of objects": (".npy", npy(np.array([Bomb()] * 4, object), allow_pickle=True), Unreadable, "no objects"),
    "pickle called npy": (".npy", pickle.dumps(Bomb()), Unreadable, "begins with"),
    "pickle called npz": (".npz", pickle.dumps(Bomb()), Unreadable, "no archive"),
    "npz of objects": (".npz", npz(points=np.array([[Bomb()] * 3] * 4, object)), Unreadable, "no objects"),
    "npy of words": (".npy", npy(np.array([["a", "b", "c"]])), Unreadable, "real numbers"),
    "npy of complex numbers": (".npy", npy(POINTS + 1j), Unreadable, "real numbers"),
    "npy of records": (".npy", npy(np.zeros(5, [("x", "f4")])), Unreadable, "records"),
    "npy of another shape": (
        ".npy",
        npy(np.tile(POINTS, (4, 1)).T),
        Unreadable,
        r"\(points, 3 to 64\); came \(3, 96\)",
    ),
    "npy of three axes": (".npy", npy(POINTS[None]), Unreadable, r"came \(1, 24, 3\)"),
    "npy cut short": (".npy", npy(POINTS)[:-1], Unreadable, "is 576 bytes; 575 came"),
    "npy too long": (".npy", npy(POINTS) + b"0", Unreadable, "577 came"),
    "npy that announces terabytes": (".npy", HUGE, Unreadable, "bytes; 0 came"),
    "npy with a false shape": (".npy", npy(POINTS).replace(b"(24, 3)", b"(24,-3)"), Unreadable, "has a shape"),
    "npy that computes": (".npy", npy(POINTS).replace(b"(24, 3)", b"[9**9]*"), Unreadable, "no descr"),
    "npz of other arrays": (".npz", npz(a=POINTS, b=POINTS), Unreadable, "called points or vertices .* it has a, b"),
    "npz bomb": (".npz", npz(points=np.zeros((400_000, 3))), TooBig, "inflated at most 100 times"),
    "npz bomb of faces": (
        ".npz",
        npz(points=POINTS, faces=np.zeros((900_000, 3), int)),
        TooBig,
        "inflated at most 100",
    ),
    "npz with a false size": (
        ".npz",
        npz(deflate=False, points=POINTS).replace(SIZES, SIZES[:4] + struct.pack("<I", 9_000_000)),
        TooBig,
        "announces 9000000 from 704",
    ),
    "npz cut short": (".npz", npz(points=POINTS)[:-30], Unreadable, "no archive"),
    "npz with a wrong checksum": (
        ".npz",
        npz(deflate=False, points=POINTS).replace(POINTS.tobytes()[:8], bytes(8)),
        Unreadable,
        "Bad CRC",
    ),
    "npz packed otherwise": (
        ".npz",
        zip_with("points.npy", npy(POINTS), method=zipfile.ZIP_LZMA),
        Unreadable,
        "stored or deflated",
    ),
    "npz of many arrays": (
        ".npz",
        npz(deflate=False, **{f"a{i}": np.zeros(1) for i in range(1001)}),
        TooBig,
        "1000 arrays",
    ),
    "npz with a face too far": (".npz", npz(points=POINTS, faces=TRIANGLES + 1), Unreadable, "among the 24 points"),
    "npz with faces that are no numbers": (".npz", npz(points=POINTS, faces=POINTS), Unreadable, "whole numbers"),
    "ply cut short": (".ply", PLY[:-1], Unreadable, "row 29 of the 30 of face"),
    "ply cut in its vertices": (".ply", PLY[:300], Unreadable, "announces 24 of vertex, 16 bytes each"),
    "ply cut in its header": (".ply", PLY[:60], Unreadable, "up to 'end_header'"),
    "text ply cut short": (".ply", PLY_TEXT[:-9], Unreadable, "of face"),
    "text ply cut in its vertices": (".ply", PLY_TEXT[:400], Unreadable, "announces 24 of vertex"),
    "ply that announces many vertices": (".ply", announced("vertex", "9" * 18), TooBig, "announces 9"),
    "ply that announces some more": (".ply", announced("vertex", "9000"), Unreadable, "announces 9000 of vertex"),
    "ply that announces many faces": (".ply", announced("face", "9" * 18), TooBig, "of face"),
    "ply that announces some more faces": (".ply", announced("face", "31"), Unreadable, "row 30 of the 31 of face"),
    "ply that announces nothing": (".ply", announced("vertex", "-4"), Unreadable, "came 'element vertex -4'"),
    "ply without vertices": (
        ".ply",
        HEAD.replace(b"vertex", b"camera") + b"end_header\n",
        Unreadable,
        "an element vertex",
    ),
    "ply without z": (".ply", HEAD + b"property float x\nend_header\n1 2 3 4\n", Unreadable, "x, y and z"),
    "ply with x twice": (".ply", HEAD + b"property float x\n" * 2 + b"end_header\n1\n", Unreadable, "each once"),
    "ply of a strange type": (".ply", HEAD + b"property quad x\nend_header\n1\n", Unreadable, "'quad'"),
    "ply of no format": (".ply", b"ply\nelement vertex 4\nend_header\n", Unreadable, "says its format"),
    "ply with words": (".ply", PLY_TEXT[:-4] + b"abc\n", Unreadable, "wants numbers"),
    "ply with a face too far": (
        ".ply",
        PLY_TEXT.replace(b"3 %d %d %d " % tuple(TRIANGLES[0]), b"3 24 1 2 ", 1),
        Unreadable,
        "among the 24 points",
    ),
    "ply with faces first": (
        ".ply",
        b"ply\nformat ascii 1.0\nelement face 1\nproperty list uchar int vertex_indices\nelement vertex 1\n"
        b"property float x\nproperty float y\nproperty float z\nend_header\n3 0 0 0 1 2 3\n",
        Unreadable,
        "vertices before its faces",
    ),
    "obj with a face too far": (".obj", (OBJ + "f 1 2 25\n").encode(), Unreadable, "among the 24 points"),
    "obj with a face of point 0": (".obj", (OBJ + "f 0 1 2\n").encode(), Unreadable, "among the 24 points"),
    "obj with half a corner": (".obj", (OBJ + "f 1 2 2.5\n").encode(), Unreadable, "among the 24 points"),
    "obj with a point of two": (".obj", b"v 1 2\nf 1 1 1\n", Unreadable, "lines 'v x y z'"),
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
    "stl cut short": (".stl", stl_binary()[:-1], Unreadable, "announces 30 triangles has 1584 bytes; 1583 came"),
    "text stl cut short": (".stl", stl_text()[:-40].encode(), Unreadable, "cut short"),
    "text stl without a corner": (".stl", stl_text().replace("vertex", "corner", 2).encode(), Unreadable, "3 vertices"),
    "stl that announces many": (".stl", bytes(80) + b"\xff" * 4, Unreadable, "announces 4294967295"),
    "pcd cut short": (".pcd", pcd("binary")[:-1], Unreadable, "announces 24 points of 16 bytes; 383 bytes"),
    "text pcd cut short": (".pcd", pcd("ascii")[:-70], Unreadable, "announces 24 points|has 3 numbers"),
    "pcd that announces many": (
        ".pcd",
        pcd("binary").replace(b"POINTS 24", b"POINTS 99999999999"),
        TooBig,
        "announces",
    ),
    "pcd without z": (".pcd", pcd("ascii").replace(b"FIELDS x y z", b"FIELDS x y w"), Unreadable, "x, y and z"),
    "pcd, compressed": (
        ".pcd",
        pcd("binary").replace(b"DATA binary", b"DATA binary_compressed"),
        Unreadable,
        "compressed",
    ),
    "pcd of strange fields": (".pcd", pcd("binary").replace(b"TYPE F F F", b"TYPE F F Q"), Unreadable, "fields of"),
    "glb cut short": (".glb", glb(*gltf())[:-4], Unreadable, "announces"),
    "glb of version 1": (".glb", b"glTF" + struct.pack("<4I", 1, 20, 0, 0), Unreadable, "version 1"),
    "glb of nothing": (".glb", b"glTF", Unreadable, "4 bytes"),
    "gltf of another file": (
        ".gltf",
        json.dumps({"buffers": [{"uri": "face.bin"}]}).encode(),
        Unreadable,
        "names another file",
    ),
    "gltf that is no json": (".gltf", b"{", Unreadable, "contradicts itself"),
    "gltf that is a list": (".gltf", b"[]", Unreadable, "contradicts itself"),
    "gltf nested deep": (".gltf", b"[" * 200_000, Unreadable, "RecursionError"),
    "gltf of many parts": (".gltf", b"[" + b"[]," * 600_000, TooBig, "parts of JSON"),
    "glb that wants draco": (
        ".glb",
        bad_gltf(lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"])),
        Unreadable,
        "not with KHR_draco",
    ),
    "glb that announces zeros": (
        ".glb",
        bad_gltf(lambda d: d["accessors"].__setitem__(0, {"componentType": 5126, "count": 2**38, "type": "VEC3"})),
        Unreadable,
        "with a buffer view",
    ),
    "glb that announces more": (
        ".glb",
        bad_gltf(lambda d: d["accessors"][0].update(count=25)),
        Unreadable,
        "announces 25 items",
    ),
    "glb with no stride": (
        ".glb",
        bad_gltf(lambda d: d["bufferViews"][0].update(byteStride=1)),
        Unreadable,
        "every 1 bytes",
    ),
    "glb with a negative offset": (
        ".glb",
        bad_gltf(lambda d: d["bufferViews"][0].update(byteOffset=-8)),
        Unreadable,
        "came '-8'",
    ),
    "glb that is sparse": (".glb", bad_gltf(lambda d: d["accessors"][0].update(sparse={})), Unreadable, "not sparse"),
    "glb with a face too far": (
        ".glb",
        bad_gltf(lambda d: d["accessors"][0].update(count=9)),
        Unreadable,
        "among the 9 points",
    ),
    "glb in a circle": (".glb", bad_gltf(lambda d: d["nodes"][0].update(children=[0])), Unreadable, "one parent"),
    "glb with twins": (".glb", bad_gltf(lambda d: d["scenes"][0].update(nodes=[0, 0])), Unreadable, "one parent"),
    "glb with a strange node": (
        ".glb",
        bad_gltf(lambda d: d["nodes"][0].update(rotation="up")),
        Unreadable,
        "contradicts",
    ),
    "glb with a signalling nan": (
        ".glb",
        glb(*gltf()).replace(np.float32(POINTS[5, 1]).tobytes(), b"\1\0\x80\x7f", 1),
        NotFinite,
        "point 5",
    ),
    "glb with a face between points": (
        ".glb",
        bad_gltf(lambda d: d["accessors"][1].update(componentType=5126, count=6)),
        Unreadable,
        "unsigned integers; came float32",
    ),
    "glb that is scaled away": (
        ".glb",
        bad_gltf(lambda d: d["nodes"][0].update(scale=[1e308] * 3)),
        NotFinite,
        "at most|infinity",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_what_was_wanted_and_what_came(name):
    suffix, data, error, message = BAD[name]
    with pytest.raises(error, match=message) as caught:
        read_scan(data, suffix)
    assert len(str(caught.value)) < 500


def test_the_limits_are_the_callers():
    for name, (suffix, data, scan) in GOOD.items():
        with pytest.raises(TooBig, match=f"at most {len(data) - 1} bytes are taken; {len(data)} came"):
            read_scan(data, suffix, max_bytes=len(data) - 1)
        with pytest.raises(TooBig, match="at most"):
            read_scan(data, suffix, max_points=len(scan.points) // 9)
        if scan.triangles is None and suffix.lower() not in (".txt", ".xyz"):
            assert len(read_scan(data, suffix, max_points=len(scan.points) + 1).points) == 24, name


def test_a_lie_costs_no_memory():
    """Files of some hundred bytes that announce gigabytes, and a bomb: the peak stays within a few megabytes."""
    for name in (key for key in BAD if "announces" in key or "bomb" in key):
        suffix, data, _, _ = BAD[name]
        tracemalloc.start()
        with pytest.raises(BadCloud):
            read_scan(data, suffix)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4e6 + 10 * len(data), name


def only_bad_clouds(data: bytes, suffix: str) -> None:
    try:
        scan = read_scan(data, suffix, max_points=1000)
    except BadCloud:
        return
    assert 4 <= len(scan.points) <= 1000
    assert np.isfinite(scan.points).all()
    if scan.triangles is not None:
        assert 0 <= scan.triangles.min() <= scan.triangles.max() < len(scan.points)
        assert 0 < len(scan.triangles) <= 2000


@settings(max_examples=300, deadline=10_000)
@given(st.binary(max_size=400), st.sampled_from(sorted(READERS)))
@example(b"ply\nformat ascii 1.0\nelement face 1\nproperty list float float a\nend_header\nnan 1\n", ".ply")
@example(b"OFF\nnan nan 0\n", ".off")
@example(b"\x93NUMPY\x01\x00\x02\x00{}", ".npy")
def test_any_bytes_under_any_suffix_are_a_scan_or_a_bad_cloud(data, suffix):
    only_bad_clouds(data, suffix)


TEXTS = st.text(alphabet="0123456789.-+eEnaif ,;\n\t#/vfx_", max_size=200)


@settings(max_examples=300, deadline=10_000)
@given(
    TEXTS,
    st.sampled_from([".xyz", ".csv", ".obj", ".off", ".stl"]),
    st.sampled_from(["", "OFF\n4 1 0\n", "solid\n", OBJ]),
)
def test_any_text_is_a_scan_or_a_bad_cloud(text, suffix, start):
    only_bad_clouds((start + text).encode(), suffix)


@settings(max_examples=400, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.integers(0, 3)), max_size=6),
    st.data(),
)
def test_a_good_file_with_bytes_changed_left_out_and_doubled_is_a_scan_or_a_bad_cloud(name, changes, data):
    suffix, whole, _ = GOOD[name]
    body = bytearray(whole)
    for place, value, kind in changes:
        at = int(place * (len(body) - 1))
        match kind:
            case 0:
                body[at] = value
            case 1:
                del body[at : at + 1 + value]
            case 2:
                body[at:at] = body[at : at + value]
            case 3:
                body[at : at + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1])))
        if not body:
            break
    only_bad_clouds(bytes(body), suffix.lower())
