"""Files to scans: bytes under a suffix become points and triangles, or one BadCloud that says what is wrong.

Nothing is unpickled and no header is believed: what a file announces is held against the bytes that are there, or
against the limits, before anything is allocated.
"""

import ast
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from models.contract.cloud import BadCloud, Degenerate, Scan, TooBig, UnknownSuffix, Unreadable, check_points
from models.contract.cloud_gltf import read_glb, read_gltf
from models.contract.cloud_ply import read_ply
from models.contract.cloud_text import (
    MAX_COLUMNS,
    lines_of,
    read_obj,
    read_off,
    read_stl_text,
    read_table,
    require_triangles,
    triangles_of,
)

MAX_BYTES = 64 << 20
MAX_POINTS = 5_000_000
NPY_MAX_HEADER, PCD_MAX_HEADER = 1024, 4096
NPY_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
MAX_RATIO = 100  # a .npz member inflated over deflated: coordinates reach 2, a bomb 1000
MAX_MEMBERS = 1000
POINT_BYTES = 64  # a point with normal and colour in float64
POINT_KEYS, TRIANGLE_KEYS = ("points", "vertices", "positions", "xyz", "cloud"), ("triangles", "faces")
SIGNS = {  # how files begin that are only ever one thing
    b"ply\n": ".ply",
    b"ply\r": ".ply",
    b"glTF": ".glb",
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".npz",
    b"# .PCD": ".pcd",
}


def read_scan(data: bytes, suffix: str, *, max_bytes: int = MAX_BYTES, max_points: int = MAX_POINTS) -> Scan:
    """The scan in a file of this suffix (".ply", any case), in the file's unit and order of points.

    Raises UnknownSuffix, TooBig, Unreadable, NotFinite or Degenerate, all of them BadCloud.
    """
    suffix = suffix.lower()
    if suffix not in READERS:
        raise UnknownSuffix(f"no reader for {suffix[:20]!r} files; there are {', '.join(READERS)}")
    if len(data) > max_bytes:
        raise TooBig(f"files of at most {max_bytes} bytes are taken; {len(data)} came")
    if not data.strip():
        raise Degenerate(f"an empty {suffix} file")
    sign = next((sign for sign in SIGNS if data.startswith(sign)), None)
    if sign is not None and SIGNS[sign] != suffix:
        raise UnknownSuffix(f"a {suffix} file does not begin with {sign!r}: this is a {SIGNS[sign]} file")
    with np.errstate(invalid="ignore", over="ignore"):  # a signalling NaN is a complaint in a cast already
        scan = READERS[suffix](data, max_points)
    if len(scan.points) > max_points:
        raise TooBig(f"at most {max_points} points are taken; {len(scan.points)} came")
    check_points(scan.points)
    if suffix in MESHES:
        require_triangles(scan, f"a {suffix} file")
    return scan if scan.triangles is not None and len(scan.triangles) else Scan(scan.points, None)


def read_npy(data: bytes, max_points: int) -> Scan:
    """An array (points, 3 or more) in a .npy: numbers of any size and byte order, x y z first."""
    return Scan(_coordinates(npy_array(data), "a .npy", max_points), None)


def npy_array(data: bytes) -> np.ndarray:
    """The array of a .npy file of version 1 to 3, a view of its bytes: real numbers, which fill the file exactly.

    The header is parsed as a literal of at most NPY_MAX_HEADER bytes. Raises Unreadable.
    """
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3):
        raise Unreadable("a .npy file begins with \\x93NUMPY and a version of 1 to 3; this does not")
    start = 10 if data[6] == 1 else 12
    end = start + int.from_bytes(data[8:start], "little")
    if end > min(len(data), start + NPY_MAX_HEADER):
        raise Unreadable(f"the .npy header has {end - start} bytes, more than the file or {NPY_MAX_HEADER}")
    try:
        header = ast.literal_eval(data[start:end].decode("latin-1").strip())
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError):
        raise Unreadable("the .npy header has no descr, fortran_order and shape") from None
    if not (isinstance(descr, str) and descr[:1] in "<>|" and descr[1:] in NPY_TYPES):
        raise Unreadable(f"a .npy of real numbers is taken, no objects or records; came {str(descr)[:40]!r}")
    if not (isinstance(shape, tuple) and len(shape) <= 4 and all(type(n) is int and 0 <= n < 2**62 for n in shape)):
        raise Unreadable(f"a .npy has a shape; came {str(shape)[:80]}")
    dtype = np.dtype(descr)
    if (wanted := math.prod(shape) * dtype.itemsize) != len(data) - end:
        raise Unreadable(f"{shape} of {descr} is {wanted} bytes; {len(data) - end} came in the .npy")
    return np.frombuffer(data, dtype, offset=end).reshape(shape, order="F" if fortran else "C")


