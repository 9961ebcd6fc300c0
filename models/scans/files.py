"""Files to scans: bytes under a suffix become points and triangles, or one BadCloud that says what is wrong.

Nothing is unpickled and no header is believed: what a file announces is held against the bytes that are there, or
against the limits, before anything is allocated.
"""

from collections.abc import Callable

import numpy as np

from models.scans.arrays import read_npy, read_npz
from models.scans.cloud import (
    Degenerate,
    Scan,
    TooBig,
    UnknownSuffix,
    check_points,
)
from models.scans.gltf import read_glb, read_gltf
from models.scans.pcd import read_pcd
from models.scans.ply import read_ply
from models.scans.stl import read_stl
from models.scans.text import (
    read_obj,
    read_off,
    read_table,
    require_triangles,
)

MAX_BYTES = 64 << 20
MAX_POINTS = 5_000_000
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
