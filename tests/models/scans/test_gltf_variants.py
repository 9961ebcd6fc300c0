"""A property test of .glb and .gltf files whose buffers, accessors and nodes are arranged as exporters arrange them."""

import base64
import json
import struct
from random import Random

import numpy as np
from hypothesis import given
from variants import FEW, SEEDS, some_points, some_polygons, sorted_triangles
from variants import triangles_in as triangles_of

from benchmarks.fuzz.scans import glb
from models.scans.files import read_scan


class Writer:
    """A builder of a glTF document: views and accessors over one buffer, with gaps and strides as exporters write them."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.buffer = rng, bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def view(self, data: bytes, **more: int) -> int:
        self.buffer += bytes(self.rng.choice((0, 4, 12)))
        self.views.append({"buffer": 0, "byteOffset": len(self.buffer), "byteLength": len(data), **more})
        self.buffer += data
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, component: int, kind: str) -> int:
        """Add an accessor of rows: packed, or beside other columns and after an offset."""
        stored = {"componentType": component, "count": len(array), "type": kind}
        if self.rng.random() < 0.5:
            stored["bufferView"] = self.view(array.tobytes())
        else:
            other = np.ones((len(array), 4), array.dtype)
            table = np.hstack([array, other]) if array.ndim == 2 and array.shape[1] == 3 else array
            stride = {"byteStride": table.itemsize * table.shape[1]} if table is not array else {}
            stored |= {"bufferView": self.view(b"\0" * 8 + table.tobytes(), **stride), "byteOffset": 8}
        self.accessors.append(stored)
        return len(self.accessors) - 1

    def positions(self, points: np.ndarray) -> int:
        """Add points as float32, some of them by a sparse accessor."""
        if self.rng.random() < 0.7:
            return self.accessor(points.astype("<f4"), 5126, "VEC3")
        rows = sorted(self.rng.sample(range(len(points)), 2))
        base = points.astype("<f4")
        base[rows] = 99
        index = self.accessor(base, 5126, "VEC3")
        component, dtype = self.rng.choice(((5121, "<u1"), (5123, "<u2"), (5125, "<u4")))
        indices = {"bufferView": self.view(np.array(rows, dtype).tobytes()), "componentType": component}
        values = {"bufferView": self.view(points[rows].astype("<f4").tobytes())}
        self.accessors[index]["sparse"] = {"count": 2, "indices": indices, "values": values}
        return index

    def corners(self, corners: np.ndarray) -> int:
        component, dtype = self.rng.choice(((5121, "<u1"), (5123, "<u2"), (5125, "<u4")))
        return self.accessor(corners.astype(dtype).reshape(-1, 1), component, "SCALAR")


def primitive_of(writer: Writer, points: np.ndarray, triangles: np.ndarray) -> dict:
    """Write triangles with indices, as strips of one, or without indices; there is then one point for each corner."""
    rng = writer.rng
    if len(triangles) == 1 and rng.random() < 0.5:
        mode = rng.choice((5, 6))  # a strip or a fan of one triangle
        return {
            "attributes": {"POSITION": writer.positions(points)},
            "indices": writer.corners(triangles),
            "mode": mode,
        }
    return {
        "attributes": {"POSITION": writer.positions(points)},
        "indices": writer.corners(triangles),
        "extras": {"mode": 0},
    }


def parents(rng: Random, mesh: int) -> tuple[list[dict], np.ndarray, float]:
    """Return a chain of nodes from the root to the mesh, and its translation and scale, exact in binary."""
    shift, scale = np.array([rng.randint(-4, 4) for _ in range(3)]), rng.choice((0.5, 1, 2))
    inner: dict = {"mesh": mesh, "scale": [scale] * 3}
    if rng.random() < 0.5:
        inner = {"mesh": mesh, "matrix": np.diag([scale, scale, scale, 1]).ravel().tolist()}
    return [{"children": [1], "translation": shift.tolist(), "name": "scan"}, inner], shift, scale


@FEW
@given(SEEDS)
def test_every_way_to_write_a_gltf_gives_the_same_scan(seed: int):
    rng = Random(seed)
    writer, points = Writer(rng), some_points(rng)
    triangles = np.array(triangles_of(some_polygons(rng, len(points))))
    primitive = primitive_of(writer, points, triangles)
    cloud = {"attributes": {"POSITION": writer.positions(points)}, "mode": rng.choice((0, 1, 3))}
    nodes, shift, scale = parents(rng, 0)
    document = {
        "asset": {"version": "2.0", "generator": "a test"},
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": [{"primitives": rng.sample([primitive, cloud], 2)}],
        "accessors": writer.accessors,
        "bufferViews": writer.views,
        "buffers": [{"byteLength": len(writer.buffer)}],
        **({"scene": 0} if rng.random() < 0.5 else {}),
    }
    if rng.random() < 0.5:
        data, suffix = glb(document, bytes(writer.buffer)), ".glb"
        if rng.random() < 0.3:  # an unknown chunk after the buffer
            data = (
                data[:8] + struct.pack("<I", len(data) + 12) + data[12:] + struct.pack("<2I", 4, 0x12345678) + b"more"
            )
    else:
        kind = rng.choice(("data:application/octet-stream", "data:application/gltf-buffer", "data:"))
        document["buffers"][0]["uri"] = f"{kind};base64,{base64.b64encode(writer.buffer).decode()}"
        text = json.dumps(document, indent=rng.choice((None, 2)))
        data, suffix = text.encode(rng.choice(("utf-8", "utf-8-sig"))), ".gltf"
    scan = read_scan(data, suffix)
    np.testing.assert_array_equal(scan.points, points * scale + shift)
    assert sorted_triangles(scan.triangles) == sorted(map(tuple, triangles.tolist()))
