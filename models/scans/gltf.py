"""glTF 2.0 meshes, .glb and self-contained .gltf: the triangles of the default scene, in its coordinates.

Written here because trimesh 5.2 allocates whatever an accessor without data announces, and reads a sparse accessor as zeros. Materials,
images, skins and animations are ignored. Compressed meshes (Draco, meshopt) and buffers in other files are refused.
"""

import binascii
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import BadCloud, Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.polygons import check_corners
from models.scans.text import plain_text

MAX_JSON_PARTS = 1_000_000  # commas and brackets, which decide how large the parsed text is
JSON_CHUNK, BIN_CHUNK = 0x4E4F534A, 0x004E4942
POINTS_AND_LINES, TRIANGLES, STRIP, FAN = (0, 1, 2, 3), 4, 5, 6  # modes of a primitive
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3}
_NOT_GEOMETRY = re.compile(r"KHR_mesh_quantization|.*_(texture|materials?|lights?|image|xmp|animation)(_.*)?")


@dataclass(frozen=True)
class Document:
    """The parsed JSON, the bytes of each buffer, and the largest number of points."""

    json: dict[str, Any]
    buffers: list[bytes]
    max_points: int


def read_glb(data: bytes, max_points: int) -> Scan:
    """Read a binary glTF."""
    if len(data) < 20 or data[:4] != b"glTF":
        raise Unreadable(
            f"expected a .glb that begins with 'glTF' and 16 bytes more, got {data[:4]!r} and {len(data)} bytes"
        )
    version, length, size, kind = struct.unpack_from("<4I", data, 4)
    if version != 2 or kind != JSON_CHUNK:
        raise Unreadable(
            f"expected a .glb of version 2 that begins with JSON, got version {version} and chunk {kind:#x}"
        )
    if length > len(data) or 20 + size > length:
        raise Unreadable(
            f"expected {length} bytes with {size} of JSON, as the .glb announces, got {len(data)}; it is cut short"
        )
    binary = b""
    if length >= 28 + size:
        binary_size, kind = struct.unpack_from("<2I", data, 20 + size)
        if kind == BIN_CHUNK:
            if 28 + size + binary_size > length:
                raise Unreadable(
                    f"expected {binary_size} bytes of buffer, as the .glb announces, got {length - 28 - size}"
                )
            binary = data[28 + size : 28 + size + binary_size]
    return _scan(data[20 : 20 + size], binary, max_points)


def read_gltf(data: bytes, max_points: int) -> Scan:
    """Read a glTF of JSON that holds its buffers as base64."""
    return _scan(plain_text(data), None, max_points)


def _scan(text: bytes, binary: bytes | None, max_points: int) -> Scan:
    """Read the document; any contradiction in it raises Unreadable."""
    if (parts := sum(text.count(mark) for mark in (b",", b"[", b"{"))) > MAX_JSON_PARTS:
        raise TooBig(f"expected a glTF of at most {MAX_JSON_PARTS} parts of JSON, got {parts}")
    try:
        document = json.loads(text)
        required = sorted(map(str, document.get("extensionsRequired", [])))
        if geometry := [name for name in required if not _NOT_GEOMETRY.fullmatch(name)]:
            raise Unreadable(
                f"expected a glTF without extensions of geometry, got {', '.join(geometry)[:80]}; export it uncompressed"
            )
        buffers = [
            _buffer(buffer, binary if at == 0 else None) for at, buffer in enumerate(document.get("buffers", []))
        ]
        meshes = list(_meshes(Document(document, buffers, max_points)))
    except BadCloud:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"expected a consistent glTF, got {type(error).__name__}: {str(error)[:80]}") from None
    shifts = np.cumsum([0, *(len(points) for points, _ in meshes)])
    return Scan(
        np.concatenate([np.empty((0, 3)), *(points for points, _ in meshes)]),
        np.concatenate(
            [np.empty((0, 3), np.int64), *(t + shift for (_, t), shift in zip(meshes, shifts, strict=False))]
        ),
    )


def _buffer(buffer: dict[str, Any], binary: bytes | None) -> bytes:
    """Return the bytes of a buffer: the .glb's own chunk, or decoded base64."""
    if "uri" not in buffer:
        return binary or b""
    head, mark, coded = buffer["uri"].partition(";base64,")
    if not mark or not head.startswith("data:"):
        raise Unreadable("expected a .gltf with its buffers inside, got one that names another file; save it as .glb")
    return binascii.a2b_base64(coded, strict_mode=True)


