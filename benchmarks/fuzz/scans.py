"""Valid scan files in every format and their contents, as seeds of the fuzzer and inputs of the readers' tests."""

import base64
import gzip
import io
import json
import struct
from collections.abc import Callable

import numpy as np

from models.scans.cloud import Scan

POINTS = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32).astype(np.float64)  # exact in every format
TRIANGLES = np.random.default_rng(1).permuted(np.tile(np.arange(24), (30, 1)), axis=1)[:, :3]
SOUP = Scan(
    POINTS[TRIANGLES].reshape(-1, 3), np.arange(90).reshape(-1, 3)
)  # the scan of an .stl: no two triangles share a point
CLOUD, MESH = Scan(POINTS, None), Scan(POINTS, TRIANGLES)
_MOVED = POINTS.copy()
_MOVED[[2, 7, 23]] = (POINTS[:3] + 1).astype(np.float32)
SPARSE = Scan(_MOVED, TRIANGLES)


def lines(rows, mark: str = " ", start: str = "") -> str:
    """Write a line for each row, its values separated by `mark`, after `start`."""
    return "".join(
        start + mark.join(repr(float(x)) if isinstance(x, float) else str(x) for x in row) + "\n" for row in rows
    )


def npy(array: np.ndarray, **options) -> bytes:
    """Write a .npy."""
    np.save(file := io.BytesIO(), array, **options)
    return file.getvalue()


def npz(deflate: bool = True, **arrays: np.ndarray) -> bytes:
    """Write a .npz; objects are pickled."""
    (np.savez_compressed if deflate else np.savez)(file := io.BytesIO(), allow_pickle=True, **arrays)
    return file.getvalue()


def ply(form: str, *, faces: bool = True, extra: bool = False, mixed: bool = False) -> bytes:
    """Write a .ply; `extra` adds colours, texture coordinates and another element, `mixed` adds quads and a segment."""
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
    rows: list[tuple[str, tuple]] = []
    if extra:
        rows += [("dBhh", (45.5, 2, 640, 480)), ("dB", (50.5, 0))]
    rows += [("Bffd" if extra else "ffd", ((200, *p) if extra else tuple(p))) for p in POINTS.tolist()]
    for polygon in polygons if faces else []:
        texture = (6, *[0.5] * 6, 1) if extra else ()
        rows.append((f"B{len(polygon)}i{'B6fB' if extra else ''}", (len(polygon), *polygon, *texture)))
    return (header + "end_header\n").encode() + ply_body(form, rows)


def ply_body(form: str, rows: list[tuple[str, tuple]]) -> bytes:
    """Write the rows of a .ply; each row is a struct format and its values."""
    if form == "ascii":
        return lines([values for _, values in rows]).encode()
    order = ">" if "big" in form else "<"
    return b"".join(struct.pack(order + kind, *values) for kind, values in rows)


def lzf(data: bytes) -> bytes:
    """Compress with a simple encoder of runs and literals."""
    out, at = b"", 0
    while at < len(data):
        run = len(data[at:]) - len(data[at:].lstrip(data[at : at + 1]))
        if run >= 4:
            count = min(run - 1, 264)
            length = count - 2
            head = bytes([length << 5]) if length < 7 else bytes([7 << 5, length - 7])
            out += b"\0" + data[at : at + 1] + head + b"\0"
            at += 1 + count
        else:
            piece = data[at : at + min(32, max(1, run))]
            out += bytes([len(piece) - 1]) + piece
            at += len(piece)
    return out


def pcd(form: str, extra: bool = False) -> bytes:
    """Write a .pcd; `extra` adds a normal before the point and a label after it."""
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
    if form == "binary_compressed":
        kinds_of = [kind.lower() + str(size) for kind, size in zip(kinds, sizes, strict=True)]
        columns = [
            np.array([np.ravel(row[i]) for row in rows], f"<{kind}").tobytes() for i, kind in enumerate(kinds_of)
        ]
        packed = lzf(body := b"".join(columns))
        return header.encode() + struct.pack("<2I", len(packed), len(body)) + packed
    pack = [struct.pack("<3f2fdH", *row[0], *row[1:]) if extra else struct.pack("<2fd", *row) for row in rows]
    return header.encode() + b"".join(pack)


def gltf(
    nodes=None, *, strided: bool = False, mode: int = 4, change: Callable[[dict], None] | None = None
) -> tuple[dict, bytes]:
    """Return the JSON and the buffer of a glTF, float32 and uint16, with points and normals interleaved if `strided`."""
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


