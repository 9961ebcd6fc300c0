"""models.scans.arrays."""

import ast
import io
import math
import struct
import zipfile
import zlib

import numpy as np
from jaxtyping import Float

from models.scans.cloud import (
    BadCloud,
    Scan,
    TooBig,
    Unreadable,
)
from models.scans.text import (
    MAX_COLUMNS,
    triangles_of,
)

NPY_MAX_HEADER, PCD_MAX_HEADER = 1024, 4096


NPY_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


MAX_RATIO = 100  # a .npz member inflated over deflated: coordinates reach 2, a bomb 1000


MAX_MEMBERS = 1000


POINT_BYTES = 64  # a point with normal and colour in float64


POINT_KEYS, TRIANGLE_KEYS = ("points", "vertices", "positions", "xyz", "cloud"), ("triangles", "faces")


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
