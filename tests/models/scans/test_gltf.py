"""Tests of .glb and .gltf meshes."""

import io
import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
import trimesh
from refusals import assert_refused, triangles_in

from benchmarks.fuzz.scans import POINTS, glb, gltf
from models.scans.cloud import BadCloud, Degenerate, NotFinite, TooBig, Unreadable
from models.scans.files import read_scan


def bad_gltf(change: Callable[[dict], None]) -> bytes:
    return glb(*gltf(change=change))


BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "glb of points": (".glb", bad_gltf(lambda d: d["meshes"][0]["primitives"].pop(0)), Degenerate, "got 0"),
    "glb cut short": (".glb", glb(*gltf())[:-4], Unreadable, "announces"),
    "glb of version 1": (".glb", b"glTF" + struct.pack("<4I", 1, 20, 0, 0), Unreadable, "version 1"),
    "glb of nothing": (".glb", b"glTF", Unreadable, "4 bytes"),
    "glb that wants draco": (
        ".glb",
        bad_gltf(lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"])),
        Unreadable,
        "got KHR_draco",
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
        "expected 25 items every 12 bytes",
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
        "got '-8'",
    ),
    "glb that is sparse": (".glb", bad_gltf(lambda d: d["accessors"][0].update(sparse={})), Unreadable, "not sparse"),
    "glb with a face too far": (
        ".glb",
        bad_gltf(lambda d: d["accessors"][0].update(count=9)),
        Unreadable,
        "from 0 to 8, the indices of the points",
    ),
    "glb in a circle": (".glb", bad_gltf(lambda d: d["nodes"][0].update(children=[0])), Unreadable, "one parent"),
    "glb with twins": (".glb", bad_gltf(lambda d: d["scenes"][0].update(nodes=[0, 0])), Unreadable, "one parent"),
    "glb with a strange node": (
        ".glb",
        bad_gltf(lambda d: d["nodes"][0].update(rotation="up")),
        Unreadable,
        "consistent glTF",
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
        "unsigned integers, got float32",
    ),
    "glb that is scaled away": (
        ".glb",
        bad_gltf(lambda d: d["nodes"][0].update(scale=[1e308] * 3)),
        NotFinite,
        "at most|infinity",
    ),
    "gltf of another file": (
        ".gltf",
        json.dumps({"buffers": [{"uri": "face.bin"}]}).encode(),
        Unreadable,
        "names another file",
    ),
    "gltf that is no json": (".gltf", b"{", Unreadable, "expected a consistent glTF"),
    "gltf that is a list": (".gltf", b"[]", Unreadable, "expected a consistent glTF"),
    "gltf nested deep": (".gltf", b"[" * 200_000, Unreadable, "RecursionError"),
    "gltf of many parts": (".gltf", b"[" + b"[]," * 600_000, TooBig, "parts of JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


def test_nodes_transform_their_meshes():
    turn = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]  # a quarter turn about z, from x to y
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
    ("mode", "expected"),
    [(5, [(0, 1, 2), (2, 1, 3), (2, 3, 4), (4, 3, 5)]), (6, [(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5)])],
)
def test_triangles_of_strips_and_fans_have_one_winding(mode, expected):
    def change(document: dict) -> None:
        del document["meshes"][0]["primitives"][0]["indices"]
        document["accessors"][0]["count"] = 6

    assert triangles_in(glb(*gltf(mode=mode, change=change)), ".glb") == expected


def test_a_document_without_scenes_and_with_quantized_points_is_read():
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
