"""Draco-compressed meshes (KHR_draco_mesh_compression), where the package DracoPy is installed.

Draco's counts do not bound what its decoder allocates: a file of a kilobyte may announce gigabytes of attributes. The decoder therefore
runs in a process of its own, whose memory and time are limited; what it cannot do there is Unreadable.
"""

import importlib.util
import os
import subprocess
import sys

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import TooBig, Unreadable
from models.scans.polygons import check_corners

PACKAGE = "DracoPy"
MEMORY = 1 << 30  # bytes of address space: a mesh of a million triangles takes less than a third of it
SECONDS = 30
TOO_MANY = 3  # the exit status for more points or triangles than allowed
_PROGRAM = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    pass
import DracoPy, numpy
mesh = DracoPy.decode(sys.stdin.buffer.read())
points = numpy.asarray(mesh.get_attribute_by_unique_id({name})["data"]).reshape(-1, 3)
faces = numpy.asarray(mesh.faces).reshape(-1, 3)
if len(points) > {most} or len(faces) > 2 * {most}:
    sys.exit({too_many})
sys.stdout.buffer.write(len(points).to_bytes(8, "little"))
sys.stdout.buffer.write(points.astype("<f8").tobytes())
sys.stdout.buffer.write(faces.astype("<i8").tobytes())
"""


def decode(
    data: bytes, name: int, max_points: int
) -> tuple[Float[np.ndarray, "points 3"], Int[np.ndarray, "triangles 3"]]:
    """Return the points, which are the attribute of this unique id, and the triangles of a Draco mesh.

    Raises Unreadable if there is no decoder or if it fails, and TooBig for more than `max_points` points or twice as many triangles.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise Unreadable(
            "expected a glTF without KHR_draco_mesh_compression, since DracoPy is not installed here (pip install 'chiron[draco]'); "
            "or export it without compression: from Blender with Compression off, from gltf-pipeline without -d"
        )
    program = _PROGRAM.format(memory=MEMORY, name=name, most=max_points, too_many=TOO_MANY)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads reserve address space
    try:
        decoder = subprocess.run(
            [sys.executable, "-P", "-c", program],
            input=data,
            capture_output=True,
            timeout=SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(f"expected a Draco mesh that is decoded within {SECONDS} s, got one that is not") from None
    if decoder.returncode == TOO_MANY:
        raise TooBig(f"expected at most {max_points} points and twice as many triangles in a Draco mesh, got more")
    if decoder.returncode or len(decoder.stdout) < 8:
        reason = decoder.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:80] or "the decoder died"
        raise Unreadable(f"expected a Draco mesh, got one that cannot be decoded: {reason}")
    return _parts(decoder.stdout)


def _parts(output: bytes) -> tuple[Float[np.ndarray, "points 3"], Int[np.ndarray, "triangles 3"]]:
    """Return the arrays that the program wrote."""
    count = int.from_bytes(output[:8], "little")
    points = np.frombuffer(output, "<f8", 3 * count, 8).reshape(-1, 3)
    triangles = np.frombuffer(output, "<i8", offset=8 + 24 * count).reshape(-1, 3)
    check_corners(triangles, len(points))
    return points, triangles