def _meshes(document: Document) -> Iterator[tuple[Float[np.ndarray, "points 3"], Int[np.ndarray, "triangles 3"]]]:
    """Yield points and triangles of every mesh in the scene. Each node is visited once: nodes are trees (glTF 2.0, 3.5.2)."""
    nodes, meshes = document.json.get("nodes", []), document.json.get("meshes", [])
    pending = [(_natural(root), np.eye(4)) for root in _roots(document, nodes)]
    visited, total = set(), np.zeros(2, np.int64)
    while pending:
        at, T_scene_parent = pending.pop()
        if at in visited:
            raise Unreadable(f"expected one parent for each glTF node, got several for node {at}")
        visited.add(at)
        T_scene_node = T_scene_parent @ _transform(nodes[at])
        pending += [(_natural(child), T_scene_node) for child in nodes[at].get("children", [])]
        if "mesh" not in nodes[at]:
            continue
        for primitive in meshes[_natural(nodes[at]["mesh"])]["primitives"]:
            if (mode := primitive.get("mode", TRIANGLES)) in POINTS_AND_LINES:
                continue
            points = _accessor(document, primitive["attributes"]["POSITION"], "VEC3").astype(np.float64)
            triangles = _triangles(document, primitive, mode, len(points))
            total += len(points), len(triangles)
            if (total > (document.max_points, 2 * document.max_points)).any():
                raise TooBig(f"expected at most {document.max_points} points and twice as many triangles, got more")
            yield points @ T_scene_node[:3, :3].T + T_scene_node[:3, 3], triangles


def _roots(document: Document, nodes: list[dict[str, Any]]) -> list[Any]:
    """Return the root nodes of the default scene or, without scenes, the nodes that are no other's child."""
    if scenes := document.json.get("scenes", []):
        return scenes[_natural(document.json.get("scene", 0))].get("nodes", [])
    children = {child for node in nodes for child in node.get("children", [])}
    return [at for at in range(len(nodes)) if at not in children]


def _transform(node: dict[str, Any]) -> Float[np.ndarray, "4 4"]:
    """Return T_parent_node: a matrix, column by column, or translation x rotation (x, y, z, w) x scale."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    out = np.eye(4)
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), np.float64)
    out[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    out[:3, :3] *= np.array(node.get("scale", [1, 1, 1]), np.float64).reshape(1, 3)
    out[:3, 3] = node.get("translation", [0, 0, 0])
    return out


def _triangles(document: Document, primitive: dict[str, Any], mode: int, points: int) -> Int[np.ndarray, "triangles 3"]:
    """Return the triangles of a primitive as indices of its points."""
    corners = np.arange(points)
    if "indices" in primitive:
        stored = _accessor(document, primitive["indices"], "SCALAR")[:, 0]
        if stored.dtype.kind != "u":
            raise Unreadable(f"expected corners of glTF faces as unsigned integers, got {stored.dtype}")
        check_corners(stored, points)
        corners = stored.astype(np.int64)
    if mode == TRIANGLES:
        return corners.reshape(-1, 3)
    if mode not in (STRIP, FAN):
        raise Unreadable(f"expected a mode of 0 to 6 in a glTF primitive, got {str(mode)[:20]}")
    if len(corners) < 3:
        return np.empty((0, 3), np.int64)
    if mode == FAN:
        return np.stack([np.broadcast_to(corners[0], len(corners) - 2), corners[1:-1], corners[2:]], axis=1)
    triangles = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    triangles[1::2] = triangles[1::2, [1, 0, 2]]  # every other triangle of a strip is wound the other way
    return triangles


def _accessor(document: Document, index: Any, kind: str) -> np.ndarray:
    """Return the (count, 1 or 3) array of an accessor, as it is stored or, if it is normalized, as fractions."""
    accessor = document.json["accessors"][_natural(index)]
    if accessor["type"] != kind or "sparse" in accessor or "bufferView" not in accessor:
        raise Unreadable(
            f"expected a glTF {kind} with a buffer view, not sparse or compressed, got {str(accessor)[:120]}; export it so"
        )
    view = document.json["bufferViews"][_natural(accessor["bufferView"])]
    buffer = document.buffers[_natural(view["buffer"])]
    dtype, width, count = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[kind], _natural(accessor["count"])
    stride = _natural(view.get("byteStride", 0)) or dtype.itemsize * width
    begin, start = _natural(view.get("byteOffset", 0)), _natural(accessor.get("byteOffset", 0))
    size = min(_natural(view["byteLength"]), len(buffer) - begin) - start
    if count == 0 or stride < dtype.itemsize * width or (count - 1) * stride + dtype.itemsize * width > size:
        raise Unreadable(
            f"expected {count} items every {stride} bytes, as a glTF accessor announces, got {max(size, 0)} bytes"
        )
    array = np.ndarray((count, width), dtype, buffer, begin + start, (stride, dtype.itemsize))
    if accessor.get("normalized") is True and dtype.kind in "iu":
        return np.maximum(array / np.iinfo(dtype).max, -1)
    return array


def _natural(value: Any) -> int:
    """Return a count or an index of the document. Raises Unreadable for anything else."""
    if type(value) is not int or not 0 <= value < 2**40:
        raise Unreadable(f"expected a count or an index in a glTF, got {str(value)[:40]!r}")
    return value


GLB = Format((".glb",), read_glb, (b"glTF",), ("model/gltf-binary",), mesh=True)
GLTF = Format((".gltf",), read_gltf, media_types=("model/gltf+json",), mesh=True)
