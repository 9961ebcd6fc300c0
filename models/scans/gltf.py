"""glTF 2.0 meshes and clouds, .glb and self-contained .gltf: the default scene, in its coordinates.

Written here because trimesh 5.2 allocates whatever an accessor without data announces, and reads a sparse accessor as zeros. Materials,
images, skins and animations are ignored; so are lines, and points beside triangles. Buffers in other files are refused.
"""

import binascii
import json
import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from models.scans import draco
from models.scans.cloud import BadCloud, Scan, TooBig, Unreadable
from models.scans.format import Format, inflated_limit
from models.scans.gltf_data import Document, accessor, bytes_of_view, natural
from models.scans.polygons import check_corners, require_triangles
from models.scans.text import plain_text

MAX_JSON_PARTS = 1_000_000  # commas and brackets, which decide how large the parsed text is
POINT_BYTES = 12  # a position of three float32
JSON_CHUNK, BIN_CHUNK = 0x4E4F534A, 0x004E4942
POINTS, LINES, TRIANGLES, STRIP, FAN = 0, (1, 2, 3), 4, 5, 6  # modes of a primitive
DRACO, MESHOPT = "KHR_draco_mesh_compression", ("EXT_meshopt_compression", "KHR_meshopt_compression")
_NOT_GEOMETRY = re.compile(  # extensions of everything but shapes and places
    r"KHR_mesh_quantization|.*_(textures?|materials?|techniques?|lights?|lightmap|image|environment|xmp|audio|animation|physics"
    r"|variants|metadata|features)(_.*)?",
    re.IGNORECASE,
)


class Part(NamedTuple):
    """The points of a primitive and its triangles; None for a primitive that is a cloud."""

    points: Float[np.ndarray, "points 3"]
    triangles: Int[np.ndarray, "triangles 3"] | None


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
    most = (
        inflated_limit(len(text) + len(binary or b"")) // POINT_BYTES
    )  # nodes may repeat a mesh, and zeros take no bytes
    try:
        document = json.loads(text)
        _check_extensions(document)
        buffers = [
            _buffer(buffer, binary if at == 0 else None) for at, buffer in enumerate(document.get("buffers", []))
        ]
        primitives = list(_parts(Document(document, buffers, min(max_points, most))))
    except BadCloud:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"expected a consistent glTF, got {type(error).__name__}: {str(error)[:80]}") from None
    meshes = [part for part in primitives if part.triangles is not None]
    clouds = [part for part in primitives if part.triangles is None]
    if clouds and not any(len(part.triangles) for part in meshes if part.triangles is not None):
        return Scan(np.concatenate([part.points for part in clouds]), None)
    shifts = np.cumsum([0, *(len(part.points) for part in meshes)])
    triangles = [
        part.triangles + shift for part, shift in zip(meshes, shifts, strict=False) if part.triangles is not None
    ]
    scan = Scan(
        np.concatenate([np.empty((0, 3)), *(part.points for part in meshes)]),
        np.concatenate([np.empty((0, 3), np.int64), *triangles]),
    )
    require_triangles(scan, "a glTF")
    return scan


def _check_extensions(document: dict[str, Any]) -> None:
    """Raise Unreadable for a required extension of shapes or places that is not read here."""
    required = sorted(map(str, document.get("extensionsRequired", [])))
    unknown = [name for name in required if name != DRACO and not _NOT_GEOMETRY.fullmatch(name)]
    if not unknown:
        return
    advice = "export it without"
    if set(unknown) & set(MESHOPT):
        advice = "export it without compression: from gltfpack without -c, from Blender as it is"
    raise Unreadable(f"expected a glTF without extensions of geometry, got {', '.join(unknown)[:80]}; {advice}")


