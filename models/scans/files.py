"""Files to scans: the table of formats, and the function that reads bytes in any of them.

A format from elsewhere joins the table as an extension (models/contract/extensions.py): an installed package names a `Format` by an entry
point of the group `chiron.scan_formats`, and a file that CHIRON_EXTENSIONS lists has one under the name SCAN_FORMAT. `register_format` adds
one for this process.
"""

import numpy as np

from models.contract import gzipped
from models.contract.extensions import registered
from models.scans import gltf, npy, npz, obj, off, pcd, ply, stl, table
from models.scans.cloud import Degenerate, Scan, TooBig, UnknownSuffix, Unreadable, check_points, measured
from models.scans.format import Format, inflated_limit
from models.scans.polygons import require_triangles

MAX_BYTES = 64 << 20
MAX_POINTS = 5_000_000
FORMATS = (  # the formats of this package
    ply.FORMAT,
    obj.FORMAT,
    stl.FORMAT,
    off.FORMAT,
    gltf.GLB,
    gltf.GLTF,
    npz.FORMAT,
    npy.FORMAT,
    pcd.FORMAT,
    table.FORMAT,
)
_registered: list[Format] = []


def register_format(format: Format) -> None:
    """Add a format of another package, for this process. Raises ValueError if a suffix of it is taken."""
    _by_suffix([*formats().values(), format])
    _registered.append(format)


def formats() -> dict[str, Format]:
    """Return every format by suffix: those of this package, of installed packages, and of `register_format`."""
    return _by_suffix([*FORMATS, *_extensions(), *_registered])


def _extensions() -> list[Format]:
    """Return the formats of extensions. Raises TypeError for a value that is not a Format."""
    others = registered("scan_formats")
    if wrong := [value for value in others if not isinstance(value, Format)]:
        raise TypeError(f"expected a models.scans.format.Format from an extension, got {wrong[0]!r}")
    return others


def _by_suffix(formats: list[Format]) -> dict[str, Format]:
    """Return the formats by suffix. Raises ValueError if two of them have the same suffix."""
    table: dict[str, Format] = {}
    for format in formats:
        for suffix in format.suffixes:
            if table.setdefault(suffix, format) is not format:
                raise ValueError(f"expected one format for {suffix}, got two; use another suffix")
    return table


def read_scan(data: bytes, suffix: str, *, max_bytes: int = MAX_BYTES, max_points: int = MAX_POINTS) -> Scan:
    """Read the scan in a file of this suffix (".ply", in any case), in the file's unit and order of points.

    A file that begins like gzip is inflated, whether its suffix ends in ".gz" or not. Points of a cloud that are not measurements are
    dropped (`measured`).

    Raises UnknownSuffix, TooBig, Unreadable, NotFinite or Degenerate, all of them BadCloud.
    """
    name, known = suffix.lower(), formats()
    if (suffix := name.removesuffix(gzipped.SUFFIX)) not in known:
        raise UnknownSuffix(
            f"expected a scan file, one of {', '.join(known)}, or one of them with .gz, got {name[:20]!r}"
        )
    if len(data) > max_bytes:
        raise TooBig(f"expected a file of at most {max_bytes} bytes, got {len(data)}")
    if data.startswith(gzipped.MAGIC):
        data = _inflated(data, max_bytes)
    if not data.strip():
        raise Degenerate(f"expected a {suffix} file, got an empty one")
    for format in dict.fromkeys(known.values()):
        if format is not known[suffix] and (begin := next(filter(data.startswith, format.signatures), None)):
            raise UnknownSuffix(
                f"expected a {suffix} file, got one that begins with {begin!r} like a {format.suffixes[0]} file; name it so"
            )
    with np.errstate(invalid="ignore", over="ignore"):  # casting a signalling NaN is reported as invalid
        scan = measured(known[suffix].read(data, max_points))
    if len(scan.points) > max_points:
        raise TooBig(f"expected at most {max_points} points, got {len(scan.points)}")
    check_points(scan.points)
    if known[suffix].mesh:
        require_triangles(scan, f"a {suffix} file")
    return scan if scan.triangles is not None and len(scan.triangles) else Scan(scan.points, None, scan.kept)


def _inflated(data: bytes, max_bytes: int) -> bytes:
    """Return what a gzip file holds. Raises TooBig or Unreadable."""
    try:
        return gzipped.inflate(data, min(max_bytes, inflated_limit(len(data))))
    except gzipped.InflatedTooLarge as error:
        raise TooBig(str(error)) from None
    except gzipped.BadGzip as error:
        raise Unreadable(str(error)) from None