def sparse_gltf(base: bool = True, rows: tuple[int, ...] = (2, 7, 23)) -> tuple[dict, bytes]:
    """Return a glTF whose positions are POINTS, or zeros without a `base`, except that those in `rows` are the first of POINTS + 1."""
    values = (POINTS[: len(rows)] + 1).astype("<f4").tobytes()
    document, buffer = gltf()
    start = len(buffer)
    document["buffers"][0]["byteLength"] += 3 * len(rows) + len(values)
    document["bufferViews"] += [
        {"buffer": 0, "byteOffset": start, "byteLength": len(rows)},
        {"buffer": 0, "byteOffset": start + len(rows), "byteLength": len(values)},
    ]
    indices = {"bufferView": 2, "componentType": 5121}
    document["accessors"][0]["sparse"] = {"count": len(rows), "indices": indices, "values": {"bufferView": 3}}
    if not base:
        del document["accessors"][0]["bufferView"]
    return document, buffer + bytes(rows) + values


def glb(document: dict, buffer: bytes) -> bytes:
    """Write a .glb."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    buffer += b"\0" * (-len(buffer) % 4)
    body = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", len(buffer), 0x004E4942) + buffer
    return b"glTF" + struct.pack("<2I", 2, 12 + len(body)) + body


def inline(document: dict, buffer: bytes) -> bytes:
    """Write a .gltf with an embedded buffer."""
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(buffer).decode()
    return json.dumps(document).encode()


def stl_text() -> str:
    """Write a text .stl."""
    facets = (
        f"facet normal 0 0 0\nouter loop\n{lines(t, start='vertex ')}endloop\nendfacet\n"
        for t in POINTS[TRIANGLES].tolist()
    )
    return f"solid face of vertices\n{''.join(facets)}endsolid face\n"


def stl_binary(head: bytes = b"made in a test") -> bytes:
    """Write a binary .stl that begins with `head`."""
    facets = (struct.pack("<12fH", 0, 0, 0, *t.ravel(), 0) for t in POINTS[TRIANGLES])
    return head.ljust(80, b"\0") + struct.pack("<I", len(TRIANGLES)) + b"".join(facets)


OBJ = lines(POINTS.tolist(), start="v ")
FACES_3 = lines((TRIANGLES + 1).tolist(), start="f ")
TEXTURED = "".join("f " + " ".join(f"{i + 1}/{i + 1}/1" for i in t) + "\n" for t in TRIANGLES)
COUNTED = lines([[3, *t] for t in TRIANGLES.tolist()])
NAMED = lines([[7, *p] for p in POINTS.tolist()], ",")

GOOD: dict[str, tuple[str, bytes, Scan]] = {  # suffix, content, expected scan
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
    "csv with units, text and quotes": (
        ".csv",
        b"name,X (mm),Y (mm),Z (mm)\n"
        + "".join(f'"eye, left",{row}' for row in lines(POINTS.tolist(), ",").splitlines(True)).encode(),
        CLOUD,
    ),
    "pts with a count": (".pts", b"24\n" + lines(POINTS.tolist()).encode(), CLOUD),
    "asc": (".asc", lines(POINTS.tolist()).encode(), CLOUD),
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
    "pcd, compressed": (".pcd", pcd("binary_compressed"), CLOUD),
    "pcd, compressed, with more fields": (".pcd", pcd("binary_compressed", extra=True), CLOUD),
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
    "obj without faces": (".obj", OBJ.encode(), CLOUD),
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
    "stl, binary, with bytes after it": (".stl", stl_binary() + b"made by a scanner", SOUP),
    "stl, binary, that begins like text": (".stl", stl_binary(b"solid face"), SOUP),
    "glb": (".glb", glb(*gltf()), MESH),
    "glb, interleaved": (".glb", glb(*gltf(strided=True)), MESH),
    "gltf": (".gltf", inline(*gltf()), MESH),
    "glb, sparse": (".glb", glb(*sparse_gltf()), SPARSE),
    "glb, a cloud": (".glb", glb(*gltf(change=lambda d: d["meshes"][0]["primitives"].pop(0))), CLOUD),
    "ply, compressed": (".ply.gz", gzip.compress(ply("ascii"), mtime=0), MESH),
    "xyz, compressed": (".xyz.GZ", gzip.compress(lines(POINTS.tolist()).encode(), mtime=0), CLOUD),
}