def _coordinates(array: np.ndarray, what: str, max_points: int) -> Float[np.ndarray, "points 3"]:
    if array.ndim != 2 or not 3 <= array.shape[1] <= MAX_COLUMNS:
        raise Unreadable(f"{what} wants an array (points, 3 to {MAX_COLUMNS}); came {array.shape}")
    if len(array) > max_points:
        raise TooBig(f"at most {max_points} points are taken; {len(array)} came")
    return np.ascontiguousarray(array[:, :3], dtype=np.float64)


def read_npz(data: bytes, max_points: int) -> Scan:
    """A .npz with points under one of POINT_KEYS, or alone, and triangles, if it is a mesh, under one of TRIANGLE_KEYS.

    Other arrays are not inflated.
    """
    if (members := data.count(b"PK\x01\x02")) > MAX_MEMBERS:
        raise TooBig(f"a .npz of at most {MAX_MEMBERS} arrays is taken; {members} came")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _arrays(archive, max_points)
    except BadCloud:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        RuntimeError,
        LookupError,
        ValueError,
    ) as error:
        raise Unreadable(f"the .npz is no archive that can be opened: {str(error)[:80]}") from None


def _arrays(archive: zipfile.ZipFile, max_points: int) -> Scan:
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    key = next((key for key in POINT_KEYS if key in members), next(iter(members)) if len(members) == 1 else None)
    if key is None:
        came = ", ".join(members)[:200]
        raise Unreadable(f"a .npz wants an array called {' or '.join(POINT_KEYS)}, or only one; it has {came}")
    points = _coordinates(npy_array(_inflated(archive, members[key], max_points)), repr(key[:40]), max_points)
    faces = next((face for face in TRIANGLE_KEYS if face in members and face != key), None)
    if faces is None:
        return Scan(points, None)
    corners = npy_array(_inflated(archive, members[faces], max_points))
    if corners.ndim != 2 or corners.shape[1] not in (3, 4) or corners.dtype.kind not in "iu":
        raise Unreadable(f"{faces!r} wants whole numbers (faces, 3 or 4); came {corners.dtype} {corners.shape}")
    rows, size = corners.shape
    triangles = triangles_of(corners.reshape(-1), np.arange(rows) * size, np.full(rows, size), len(points), max_points)
    return Scan(points, triangles)


