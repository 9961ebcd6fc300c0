"""glTF 2.0 meshes, .glb and self-contained .gltf: the triangles of the default scene, in its coordinates.

Written here since trimesh 5.2 allocates what an accessor without data claims, and gives zeros for a sparse one.
Materials, images, skins and animations are passed over; compressed meshes (Draco, meshopt) and buffers in other files
are refused.
"""

import binascii
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import (
    BadCloud,
    Scan,
    TooBig,
    Unreadable,
)

MAX_JSON_PARTS = 1_000_000  # commas and brackets: what makes the parsed text large
JSON_CHUNK, BIN_CHUNK = 0x4E4F534A, 0x004E4942
POINTS_MODES, TRIANGLES, STRIP, FAN = (0, 1, 2, 3), 4, 5, 6
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3}
_READABLE = {
    "KHR_mesh_quantization"
}  # of the extensions a file may require, those that geometry needs and that are read


@dataclass(frozen=True)
class Document:
    """The parsed JSON, and the bytes of each buffer."""

    json: dict[str, Any]
    buffers: list[bytes]
    max_points: int


def read_glb(data: bytes, max_points: int) -> Scan:
    """A binary glTF."""
    if len(data) < 20 or data[:4] != b"glTF":
        raise Unreadable(
            f"a .glb begins with 'glTF' and 16 bytes more; this one begins with {data[:4]!r}, {len(data)} bytes"
        )
    version, length, size, kind = struct.unpack_from("<4I", data, 4)
    if version != 2 or kind != JSON_CHUNK:
        raise Unreadable(f"a .glb of version 2 that begins with JSON is read; came version {version}, chunk {kind:#x}")
    if length > len(data) or 20 + size > length:
        raise Unreadable(f"the .glb announces {length} bytes with {size} of JSON; {len(data)} came")
    binary = b""
    if length >= 28 + size:
        room, kind = struct.unpack_from("<2I", data, 20 + size)
        if kind == BIN_CHUNK:
            if 28 + size + room > length:
                raise Unreadable(f"the .glb announces {room} bytes of buffer; {length - 28 - size} came")
            binary = data[28 + size : 28 + size + room]
    return _scan(data[20 : 20 + size], binary, max_points)


def read_gltf(data: bytes, max_points: int) -> Scan:
    """A glTF as JSON, with its buffers inside as base64."""
    return _scan(data, None, max_points)


def _scan(text: bytes, binary: bytes | None, max_points: int) -> Scan:
    if (parts := sum(text.count(mark) for mark in (b",", b"[", b"{"))) > MAX_JSON_PARTS:
        raise TooBig(f"glTF of at most {MAX_JSON_PARTS} parts of JSON is taken; {parts} came")
    try:
        document = json.loads(text)
        if required := set(document.get("extensionsRequired", [])) - _READABLE:
            raise Unreadable(f"glTF is read as it is, not with {', '.join(map(str, sorted(required)))[:80]}")
        buffers = [
            _buffer(buffer, binary if at == 0 else None) for at, buffer in enumerate(document.get("buffers", []))
        ]
        pieces = list(_pieces(Document(document, buffers, max_points)))
    except BadCloud:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"the glTF contradicts itself: {type(error).__name__} {str(error)[:80]}") from None
    shifts = np.cumsum([0, *(len(points) for points, _ in pieces)])
    return Scan(
        np.concatenate([np.empty((0, 3)), *(points for points, _ in pieces)]),
        np.concatenate(
            [np.empty((0, 3), np.int64), *(t + shift for (_, t), shift in zip(pieces, shifts, strict=False))]
        ),
    )


def _buffer(buffer: dict[str, Any], binary: bytes | None) -> bytes:
    if "uri" not in buffer:
        return binary or b""
    head, mark, coded = buffer["uri"].partition(";base64,")
    if not mark or not head.startswith("data:"):
        raise Unreadable("a .gltf has its buffers inside; this one names another file. Save it as .glb")
    return binascii.a2b_base64(coded, strict_mode=True)


