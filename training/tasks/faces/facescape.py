"""FaceScape (Yang et al., CVPR 2020; Zhu et al., TPAMI 2023) as published: 847 people x 20 expressions, meshes of one topology.

    [facescape_trainset_001_100/]<id>/models_reg/<k>_<expression>.obj    millimetres, +y up, +z out of the face
    info_list_v2.txt           a line a person: index, gender, age, 1 + 4 flags, "-" for what is not told
    publishable_list_v1.txt    ids with commas between: whose portraits may be shown
    landmark_indices.npz       of its toolkit, here or in toolkit/predef/: v10 and v16, 68 vertices of each topology

Landmarks are vertices, so a mesh must be read in the file's order, and which list counts is told by the number of vertices. On the one
person looked at, millimetres were some 10 % too large: give errors relative to the distance between the eyes as well. There is nothing of
FaceScape in this package: researchers ask for it, and it is for non-commercial use.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.contract.units import to_metres
from models.scans.cloud import BadCloud
from models.scans.files import read_scan
from models.skeletons.face import FACE68
from training.data.untrusted import load_numpy

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
EXPRESSIONS = (  # in the order of their numbers, from 1 on
    *("neutral", "smile", "mouth_stretch", "anger", "jaw_left", "jaw_right", "jaw_forward", "mouth_left"),
    *("mouth_right", "dimpler", "chin_raiser", "lip_puckerer", "lip_funneler", "sadness", "lip_roll", "grin"),
    *("cheek_blowing", "eye_closed", "brow_raiser", "brow_lower"),
)
TOPOLOGIES = {26_317: "v10", 26_278: "v16"}  # by number of vertices: the meshes, and the bilinear model from 1.6 on
_LANDMARKS = {
    "v10": """23404 4607 4615 4655 20356 4643 5022 5013 1681 1692 11470 10441 1336 1343 1303 1295 2372 6143 6141 6126
        6113 6109 2844 2762 2765 2774 2789 6053 6041 1870 1855 4728 4870 1807 1551 1419 3434 3414 3447 3457 3309 3373
        3179 151 127 143 3236 47 21018 4985 4898 6571 1575 1663 1599 1899 12138 5231 21978 5101 21067 21239 11378 11369
        11553 12048 5212 21892""",
    "v16": """23370 4602 4610 4650 20322 4638 5017 5008 1681 1692 11464 10435 1336 1343 1303 1295 2372 6138 6136 6121
        6108 6104 2844 2762 2765 2774 2789 6048 6036 1870 1855 4723 4865 1807 1551 1419 3429 3409 3442 3452 3304 3368
        3175 151 127 143 3232 47 20984 4980 4893 6565 1575 1663 1599 1899 12132 5226 21944 5096 21033 21205 11372 11363
        11547 12042 5207 21858""",
}
INFO, PUBLISHABLE = ("info_list_v2.txt", "info_list_v1.txt"), "publishable_list_v1.txt"  # version 1 has no flags

Indices = dict[int, Int[np.ndarray, "68"]]  # the landmarks, by number of vertices

log = logging.getLogger(__name__)


class MalformedRelease(ValueError):
    """A file that is not as FaceScape publishes it; the message says what was wanted and what came."""


class UnknownChoice(ValueError):
    """No such split or expression; the message lists those there are."""


@dataclass(frozen=True)
class MeshFile:
    """Where a mesh is, which is all that is held of those not being looked at."""

    subject: int
    expression: str
    path: Path


@dataclass(frozen=True)
class Mesh:
    """One person with one expression; metres, float64."""

    subject: int
    expression: str
    points: Float[np.ndarray, "points 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    landmarks: Float[np.ndarray, "68 3"]


def read_facescape(
    root: Path,
    split: str | None = None,
    *,
    expressions: Sequence[str] = EXPRESSIONS,
    publishable: bool = False,
    skip_missing: bool = False,
) -> Iterator[Mesh]:
    """The meshes of a split, or all of them, one after the other; as `find_meshes` and `read_mesh`, in 0.13 s each."""
    indices = landmark_indices(root)
    for file in find_meshes(root, split, expressions=expressions, publishable=publishable, skip_missing=skip_missing):
        yield read_mesh(file, indices)


def find_meshes(
    root: Path,
    split: str | None = None,
    *,
    expressions: Sequence[str] = EXPRESSIONS,
    publishable: bool = False,
    skip_missing: bool = False,
) -> list[MeshFile]:
    """The meshes there are, by person and expression; none is opened.

    People whose first flag is 0 (not complete, or not valid) are left out. `publishable` keeps those whose portraits may be shown. Some
    meshes could not be made, say the authors: with `skip_missing` these are left out, with a line in the log. Raises FileNotFoundError,
    MalformedRelease, UnknownChoice.
    """
    if split is not None and split not in SPLITS:
        raise UnknownChoice(f"people are split into {', '.join(SPLITS)}; there is no {split!r}")
    if unknown := [name for name in expressions if name not in EXPRESSIONS]:
        raise UnknownChoice(f"no expression {', '.join(unknown)}; there are {', '.join(EXPRESSIONS)}")
    folders = _folders(root)
    wanted = set(folders) - invalid_subjects(root)
    if publishable:
        wanted &= publishable_subjects(root)
    files = [
        MeshFile(subject, name, folders[subject] / f"{EXPRESSIONS.index(name) + 1}_{name}.obj")
        for subject in sorted(wanted)
        if split is None or split_of(subject) == split
        for name in expressions
    ]
    missing = [file for file in files if not file.path.is_file()]
    if missing:
        names = ", ".join(str(file.path.relative_to(root)) for file in missing[:5])
        said = f"{len(missing)} of {len(files)} meshes are not in {root}: {names}{', ...' if len(missing) > 5 else ''}"
        if not skip_missing:
            raise FileNotFoundError(f"{said}. skip_missing leaves them out")
        log.warning("%s", said)
    gone = set(missing)
    return [file for file in files if file not in gone]


def _folders(root: Path) -> dict[int, Path]:
    """models_reg of each person, right under the root or under the folders that the archives unpack to."""
    found: dict[int, Path] = {}
    for pattern in ("[0-9]*/models_reg", "facescape_trainset_*/[0-9]*/models_reg"):
        for folder in sorted(root.glob(pattern)):
            if not folder.parent.name.isdecimal():
                continue
            subject = int(folder.parent.name)
            if subject in found:
                raise MalformedRelease(f"person {subject} is there twice: {found[subject]} and {folder}")
            found[subject] = folder
    if not found:
        raise FileNotFoundError(f"no <id>/models_reg in {root}, nor in facescape_trainset_*/ under it")
    return found


def split_of(subject: int) -> Split:
    """Which split a person is in, all expressions together: 8, 1 and 1 of ten by a hash of the id, whoever else is there.

    Of all 847 that is 682, 75 and 90.
    """
    tenth = int.from_bytes(hashlib.sha256(f"facescape {subject}".encode()).digest()[:8], "big") * 10 >> 64
    return "train" if tenth < 8 else "validation" if tenth < 9 else "test"


def invalid_subjects(root: Path) -> frozenset[int]:
    """People whose first flag is 0. Without an info list nobody is, and the log says so. Raises MalformedRelease."""
    path = next((root / name for name in INFO if (root / name).is_file()), None)
    if path is None:
        log.warning("no %s in %s: nobody is left out", " or ".join(INFO), root)
        return frozenset()
    invalid = set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not (words := line.split()):
            continue
        flags = "".join(words[3:]).translate(str.maketrans("", "", "[]+,"))
        if len(words) < 3 or not words[0].isdecimal() or not (flags in ("", "-") or set(flags) <= set("01-")):
            raise MalformedRelease(
                f"{path}, line {number}: wanted index, gender, age and 1 + 4 flags of 0 or 1; came {line!r}"
            )
        if flags.startswith("0"):
            invalid.add(int(words[0]))
    return frozenset(invalid)


def publishable_subjects(root: Path) -> frozenset[int]:
    """People whose portraits may be shown; of nobody else, says the licence. Raises FileNotFoundError, MalformedRelease."""
    path = root / PUBLISHABLE
    words = path.read_text(encoding="utf-8-sig").replace(",", " ").split()
    if strange := [word for word in words if not word.isdecimal()]:
        raise MalformedRelease(f"{path} wants ids with commas between them; it has {strange[0]!r}")
    return frozenset(int(word) for word in words)


def landmark_indices(root: Path) -> Indices:
    """Which vertices the landmarks are: as the toolkit's file says if it is there, else as it said in 2021. Raises MalformedRelease."""
    path = next((f for at in ("", "toolkit/predef") if (f := root / at / "landmark_indices.npz").is_file()), None)
    if path is None:
        return {count: np.array(_LANDMARKS[name].split(), dtype=np.int64) for count, name in TOPOLOGIES.items()}
    held = load_numpy(path)
    found = {}
    for count, name in TOPOLOGIES.items():
        index = held[name] if name in held else np.empty(0)  # type: ignore[index]
        if (
            index.shape != (len(FACE68.joints),)
            or index.dtype.kind not in "iu"
            or not ((index >= 0) & (index < count)).all()
        ):
            raise MalformedRelease(
                f"{path} wants {name}: {len(FACE68.joints)} vertices out of {count}; came {index.dtype} {index.shape}"
            )
        found[count] = index.astype(np.int64)
    return found


def read_mesh(file: MeshFile, indices: Indices) -> Mesh:
    """A mesh with its landmarks; millimetres become metres here. Raises FileNotFoundError, MalformedRelease."""
    try:
        scan = read_scan(file.path.read_bytes(), ".obj")
    except BadCloud as error:
        raise MalformedRelease(f"{file.path}: {error}") from error
    assert scan.triangles is not None  # an .obj without is refused
    if len(scan.points) not in indices:
        known = " or ".join(f"{count} ({TOPOLOGIES[count]})" for count in indices)
        raise MalformedRelease(
            f"{file.path}: landmarks are known for meshes of {known} vertices; it has {len(scan.points)}"
        )
    points = scan.points * to_metres("mm")
    return Mesh(file.subject, file.expression, points, scan.triangles, points[indices[len(points)]])