def _inflated(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_points: int) -> bytes:
    """The bytes of a member. Raises TooBig before it inflates one that announces, or would have, too many."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
        raise Unreadable("the arrays of a .npz are stored or deflated, not encrypted; these are")
    most = NPY_MAX_HEADER + POINT_BYTES * max_points
    if member.file_size > most or member.file_size > MAX_RATIO * max(member.compress_size, NPY_MAX_HEADER):
        raise TooBig(
            f"arrays of at most {most} bytes, inflated at most {MAX_RATIO} times, are taken; {member.filename[:40]!r} announces "
            f"{member.file_size} from {member.compress_size}"
        )
    with archive.open(member) as file:
        return file.read(member.file_size)


def read_pcd(data: bytes, max_points: int) -> Scan:
    """A .pcd of the Point Cloud Library, text or binary; compressed ones are refused."""
    end = re.search(rb"(?m)^DATA[ \t]+(\w+)[ \t]*\r?\n", data[:PCD_MAX_HEADER])
    if end is None:
        raise Unreadable(f"a .pcd has a header up to a line DATA; this one begins with {data[:16]!r}")
    lines = [line.split() for line in data[: end.start()].decode("latin-1").split("\n")]
    header = {words[0]: words[1:] for words in lines if words and not words[0].startswith("#")}
    names, counts = header.get("FIELDS", []), header.get("COUNT", ["1"] * len(header.get("FIELDS", [])))
    sizes, kinds = header.get("SIZE", []), header.get("TYPE", [])
    rows = (header.get("POINTS") or [""])[0]
    widths = [int(count) for count in counts if re.fullmatch("[0-9]{1,4}", count)]
    if not (len(names) == len(widths) == len(counts) == len(sizes) == len(kinds) <= MAX_COLUMNS):
        raise Unreadable("a .pcd header has equally many FIELDS, SIZE, TYPE and COUNT; this one has not")
    if any(names.count(name) != 1 or widths[names.index(name)] != 1 for name in "xyz") or not re.fullmatch(
        "[0-9]{1,18}", rows
    ):
        raise Unreadable(
            f"a .pcd wants single fields x, y and z, and POINTS; it has {', '.join(names)[:80]} and {rows[:20]!r}"
        )
    if int(rows) > max_points:
        raise TooBig(f"at most {max_points} points are taken; the .pcd announces {rows}")
    body, form = data[end.end() :], end.group(1)
    if form == b"ascii":
        table = lines_of(body, max_points + 1, "a text .pcd").table("point")
        if table.shape != (int(rows), sum(widths)):
            raise Unreadable(f"the .pcd announces {rows} points of {sum(widths)} numbers; {table.shape} came")
        columns = [sum(widths[: names.index(name)]) for name in "xyz"]
        return Scan(np.ascontiguousarray(table[:, columns]), None)
    if form != b"binary":
        raise Unreadable(f"a .pcd with DATA ascii or binary is read; came {form.decode()[:20]}")
    types = [{"F": "f", "I": "i", "U": "u"}.get(kind, "") + size for kind, size in zip(kinds, sizes, strict=True)]
    if not set(types) <= set(NPY_TYPES):
        raise Unreadable(f"a .pcd has fields of {', '.join(NPY_TYPES)}; came {', '.join(types)[:80]}")
    fields = [(f"field {at}", "<" + kind, (width,)) for at, (kind, width) in enumerate(zip(types, widths, strict=True))]
    dtype = np.dtype(fields)
    if int(rows) * dtype.itemsize > len(body):
        raise Unreadable(f"the .pcd announces {rows} points of {dtype.itemsize} bytes; {len(body)} bytes came")
    records = np.frombuffer(body, dtype, int(rows))
    return Scan(np.concatenate([records[f"field {names.index(n)}"].astype(np.float64) for n in "xyz"], axis=1), None)


def read_stl(data: bytes, max_points: int) -> Scan:
    """An .stl: binary if its length is what its count announces, whatever it begins with; otherwise text."""
    announced = int.from_bytes(data[80:84], "little") if len(data) >= 84 else 0
    if len(data) == 84 + 50 * announced:
        if 3 * announced > max_points:
            raise TooBig(f"at most {max_points} points are taken; {announced} triangles came")
        facets = np.frombuffer(
            data, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")], announced, 84
        )
        return Scan(facets["corners"].reshape(-1, 3).astype(np.float64), np.arange(3 * announced).reshape(-1, 3))
    if re.match(rb"\s*solid\b", data, re.IGNORECASE):
        return read_stl_text(data, max_points)
    raise Unreadable(
        f"a binary .stl that announces {announced} triangles has {84 + 50 * announced} bytes; {len(data)} came"
    )


READERS: dict[str, Callable[[bytes, int], Scan]] = {
    ".ply": read_ply,
    ".obj": read_obj,
    ".stl": read_stl,
    ".off": read_off,
    ".glb": read_glb,
    ".gltf": read_gltf,
    ".npz": read_npz,
    ".npy": read_npy,
    ".pcd": read_pcd,
    ".xyz": read_table,
    ".txt": read_table,
    ".csv": read_table,
}
MESHES = (".obj", ".stl", ".off", ".glb", ".gltf")  # formats that are for meshes: no face is a mistake
