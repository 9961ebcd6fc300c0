"""A comparison with other libraries: how many of the tests' scan files each reads as they were written.

    python -m benchmarks.scan_peers

A library that is not installed is left out. "Otherwise" counts other points, other triangles, or the same in another order.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.scans import GOOD
from models.scans.cloud import Scan
from models.scans.files import read_scan

Read = Callable[[bytes, str], tuple[Any, Any]]  # points and triangles, None if there are none


def ours(data: bytes, suffix: str) -> tuple[Any, Any]:
    """Read with this package."""
    scan = read_scan(data, suffix)
    return scan.points, scan.triangles


def by_trimesh(data: bytes, suffix: str) -> tuple[Any, Any]:
    """Read with trimesh, without its processing."""
    loaded = import_module("trimesh").load(io.BytesIO(data), file_type=suffix[1:], process=False)
    mesh = loaded.to_geometry() if hasattr(loaded, "to_geometry") else loaded
    return mesh.vertices, getattr(mesh, "faces", None)


def by_meshio(data: bytes, suffix: str) -> tuple[Any, Any]:
    """Read with meshio, which opens files only."""
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / f"scan{suffix}").write_bytes(data)
        mesh = import_module("meshio").read(path)
    triangles = [block.data for block in mesh.cells if block.type == "triangle"]
    return mesh.points, np.concatenate(triangles) if triangles else None


def by_plyfile(data: bytes, suffix: str) -> tuple[Any, Any]:
    """Read with plyfile; its faces are lists, and are compared as such."""
    content = import_module("plyfile").PlyData.read(io.BytesIO(data))
    vertex, names = content["vertex"], [element.name for element in content.elements]
    faces = np.stack(list(content["face"]["vertex_indices"])) if "face" in names else None
    return np.stack([vertex[axis] for axis in "xyz"], axis=1), faces


PEERS: dict[str, Read] = {"chiron": ours, "trimesh": by_trimesh, "meshio": by_meshio, "plyfile": by_plyfile}


def main() -> None:
    """Print a table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    print("| library | as written | otherwise | refused |\n|---|---|---|---|")
    for name, read in PEERS.items():
        try:
            title = name if name == "chiron" else f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
        results = Counter(outcome(read, data, suffix.lower(), scan) for suffix, data, scan in GOOD.values())
        print(f"| {title} | {results['as written']} | {results['otherwise']} | {results['refused']} |", flush=True)


def outcome(read: Read, data: bytes, suffix: str, scan: Scan) -> str:
    """Return what a library does with a file."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            points, triangles = read(data, suffix)
    except (Exception, SystemExit):  # whatever a library raises is a refusal
        return "refused"
    same = np.shape(points) == scan.points.shape and np.allclose(points, scan.points, atol=1e-6)
    if scan.triangles is not None:
        same = same and np.array_equal(np.asarray(triangles), scan.triangles)
    return "as written" if same else "otherwise"


if __name__ == "__main__":
    main()
