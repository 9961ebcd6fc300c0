"""Meshes in FaceScape's published form."""

from pathlib import Path

import numpy as np


def face_of(vertices: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices in millimetres, as an .obj writes them, and quads between them."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=(vertices, 3)) * 60, 6), np.arange(vertices // 4 * 4).reshape(-1, 4)


def write_obj(path: Path, vertices: np.ndarray, quads: np.ndarray) -> None:
    """Write a mesh as the registered meshes are written: material, vertices, texture and quads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"mtllib {path.name}.mtl", "#"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += ["vt 0.25 0.5", "g head"]
    lines += [f"f {a}/1 {b}/1 {c}/1 {d}/1" for a, b, c, d in quads + 1]
    path.write_text("\n".join(lines) + "\n")
