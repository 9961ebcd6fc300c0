"""A data folder read whole, with the loaders that training uses, before anything is trained on it.

    hands/      splits.json and <source>/<source>.npz
    faces/      ict_facekit, which landmarkers are trained on; facefuns_composites and raw_scans, which they are measured on
    facescape/  as published
    body/       hdm05_11, cmu_9act, reactidle, bandai_namco, jhmdb, penn_action, nw_ucla; human36m, humaneva and kinetics as published

What no run can name, such as a README or a source that hands/splits.json does not split, is not read.
"""

import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from models.contract.cloud_files import read_scan
from models.contract.task import FaceLandmarks
from training.data.bodies import MAX_BYTES, SPLITS, BodyClip
from training.data.body_npz import SOURCES, read_bodies
from training.data.body_sources import RIG
from training.data.cameras import read_rig
from training.data.faces import SCANNERS
from training.data.facescape import landmark_indices, read_mesh
from training.data.facescape_batches import FaceScapeData
from training.data.hands_npz import read_hands
from training.data.human36m import read_human36m, read_humaneva
from training.data.ict import SEEDS, FaceModel, read_model
from training.data.kinetics_skeleton import read_kinetics
from training.data.lift_clips import LiftClip
from training.data.nw_ucla import read_nw_ucla
from training.data.penn_action import MAX_MAT_BYTES, read_penn
from training.data.real_faces import SCANS, RealFace, real_faces
from training.data.scans import scan

MAX_JSON_BYTES = 2**24  # of those that their loaders read whole, without a limit; the largest known has 8 kB
MAT_COMPRESSED = 15  # miCOMPRESSED of the format's description
EXPRESSIONS, DRAWS = 64, 20  # drawn of a face model: every kind comes up; scans, of which one in some is too small

Counts = dict[str, dict[str, dict[str, int]]]
Found = Iterator[tuple[str, str, int]]  # source, split, recordings

# What reading a malformed file raises. Not every Exception: a worker's time limit is none of the file's fault.
READING = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError, EOFError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


class MalformedData(ValueError):
    """A data folder, or a file in it, that cannot be trained on; the message names it and says what was wanted and what came."""


def check(folder: Path, stop: Callable[[], bool] = lambda: False) -> Counts:
    """Read every recording under `folder`; how many there are, {part: {source: {split: recordings}}}.

    One recording or source is in memory at a time. Of a face model recordings are the identities of its seeds; of jhmdb splits are those of
    fold 1, of nw_ucla cross-view; of human36m and humaneva a source is one detector's keypoints, and a recording what one camera saw.

    `stop` is asked between recordings or sources; once it is true the answer is {}. Raises MalformedData.
    """
    try:
        return _check(folder, stop)
    except MalformedData as error:
        raise MalformedData(str(error).replace(f"{folder}/", "")) from error.__cause__


def _check(folder: Path, stop: Callable[[], bool]) -> Counts:
    there = [part for part in PARTS if (folder / part).is_dir()]
    if not there:
        raise MalformedData(f"wanted a folder with {_told(PARTS)} in it; came {_names(folder)}")
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise MalformedData(f"{path} is a link; files are read")
    counts: Counts = {}
    for part in there:
        held = counts.setdefault(part, {})
        for source, split, recordings in PARTS[part](folder / part):
            held.setdefault(source, dict.fromkeys(SPLITS, 0))[split] += recordings
            if stop():
                return {}
        if not any(sum(splits.values()) for splits in held.values()):
            raise MalformedData(f"{folder / part} has no recordings")
    return counts


def _hands(folder: Path) -> Found:
    listed = folder / "splits.json"
    with _reading(listed):
        splits = json.loads(_bounded(listed).read_text()) if listed.is_file() else None
    if not isinstance(splits, dict) or not all(isinstance(split, dict) for split in splits.values()):
        raise MalformedData(f"wanted {listed} with {{source: {{split: [recordings]}}}}; it is not there, or not so")
    for source in splits:
        path = folder / source / f"{source}.npz"
        if Path(source).name != source:
            raise MalformedData(f"{listed}: a source is the name of a folder; came {source[:80]!r}")
        for split in SPLITS:
            with _reading(path):
                _bounded(path)
                recordings = read_hands(folder, source, split)
                for recording in recordings:
                    if not _finite(recording.clip.joints, recording.clip.valid, recording.name):
                        raise ValueError(f"{recording.name} has no hand in any frame")
            yield source, split, len(recordings)