def _buffer(buffer: dict[str, Any], binary: bytes | None) -> bytes:
    """Return the bytes of a buffer: the .glb's own chunk, or decoded base64."""
    if "uri" not in buffer:
        return binary or b""
    head, mark, coded = buffer["uri"].partition(";base64,")
    if not mark or not head.startswith("data:"):
        raise Unreadable("expected a .gltf with its buffers inside, got one that names another file; save it as .glb")
    return binascii.a2b_base64(coded, strict_mode=True)


def _parts(document: Document) -> Iterator[Part]:
    """Yield every mesh and cloud in the scene. Each node is visited once: nodes are trees (glTF 2.0, 3.5.2)."""
    nodes, meshes = document.json.get("nodes", []), document.json.get("meshes", [])
    pending = [(natural(root), np.eye(4)) for root in _roots(document, nodes)]
    visited, total = set(), np.zeros(2, np.int64)
    while pending:
        at, T_scene_parent = pending.pop()
        if at in visited:
            raise Unreadable(f"expected one parent for each glTF node, got several for node {at}")
        visited.add(at)
        T_scene_node = T_scene_parent @ _transform(nodes[at])
        pending += [(natural(child), T_scene_node) for child in nodes[at].get("children", [])]
        if "mesh" not in nodes[at]:
            continue
        for primitive in meshes[natural(nodes[at]["mesh"])]["primitives"]:
            if primitive.get("mode", TRIANGLES) in LINES:
                continue
            points, triangles = _primitive(document, primitive)
            total += len(points), 0 if triangles is None else len(triangles)
            if (total > (document.max_points, 2 * document.max_points)).any():
                raise TooBig(f"expected at most {document.max_points} points and twice as many triangles, got more")
            yield Part(points @ T_scene_node[:3, :3].T + T_scene_node[:3, 3], triangles)


def _primitive(document: Document, primitive: dict[str, Any]) -> Part:
    """Return a primitive in its own coordinates. Raises Unreadable and TooBig."""
    position, mode = primitive["attributes"]["POSITION"], primitive.get("mode", TRIANGLES)
    compressed = primitive.get("extensions", {}).get(DRACO)
    if compressed is not None and "bufferView" not in document.json["accessors"][natural(position)]:
        if mode not in (TRIANGLES, STRIP):
            raise Unreadable(f"expected triangles in a {DRACO} of a glTF, got a primitive of mode {str(mode)[:20]}")
        content, name = bytes_of_view(document, compressed["bufferView"]), natural(compressed["attributes"]["POSITION"])
        return Part(*draco.decode(content, name, document.max_points))
    points = accessor(document, position, "VEC3").astype(np.float64)
    if mode != POINTS:
        return Part(points, _triangles(document, primitive, mode, len(points)))
    if "indices" in primitive:
        points = points[np.unique(_corners(document, primitive, len(points)))]
    return Part(points, None)


def _roots(document: Document, nodes: list[dict[str, Any]]) -> list[Any]:
    """Return the root nodes of the default scene or, without scenes, the nodes that are no other's child."""
    if scenes := document.json.get("scenes", []):
        return scenes[natural(document.json.get("scene", 0))].get("nodes", [])
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


def _corners(document: Document, primitive: dict[str, Any], points: int) -> Int[np.ndarray, " corners"]:
    """Return the points that a primitive refers to, in its order. Raises Unreadable."""
    if "indices" not in primitive:
        return np.arange(points)
    stored = accessor(document, primitive["indices"], "SCALAR")[:, 0]
    if stored.dtype.kind != "u":
        raise Unreadable(f"expected corners of glTF faces as unsigned integers, got {stored.dtype}")
    check_corners(stored, points)
    return stored.astype(np.int64)


def _triangles(document: Document, primitive: dict[str, Any], mode: int, points: int) -> Int[np.ndarray, "triangles 3"]:
    """Return the triangles of a primitive as indices of its points."""
    corners = _corners(document, primitive, points)
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


GLB = Format((".glb",), read_glb, (b"glTF",), ("model/gltf-binary",))
GLTF = Format((".gltf",), read_gltf, media_types=("model/gltf+json",))
