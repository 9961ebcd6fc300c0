"""Scan files in several formats, and uploads that must succeed."""

import io

import numpy as np
from scipy.spatial import ConvexHull

from .exchange import FACE_URL as URL

OCTETS, NPZ, PLY = "application/octet-stream", "application/x-npz", "model/vnd.ply"


def npz(**arrays: np.ndarray) -> bytes:
    np.savez_compressed(file := io.BytesIO(), allow_pickle=True, **arrays)
    return file.getvalue()


def ply(points: np.ndarray, triangles: np.ndarray | None = None) -> bytes:
    """Return a binary .ply of doubles."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    body = points.astype("<f8").tobytes()
    if triangles is not None:
        header += f"element face {len(triangles)}\nproperty list uchar int vertex_indices\n"
        rows = np.empty(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
        rows["count"], rows["corners"] = 3, triangles
        body += rows.tobytes()
    return header.encode() + b"end_header\n" + body


def obj(points: np.ndarray, triangles: np.ndarray) -> bytes:
    rows = [f"v {x!r} {y!r} {z!r}" for x, y, z in points.tolist()]
    return "\n".join([*rows, *(f"f {a} {b} {c}" for a, b, c in (triangles + 1).tolist()), ""]).encode()


def triangles_of(points: np.ndarray) -> np.ndarray:
    return ConvexHull(points).simplices


def text(points: np.ndarray, mark: str = " ") -> bytes:
    return "".join(mark.join(map(repr, row)) + "\n" for row in points.tolist()).encode()


def post(client, body: bytes, media: str = OCTETS, accept: str = "application/json", **query: str):
    """Post a scan, check that the response is an answer in the `accept` format, and return it."""
    response = client.post(URL, params=query, content=body, headers={"content-type": media, "accept": accept})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].partition(";")[0] == accept  # text formats have a charset parameter
    return response


def ask(client, body: bytes, media: str = OCTETS, **query: str) -> dict:
    return post(client, body, media, **query).json()


def arrays(client, body: bytes, media: str = OCTETS, **query: str) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(post(client, body, media, NPZ, **query).content), allow_pickle=False))