def _faces(folder: Path) -> Found:
    wanted = ("ict_facekit", "facefuns_composites", "raw_scans")
    model, composites, scans = (folder / name for name in wanted)
    if not any(part.is_dir() for part in (model, composites, scans)):
        raise MalformedData(f"wanted {folder} with {_told(wanted)} in it; came {_names(folder)}")
    if model.is_dir():
        yield from _face_model(folder)
    if composites.is_dir() or scans.is_dir():  # they are measured on together
        for path in (scans / f"{name}.ply" for name in SCANS):
            with _reading(path):  # whose errors name no file
                read_scan(path.read_bytes(), ".ply")
        with _reading(path := composites / "facefuns_faces.npz"):
            _bounded(path)
            faces = real_faces(folder)
            for face in faces:
                _check_face(face)
        for source, count in Counter(face.source for face in faces).items():
            yield source, "test", count


def _face_model(folder: Path) -> Found:
    """Seeds are drawn from while training: here one scan of each split and kind, and the expressions that any could have."""
    path = folder / "ict_facekit" / "ict_facekit_light.npz"
    with _reading(path):
        _bounded(path)
        _bounded(path.with_name("expression_presets.json"))
        model = read_model.__wrapped__(folder)  # what was read before may have changed
        _check_model(model)
    task = FaceLandmarks()
    for split, seeds in SEEDS.items():
        for how in SCANNERS.values():
            rng = np.random.default_rng(seeds.start)
            with _reading(path):
                drawn = (
                    scan(model, model.vertices(model.identity(int(seed)), model.expression(rng)), how, rng)
                    for seed in rng.integers(seeds.start, seeds.stop, DRAWS)
                )
                if not any(len(points) >= task.levels[0] for points, _ in drawn):
                    raise ValueError(f"{DRAWS} scans have fewer than {task.levels[0]} points each")
        yield "ict_facekit", split, len(seeds)


def _check_model(model: FaceModel) -> None:
    vertices = len(model.mean)
    for what, numbers in (("mean", model.mean), ("id_basis", model.identities), ("exp_basis", model.expressions)):
        if not np.isfinite(numbers).all():
            raise ValueError(f"{what} wants finite numbers")
    for what, index in (("triangles", model.triangles), ("landmarks68", model.landmarks)):
        if index.min() < 0 or index.max() >= vertices:
            raise ValueError(f"{what} wants to be among the {vertices} vertices; came {index.min()} to {index.max()}")
    for what, mask in model.masks.items():
        if mask.shape != (vertices,) or mask.dtype != bool:
            raise ValueError(f"mask {what} wants {vertices} flags; came {mask.dtype} {mask.shape}")
    if model.landmarks.shape != (68,) or model.triangles.shape[1:] != (3,):
        raise ValueError(
            f"wanted 68 landmarks and triangles (n, 3); came {model.landmarks.shape}, {model.triangles.shape}"
        )
    rng = np.random.default_rng(0)
    for _ in range(EXPRESSIONS):
        if not np.isfinite(model.expression(rng)).all():
            raise ValueError("expression_presets.json wants finite weights")


def _check_face(face: RealFace) -> None:
    if not np.isfinite(face.points).all() or not np.isfinite(face.known).any():
        raise ValueError(f"{face.name} wants finite points and a landmark that is known")
    if face.triangles.min() < 0 or face.triangles.max() >= len(face.points):
        raise ValueError(f"{face.name} wants triangles between its {len(face.points)} points")


def _facescape(folder: Path) -> Found:
    with _reading(folder):
        indices, splits = landmark_indices(folder), FaceScapeData(FaceLandmarks()).load(folder.parent).files
    for split, files in splits.items():
        for file in files:
            with _reading(file.path):
                read_mesh(file, indices)
            yield "facescape", split, 1


def _body(folder: Path) -> Found:
    if (rig := folder / RIG).is_file():
        with _reading(rig):
            read_rig(_bounded(rig))
    there = [name for name in BODIES if (folder / name).is_dir()]
    if not there:
        raise MalformedData(f"wanted {folder} with {_told(BODIES)} in it; came {_names(folder)}")
    for name in there:
        yield from BODIES[name](folder, name)


def _motion(folder: Path, source: str) -> Found:
    yield from _counted(source, folder / source / SOURCES[source].file, lambda: read_bodies(folder, source))


def _penn_action(folder: Path, source: str) -> Found:
    for path in (folder / source / "labels").glob("*.mat"):
        with _reading(path):
            _bounded(path)
    yield from _counted(source, _file_or_files(folder / source), lambda: read_penn(folder / source))


def _nw_ucla(folder: Path, source: str) -> Found:
    yield from _counted(source, _file_or_files(folder / source), lambda: read_nw_ucla(folder / source))


def _file_or_files(folder: Path) -> Path:
    """What is read of a folder that has all in one file, or else one a clip."""
    return path if (path := folder / f"{folder.name}.npz").is_file() else folder


