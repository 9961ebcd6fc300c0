"""FaceScape (Yang et al., CVPR 2020; Zhu et al., TPAMI 2023) as published: meshes of 847 people with 20 expressions each.

    [facescape_trainset_001_100/]<id>/models_reg/<k>_<expression>.obj    millimetres, +y up, +z out of the face
    info_list_v2.txt           one line per person: index, gender, age, 1 + 4 flags; "-" for an unknown value
    publishable_list_v1.txt    the ids, separated by commas, of the people whose portraits may be shown
    landmark_indices.npz       from the FaceScape toolkit, here or in toolkit/predef/: v10 and v16, 68 vertices of each topology

Landmarks are vertices, so a mesh is read in the file's order; the number of vertices decides which list of landmarks applies. On the one
person that was measured, millimetres were about 10 % too large, so report errors relative to the interocular distance too. This package
contains no data of FaceScape: researchers request it from its authors, for non-commercial use.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import BadCloud
from models.scans.files import read_scan
from models.skeletons.face import FACE68
from models.skeletons.units import to_metres
from training.data.licences import Source
from training.data.splits import SPLITS, Split
from training.data.untrusted import load_numpy

SOURCE = Source(
    "facescape", "FaceScape licence: non-commercial research, no redistribution", "Yang et al., FaceScape, CVPR 2020"
)
EXPRESSIONS = (  # in the order of their numbers, which begin at 1
    *("neutral", "smile", "mouth_stretch", "anger", "jaw_left", "jaw_right", "jaw_forward", "mouth_left"),
    *("mouth_right", "dimpler", "chin_raiser", "lip_puckerer", "lip_funneler", "sadness", "lip_roll", "grin"),
    *("cheek_blowing", "eye_closed", "brow_raiser", "brow_lower"),
)
TOPOLOGIES = {26_317: "v10", 26_278: "v16"}  # by number of vertices: of the meshes, and of the bilinear model since 1.6
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

Indices = dict[int, Int[np.ndarray, "68"]]  # number of vertices -> vertices of the landmarks

log = logging.getLogger(__name__)


class MalformedRelease(ValueError):
    """A file that differs from the published format; the message says what was expected and what was found."""


class UnknownChoice(ValueError):
    """A split or expression that does not exist; the message lists those that do."""


@dataclass(frozen=True)
class MeshFile:
    """The path of a mesh that is not read yet."""

    subject: int
    expression: str
    path: Path


@dataclass(frozen=True)
class Mesh:
    """One person with one expression, in metres, float64."""

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
    """Yield the meshes of a split, or of all splits, as `find_meshes` and `read_mesh` do; a mesh takes 0.13 s."""
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
    """Return the files of the meshes, ordered by person and expression, without opening them.

    People whose first flag is 0 (incomplete or invalid) are left out. `publishable` keeps the people whose portraits may be shown. The
    release lacks some meshes; `skip_missing` leaves them out with a warning in the log. Raises FileNotFoundError, MalformedRelease,
    UnknownChoice.
    """
    if split is not None and split not in SPLITS:
        raise UnknownChoice(f"FaceScape has no split {split!r}; it has {', '.join(SPLITS)}")
    if unknown := [name for name in expressions if name not in EXPRESSIONS]:
        raise UnknownChoice(f"FaceScape has no expression {', '.join(unknown)}; it has {', '.join(EXPRESSIONS)}")
    folders = _folders(root)
    chosen = set(folders) - invalid_subjects(root)
    if publishable:
        chosen &= publishable_subjects(root)
    files = [
        MeshFile(subject, name, folders[subject] / f"{EXPRESSIONS.index(name) + 1}_{name}.obj")
        for subject in sorted(chosen)
        if split is None or split_of(subject) == split
        for name in expressions
    ]
    missing = [file for file in files if not file.path.is_file()]
    if missing:
        names = ", ".join(str(file.path.relative_to(root)) for file in missing[:5])
        names += ", ..." if len(missing) > 5 else ""
        message = f"{root} lacks {len(missing)} of {len(files)} meshes: {names}"
        if not skip_missing:
            raise FileNotFoundError(f"{message}. skip_missing leaves them out")
        log.warning("%s", message)
    absent = set(missing)
    return [file for file in files if file not in absent]


def _folders(root: Path) -> dict[int, Path]:
    """Return the folder models_reg of each person, which is in the root or in a folder that the archives unpack to."""
    folders: dict[int, Path] = {}
    for pattern in ("[0-9]*/models_reg", "facescape_trainset_*/[0-9]*/models_reg"):
        for folder in sorted(root.glob(pattern)):
            if not folder.parent.name.isdecimal():
                continue
            subject = int(folder.parent.name)
            if subject in folders:
                raise MalformedRelease(f"expected one folder of person {subject}, got {folders[subject]} and {folder}")
            folders[subject] = folder
    if not folders:
        raise FileNotFoundError(f"no <id>/models_reg in {root}, nor in facescape_trainset_*/ under it")
    return folders


def split_of(subject: int) -> Split:
    """Return the split of a person with all expressions: 8, 1 and 1 of ten by a hash of the id, whichever people are present.

    All 847 people are 682, 75 and 90.
    """
    tenth = int.from_bytes(hashlib.sha256(f"facescape {subject}".encode()).digest()[:8], "big") * 10 >> 64
    return "train" if tenth < 8 else "validation" if tenth < 9 else "test"


def invalid_subjects(root: Path) -> frozenset[int]:
    """Return the people whose first flag is 0; without an info list, nobody, with a warning in the log. Raises MalformedRelease."""
    path = next((root / name for name in INFO if (root / name).is_file()), None)
    if path is None:
        log.warning("no %s in %s: people with invalid scans are not left out", " or ".join(INFO), root)
        return frozenset()
    invalid = set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not (words := line.split()):
            continue
        flags = "".join(words[3:]).translate(str.maketrans("", "", "[]+,"))
        if len(words) < 3 or not words[0].isdecimal() or not (flags in ("", "-") or set(flags) <= set("01-")):
            raise MalformedRelease(
                f"{path}, line {number}: expected index, gender, age and 1 + 4 flags of 0 or 1, got {line!r}"
            )
        if flags.startswith("0"):
            invalid.add(int(words[0]))
    return frozenset(invalid)


def publishable_subjects(root: Path) -> frozenset[int]:
    """Return the people whose portraits the licence allows to show. Raises FileNotFoundError, MalformedRelease."""
    path = root / PUBLISHABLE
    words = path.read_text(encoding="utf-8-sig").replace(",", " ").split()
    if strange := [word for word in words if not word.isdecimal()]:
        raise MalformedRelease(f"{path}: expected ids separated by commas, got {strange[0]!r}")
    return frozenset(int(word) for word in words)


def landmark_indices(root: Path) -> Indices:
    """Return the vertices of the landmarks: those in the toolkit's file if there is one, else those of its 2021 version.

    Raises MalformedRelease.
    """
    path = next((f for at in ("", "toolkit/predef") if (f := root / at / "landmark_indices.npz").is_file()), None)
    if path is None:
        return {count: np.array(_LANDMARKS[name].split(), dtype=np.int64) for count, name in TOPOLOGIES.items()}
    content = load_numpy(path)
    indices = {}
    for count, name in TOPOLOGIES.items():
        index = content[name] if name in content else np.empty(0)  # type: ignore[index] - `in` tells a dictionary from an array
        if (
            index.shape != (len(FACE68.joints),)
            or index.dtype.kind not in "iu"
            or not ((index >= 0) & (index < count)).all()
        ):
            raise MalformedRelease(
                f"{path}: expected {name} with {len(FACE68.joints)} vertices below {count}, got {index.dtype} {index.shape}"
            )
        indices[count] = index.astype(np.int64)
    return indices


def read_mesh(file: MeshFile, indices: Indices) -> Mesh:
    """Read a mesh with its landmarks, turning millimetres into metres. Raises FileNotFoundError, MalformedRelease."""
    try:
        scan = read_scan(file.path.read_bytes(), ".obj")
    except BadCloud as error:
        raise MalformedRelease(f"{file.path}: {error}") from error
    assert scan.triangles is not None  # the reader refuses an .obj without triangles
    if len(scan.points) not in indices:
        known = " or ".join(f"{count} ({TOPOLOGIES[count]})" for count in indices)
        raise MalformedRelease(
            f"{file.path}: expected a mesh of {known} vertices, whose landmarks are known, got {len(scan.points)}"
        )
    points = scan.points * to_metres("mm")
    return Mesh(file.subject, file.expression, points, scan.triangles, points[indices[len(points)]])
