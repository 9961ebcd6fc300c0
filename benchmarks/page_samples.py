"""Write the recording and the scan that the page shows at once, both from test data that no network saw in training.

    python -m benchmarks.page_samples service/web/samples

CHIRON_DATA (or ../shared/data) must have hands/tzionas and faces/facefuns_composites.
"""

import argparse
import gzip
import json
import os
from pathlib import Path

import numpy as np

from benchmarks.pictures import rotation
from models.skeletons.hand import ASSEMBLY101
from training.tasks.faces.real_faces import real_faces
from training.tasks.hands.npz import read_hands

SOURCE, RECORDING, FACE = "tzionas", "ijcv16_06", "f18"
MM = 1e3


def hands(data: Path) -> bytes:
    """Return a whole recording of two hands as a request, in millimetres to a tenth, left hand and right hand."""
    recording = next(r for r in read_hands(data / "hands", SOURCE, "test") if r.name == RECORDING)
    joints = np.round(recording.clip.joints.astype(np.float64) * MM, 1).tolist()
    return json.dumps(
        {
            "fps": round(1 / float(np.diff(recording.clip.times).mean())),
            "units": "mm",
            "joints": ASSEMBLY101.name,
            "left": [frame[0] for frame in joints],
            "right": [frame[1] for frame in joints],
        },
        separators=(",", ":"),
    ).encode()


def face(data: Path) -> bytes:
    """Return a scan in an arbitrary pose as binary .ply.gz, in millimetres."""
    scan = next(f for f in real_faces(data / "faces") if f.name == FACE)
    points = np.round(scan.points @ rotation((1, 2, 3), 140).T * MM + [40, -20, 90], 2).astype("<f4")
    triangles = np.zeros(len(scan.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, scan.triangles
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment {scan.name} of facefuns, MIT, (c) 2020 Iris Holzleitner\n"
        f"element vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return gzip.compress(header.encode() + points.tobytes() + triangles.tobytes(), 9, mtime=0)


def main() -> None:
    """Write both files into the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page_samples", description="Write the page's samples.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    arguments = parser.parse_args()
    folder, data = arguments.folder, arguments.data
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"hands.json": hands(data), "face.ply.gz": face(data)}.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
