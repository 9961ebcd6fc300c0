"""Checks of a data folder's faces/ and facescape/: every scan and model is read with the reader that training uses."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.contract.task import FaceLandmarks
from models.scans.files import read_scan
from training.data.declaration import FACES, kind_of
from training.data.reading import Found, MalformedData, alternatives, bounded, contents, reading
from training.tasks.faces.data import SCANNERS
from training.tasks.faces.facescape import landmark_indices, read_mesh
from training.tasks.faces.facescape_data import FaceScapeData
from training.tasks.faces.ict import SEEDS, FaceModel, read_model
from training.tasks.faces.own.check import check_own
from training.tasks.faces.real_faces import SCANS, RealFace, real_faces
from training.tasks.faces.scanner import scan

EXPRESSIONS, DRAWS = (
    64,
    20,
)  # drawn from a face model: enough for every kind of expression, and for one scan of sufficient size


def check_faces(folder: Path, note: Callable[[str], None] = lambda _: None) -> Found:
    """Read the face model and the real scans; yield (source, split, recordings), an identity being a recording of the model.

    If the data folder, which holds `folder`, is a set of scans of one's own, that is read instead, and `note` gets what is doubtful.
    Raises MalformedData.
    """
    if kind_of(folder.parent) == FACES:
        yield from check_own(folder.parent, note)
        return
    parts = ("ict_facekit", "facefuns_composites", "raw_scans")
    model, composites, scans = (folder / name for name in parts)
    if not any(part.is_dir() for part in (model, composites, scans)):
        raise MalformedData(f"expected {alternatives(parts)} in {folder}, got {contents(folder)}")
    if model.is_dir():
        yield from _face_model(folder)
    if composites.is_dir() or scans.is_dir():  # reports need both
        for path in (scans / f"{name}.ply" for name in SCANS):
            with reading(path):  # the errors of read_scan name no file
                read_scan(path.read_bytes(), ".ply")
        with reading(path := composites / "facefuns_faces.npz"):
            bounded(path)
            faces = real_faces(folder)
            for face in faces:
                _check_face(face)
        for source, count in Counter(face.source for face in faces).items():
            yield source, "test", count


def _face_model(folder: Path) -> Found:
    """Read the face model, and draw a scan of each split and kind and a number of expressions, as training does."""
    path = folder / "ict_facekit" / "ict_facekit_light.npz"
    with reading(path):
        bounded(path)
        bounded(path.with_name("expression_presets.json"))
        model = read_model.__wrapped__(folder)  # a cached model may be outdated
        _check_model(model)
    task = FaceLandmarks()
    for split, seeds in SEEDS.items():
        for how in SCANNERS.values():
            rng = np.random.default_rng(seeds.start)
            with reading(path):
                drawn = (
                    scan(model, model.vertices(model.identity(int(seed)), model.expression(rng)), how, rng)
                    for seed in rng.integers(seeds.start, seeds.stop, DRAWS)
                )
                if not any(len(points) >= task.levels[0] for points, _ in drawn):
                    raise ValueError(f"expected a scan of at least {task.levels[0]} points, got none in {DRAWS}")
        yield "ict_facekit", split, len(seeds)


def _check_model(model: FaceModel) -> None:
    """Raise ValueError for a model whose arrays do not fit each other or are not finite."""
    vertices = len(model.mean)
    for what, numbers in (("mean", model.mean), ("id_basis", model.identities), ("exp_basis", model.expressions)):
        if not np.isfinite(numbers).all():
            raise ValueError(f"expected finite numbers in {what}")
    for what, index in (("triangles", model.triangles), ("landmarks68", model.landmarks)):
        if index.min() < 0 or index.max() >= vertices:
            raise ValueError(
                f"expected {what} below {vertices}, the number of vertices, got {index.min()} to {index.max()}"
            )
    for what, mask in model.masks.items():
        if mask.shape != (vertices,) or mask.dtype != bool:
            raise ValueError(f"expected {vertices} flags in the mask {what}, got {mask.dtype} {mask.shape}")
    if model.landmarks.shape != (68,) or model.triangles.shape[1:] != (3,):
        raise ValueError(
            f"expected 68 landmarks and triangles (n, 3), got {model.landmarks.shape} and {model.triangles.shape}"
        )
    rng = np.random.default_rng(0)
    for _ in range(EXPRESSIONS):
        if not np.isfinite(model.expression(rng)).all():
            raise ValueError("expected finite weights in expression_presets.json")


def _check_face(face: RealFace) -> None:
    """Raise ValueError for a face without finite points, a known landmark or valid triangles."""
    if not np.isfinite(face.points).all() or not np.isfinite(face.known).any():
        raise ValueError(f"{face.name}: expected finite points and at least one known landmark")
    if face.triangles.min() < 0 or face.triangles.max() >= len(face.points):
        raise ValueError(f"{face.name}: expected triangles between its {len(face.points)} points")


def check_facescape(folder: Path) -> Found:
    """Read every FaceScape mesh; yield (source, split, 1) for each. Raises MalformedData."""
    with reading(folder):
        indices, splits = landmark_indices(folder), FaceScapeData(FaceLandmarks()).load(folder.parent).files
    for split, files in splits.items():
        for file in files:
            with reading(file.path):
                read_mesh(file, indices)
            yield "facescape", split, 1