def _pieces(document: Document) -> Iterator[tuple[Float[np.ndarray, "points 3"], Int[np.ndarray, "triangles 3"]]]:
    """Points and triangles of every mesh in the scene. Each node is visited once: nodes are trees (glTF 2.0, 3.5.2)."""
    nodes, meshes = document.json.get("nodes", []), document.json.get("meshes", [])
    if scenes := document.json.get("scenes", []):
        roots = scenes[_natural(document.json.get("scene", 0))].get("nodes", [])
    else:
        named = {child for node in nodes for child in node.get("children", [])}
        roots = [at for at in range(len(nodes)) if at not in named]
    todo, seen, total = [(_natural(root), np.eye(4)) for root in roots], set(), np.zeros(2, np.int64)
    while todo:
        at, T_scene_parent = todo.pop()
        if at in seen:
            raise Unreadable(f"a glTF node has one parent; node {at} has more")
        seen.add(at)
        T_scene_node = T_scene_parent @ _transform(nodes[at])
        todo += [(_natural(child), T_scene_node) for child in nodes[at].get("children", [])]
        if "mesh" in nodes[at]:
            for primitive in meshes[_natural(nodes[at]["mesh"])]["primitives"]:
                if (mode := primitive.get("mode", TRIANGLES)) in POINTS_MODES:
                    continue
                points = _accessor(document, primitive["attributes"]["POSITION"], "VEC3").astype(np.float64)
                triangles = _triangles(document, primitive, mode, len(points))
                total += len(points), len(triangles)
                if (total > (document.max_points, 2 * document.max_points)).any():
                    raise TooBig(
                        f"at most {document.max_points} points and twice as many triangles are taken; more came"
                    )
                yield points @ T_scene_node[:3, :3].T + T_scene_node[:3, 3], triangles


def _transform(node: dict[str, Any]) -> Float[np.ndarray, "4 4"]:
    """T_parent_node: a matrix, column by column, or translation x rotation (x, y, z, w) x scale."""
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
    corners = np.arange(points)
    if "indices" in primitive:
        stored = _accessor(document, primitive["indices"], "SCALAR")[:, 0]
        if stored.dtype.kind != "u":
            raise Unreadable(f"the corners of glTF faces are unsigned integers; came {stored.dtype}")
        corners = stored.astype(np.int64)
    if len(corners) and not 0 <= corners.min() <= corners.max() < points:
        raise Unreadable(f"the corners of faces are among the {points} points; others came")
    if mode == TRIANGLES:
        return corners.reshape(-1, 3)
    if mode not in (STRIP, FAN):
        raise Unreadable(f"a glTF primitive's mode is 0 to 6; came {str(mode)[:20]}")
    if len(corners) < 3:
        return np.empty((0, 3), np.int64)
    if mode == FAN:
        return np.stack([np.broadcast_to(corners[0], len(corners) - 2), corners[1:-1], corners[2:]], axis=1)
    triangles = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    triangles[1::2] = triangles[1::2, [1, 0, 2]]  # every other one is wound the other way
    return triangles


def _accessor(document: Document, index: Any, kind: str) -> np.ndarray:
    """The (count, 1 or 3) array of an accessor, as it is stored or, if normalized, as fractions."""
    accessor = document.json["accessors"][_natural(index)]
    if accessor["type"] != kind or "sparse" in accessor or "bufferView" not in accessor:
        raise Unreadable(
            f"a glTF {kind} with a buffer view, not sparse or compressed, is read; came {str(accessor)[:120]}"
        )
    view = document.json["bufferViews"][_natural(accessor["bufferView"])]
    buffer = document.buffers[_natural(view["buffer"])]
    dtype, width, count = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[kind], _natural(accessor["count"])
    stride = _natural(view.get("byteStride", 0)) or dtype.itemsize * width
    begin, start = _natural(view.get("byteOffset", 0)), _natural(accessor.get("byteOffset", 0))
    room = min(_natural(view["byteLength"]), len(buffer) - begin) - start
    if count == 0 or stride < dtype.itemsize * width or (count - 1) * stride + dtype.itemsize * width > room:
        raise Unreadable(
            f"a glTF accessor announces {count} items every {stride} bytes; {max(room, 0)} bytes are there"
        )
    array = np.ndarray((count, width), dtype, buffer, begin + start, (stride, dtype.itemsize))
    if accessor.get("normalized") is True and dtype.kind in "iu":
        return np.maximum(array / np.iinfo(dtype).max, -1)
    return array


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**40:
        raise Unreadable(f"glTF wants a count or an index; came {str(value)[:40]!r}")
    return value
