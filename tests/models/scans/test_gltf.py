"""Tests of .glb and .gltf meshes."""

import io
import json
import struct
from collections.abc import Callable

import DracoPy
import numpy as np
import pytest
import trimesh
from refusals import assert_refused, triangles_in

from benchmarks.fuzz.scans import POINTS, TRIANGLES, glb, gltf, sparse_gltf
from models.scans import draco
from models.scans.cloud import BadCloud, Degenerate, NotFinite, TooBig, Unreadable
from models.scans.files import read_scan


def bad_gltf(change: Callable[[dict], None]) -> bytes:
    return glb(*gltf(change=change))


def zeros(count: int, nodes: int) -> bytes:
    """Write a glTF of a mesh of `count` points, nearly all of them zeros that take no bytes, in so many nodes."""
    document, buffer = sparse_gltf(base=False)
    document["accessors"][0]["count"] = count
    document.update(nodes=[{"mesh": 0}] * nodes, scenes=[{"nodes": list(range(nodes))}])
    return glb(document, buffer)


BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "glb of nothing but a line": (
        ".glb",
        bad_gltf(lambda d: d["meshes"][0].update(primitives=[{"attributes": {"POSITION": 0}, "mode": 3}])),
        Degenerate,
        "a glTF with faces, got none",
    ),
    "glb cut short": (".glb", glb(*gltf())[:-4], Unreadable, "announces"),
    "glb of version 1": (".glb", b"glTF" + struct.pack("<4I", 1, 20, 0, 0), Unreadable, "version 1"),
    "glb of nothing": (".glb", b"glTF", Unreadable, "4 bytes"),
    "glb that wants meshopt": (
        ".glb",
        bad_gltf(lambda d: d.update(extensionsRequired=["KHR_mesh_quantization", "EXT_meshopt_compression"])),
        Unreadable,
        "got EXT_meshopt_compression; export it without compression: from gltfpack without -c",
    ),
    "glb that wants instances": (
        ".glb",
        bad_gltf(lambda d: d.update(extensionsRequired=["EXT_mesh_gpu_instancing", "KHR_materials_unlit"])),
        Unreadable,
        "got EXT_mesh_gpu_instancing; export it without",
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
    "glb with an empty sparse accessor": (
        ".glb",
        bad_gltf(lambda d: d["accessors"][0].update(sparse={})),
        Unreadable,
        "consistent glTF, got KeyError",
    ),
    "glb of zeros without end": (".glb", zeros(2**38, nodes=1), TooBig, "got a sparse accessor of 274877906944"),
    "glb that repeats its mesh": (".glb", zeros(2000, nodes=60), TooBig, "points and twice as many triangles"),
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
    positions = np.zeros((24, 6), "<i2")
    positions[:, :3] = np.rint(POINTS * 5000)
    buffer = buffer[:4] + positions.tobytes() + buffer[4 + 288 :]
    np.testing.assert_allclose(
        read_scan(glb(document, buffer), ".glb").points, np.rint(POINTS * 5000) / 32767, atol=1e-12
    )


def cloud_of(document: dict) -> None:
    document["meshes"][0]["primitives"] = [{"attributes": {"POSITION": 0}, "mode": 0}]


def test_points_without_triangles_are_a_cloud():
    scan = read_scan(glb(*gltf(change=cloud_of)), ".glb")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.triangles is None


def test_points_that_are_picked_by_indices_are_those():
    def change(document: dict) -> None:
        cloud_of(document)
        document["meshes"][0]["primitives"][0]["indices"] = 1
        document["accessors"][1]["count"] = 9

    scan = read_scan(glb(*gltf(change=change)), ".glb")
    np.testing.assert_array_equal(scan.points, POINTS[np.unique(TRIANGLES[:3])])


@pytest.mark.parametrize("base", [True, False], ids=["over a view", "over zeros"])
def test_a_sparse_accessor_changes_some_rows_and_keeps_the_others(base: bool):
    scan = read_scan(glb(*sparse_gltf(base)), ".glb")
    expected = POINTS.copy() if base else np.zeros_like(POINTS)
    expected[[2, 7, 23]] = POINTS[:3] + 1
    np.testing.assert_array_equal(scan.points, expected.astype(np.float32))
    np.testing.assert_array_equal(scan.triangles, TRIANGLES)


@pytest.mark.parametrize("rows", [(7, 2, 23), (2, 2, 3), (2, 7, 24)], ids=["in another order", "repeated", "too far"])
def test_sparse_rows_that_are_not_increasing_indices_are_refused(rows: tuple[int, ...]):
    with pytest.raises(Unreadable, match="increasing indices below 24 in a sparse glTF accessor"):
        read_scan(glb(*sparse_gltf(rows=rows)), ".glb")


@pytest.mark.parametrize(
    "name",
    [
        "KHR_texture_basisu", "EXT_texture_webp", "KHR_materials_unlit", "KHR_materials_variants", "KHR_texture_transform",
        "KHR_lights_punctual", "GOOGLE_tilt_brush_material", "ADOBE_materials_thin_transparency", "EXT_structural_metadata",
        "KHR_techniques_webgl", "KHR_xmp_json_ld", "MSFT_texture_dds", "EXT_mesh_features", "MOZ_lightmap",
    ],
)  # fmt: skip
def test_an_extension_of_textures_and_materials_does_not_matter_even_if_it_is_required(name: str):
    data = glb(*gltf(change=lambda d: d.update(extensionsRequired=[name], extensionsUsed=[name])))
    np.testing.assert_array_equal(read_scan(data, ".glb").triangles, TRIANGLES)


@pytest.fixture(scope="module")
def packed() -> tuple[trimesh.Trimesh, bytes]:
    """Return a mesh, and the .glb of it that Draco compresses, as Blender and gltf-pipeline write it."""
    mesh = trimesh.creation.icosphere(subdivisions=2)
    content = DracoPy.encode(mesh.vertices, mesh.faces, quantization_bits=16)
    count = {"componentType": 5126, "count": len(mesh.vertices), "type": "VEC3"}
    primitive = {
        "attributes": {"POSITION": 0},
        "indices": 1,
        "extensions": {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}},
    }
    document = {
        "asset": {"version": "2.0"},
        "extensionsRequired": ["KHR_draco_mesh_compression"],
        "nodes": [{"mesh": 0, "scale": [2, 2, 2]}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": len(content)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(content)}],
        "accessors": [count, {"componentType": 5125, "count": mesh.faces.size, "type": "SCALAR"}],
    }
    return mesh, glb(document, content)


def test_a_mesh_that_draco_compressed_is_read_and_placed_by_its_node(packed):
    mesh, data = packed
    scan = read_scan(data, ".glb")
    assert scan.triangles is not None
    ours, theirs = (
        np.sort(corners.mean(axis=1), axis=0) for corners in (scan.points[scan.triangles], 2 * mesh.triangles)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_draco_without_its_decoder_is_refused_with_how_to_save_without(packed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(draco, "PACKAGE", "no_such_package")
    with pytest.raises(Unreadable, match=r"pip install 'chiron\[draco\]'.*from Blender with Compression off"):
        read_scan(packed[1], ".glb")


def test_draco_that_is_damaged_or_wants_too_much_is_refused(packed, monkeypatch: pytest.MonkeyPatch):
    _, data = packed
    with pytest.raises(Unreadable, match="expected a Draco mesh, got one that cannot be decoded"):
        read_scan(data.replace(b"DRACO", b"draco"), ".glb")
    with pytest.raises(TooBig, match="at most 100 points and twice as many triangles in a Draco mesh"):
        read_scan(data, ".glb", max_points=100)
    monkeypatch.setattr(draco, "MEMORY", 1 << 20)
    with pytest.raises(Unreadable, match=r"the decoder died|cannot be decoded"):
        read_scan(data, ".glb")