def _human36m(folder: Path, source: str) -> Found:
    for keypoints in _detectors(folder / source, "data_2d_h36m_", "cpn_ft_h36m_dbb"):
        name = f"{source} {keypoints}"
        yield from _counted(name, folder / source, lambda by=keypoints: read_human36m(folder / source, by))


def _humaneva(folder: Path, source: str) -> Found:
    for keypoints in _detectors(folder / source, "data_2d_humaneva15_", "detectron_pt_coco"):
        name = f"{source} {keypoints}"
        yield from _counted(name, folder / source, lambda by=keypoints: read_humaneva(folder / source, by))


def _detectors(folder: Path, prefix: str, published: str) -> list[str]:
    """Those there are, or the one that runs name, whose file the loader then misses."""
    return sorted(path.stem.removeprefix(prefix) for path in folder.glob(f"{prefix}*.npz")) or [published]


def _counted(source: str, path: Path, read: Callable[[], Sequence[BodyClip] | Sequence[LiftClip]]) -> Found:
    with _reading(path):
        clips = read()
        seen = [_sees(clip) for clip in clips]
        if not any(seen):
            raise ValueError(f"nothing is seen in any of its {len(clips)} clips")
        counts = Counter(clip.split for clip in clips)
    yield from ((source, split, counts[split]) for split in SPLITS)


def _sees(clip: BodyClip | LiftClip) -> bool:
    """Whether anything is seen in a clip. In one of Penn Action's nothing is."""
    if isinstance(clip, BodyClip):
        return _finite(clip.points, clip.confidence > 0, clip.name)
    return _finite(clip.keypoints, clip.confidence > 0, clip.name) and bool(np.isfinite(clip.targets).any())


def _kinetics(folder: Path, source: str) -> Found:
    with _reading(folder / source):
        clips = read_kinetics(folder / source)
    for i, split in enumerate(clips.splits):
        with _reading(folder / source):
            points, scores = clips.read(i)
            _finite(points, scores > 0, clips.names[i])
        yield source, split, 1


BODIES: dict[str, Callable[[Path, str], Found]] = {
    **dict.fromkeys(SOURCES, _motion),
    "penn_action": _penn_action,
    "nw_ucla": _nw_ucla,
    "human36m": _human36m,
    "humaneva": _humaneva,
    "kinetics": _kinetics,
}
PARTS: dict[str, Callable[[Path], Found]] = {
    "hands": _hands,
    "faces": _faces,
    "facescape": _facescape,
    "body": _body,
}


def _finite(points: np.ndarray, there: np.ndarray, name: str) -> bool:
    """Whether anything is there. Raises ValueError where what is has no place. `there` has the first dimensions of `points`."""
    if not np.isfinite(points[there]).all():
        raise ValueError(f"{name}: what is there has coordinates that are no finite numbers")
    return bool(there.any())


def _bounded(path: Path) -> Path:
    """The path, of a file that its loader would unpack or read whole whatever its size. Raises ValueError for one too large, and what
    opening it raises."""
    if not path.is_file():
        return path  # for the loader to miss
    size, most = path.stat().st_size, MAX_JSON_BYTES
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            size, most = sum(member.file_size for member in archive.infolist()), MAX_BYTES
    elif path.suffix == ".mat" and size <= MAX_MAT_BYTES:
        size, most = _unpacked(path.read_bytes(), MAX_MAT_BYTES), MAX_MAT_BYTES
    if size > most:
        raise ValueError(f"it holds {size:,} bytes or more; at most {most:,} are read")
    return path


def _unpacked(mat: bytes, most: int) -> int:
    """The bytes that a .mat file of version 5 has once its packed elements are unpacked, of which no more than just above `most` are."""
    order = {b"MI": ">", b"IM": "<"}.get(mat[126:128])
    total, at = len(mat), 128
    while order and at + 8 <= len(mat) and total <= most:
        kind, size = struct.unpack_from(f"{order}II", mat, at)
        if kind == MAT_COMPRESSED:
            total += len(zlib.decompressobj().decompress(mat[at + 8 : at + 8 + size], most - total + 1))
        at += 8 + size
    return total


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What a loader raises, as MalformedData that names the path, if the loader did not name one in its folder."""
    try:
        yield
    except READING as error:
        told = str(error) or "no more is known"
        where = "" if str(path) in told or f"{path.parent}/" in told else f"{path}: {type(error).__name__}: "
        raise MalformedData(f"{where}{told}") from error


def _told(names: Sequence[str] | dict[str, Callable[..., Found]]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _names(folder: Path) -> str:
    if not folder.is_dir():
        return "no folder"
    found = sorted(path.name for path in folder.iterdir())
    return ", ".join(found[:10]) + (", ..." if len(found) > 10 else "") or "nothing"
