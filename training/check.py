"""The check of a data folder: everything in it is read with the readers of training, before anything is trained on it.

    dataset.json beside recordings of hands of one's own, or in hands/<set>/ (training/tasks/hands/own); beside scans of faces;
                beside recordings of bodies, or in body/<set>/ (training/tasks/bodies/own)
    hands/      splits.json and <source>/<source>.npz; registered sources in <source>/, such as assembly101
    faces/      ict_facekit to train landmarkers on; facefuns_composites and raw_scans to measure them on
    facescape/  as published
    body/       hdm05_11, cmu_9act, reactidle, bandai_namco, jhmdb, penn_action, nw_ucla; human36m, humaneva and kinetics as published

Files that no run can name, such as a README or an .npz that hands/splits.json does not split, are not read.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from training.data.declaration import BODIES, FACES, FILE, HANDS, kind_of
from training.data.reading import Found, MalformedData, alternatives, contents
from training.data.splits import SPLITS
from training.tasks.bodies.check import check_bodies
from training.tasks.faces.check import check_faces, check_facescape
from training.tasks.hands.check import check_hands

Counts = dict[str, dict[str, dict[str, int]]]  # part -> source -> split -> number of recordings


def check(
    folder: Path, stop: Callable[[], bool] = lambda: False, note: Callable[[str], None] = lambda _: None
) -> Counts:
    """Read every recording under `folder` and count them.

    One recording or source is in memory at a time. The recordings of a face model are the identities of its seeds. The splits of jhmdb are
    those of fold 1, those of nw_ucla are cross-view. In human36m and humaneva, a source is one detector's keypoints and a recording is one
    camera's view.

    `stop` is called between recordings or sources; once it returns True, the result is {}. `note` gets sentences about what is doubtful.
    Raises MalformedData.
    """
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # damaged numbers are refused by the checks, not warned of
            return _check(folder, stop, note)
    except MalformedData as error:
        raise MalformedData(str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "")) from error.__cause__


def parts_read(folder: Path, counts: Counts) -> tuple[str, ...]:
    """Return the subfolders that a check has read, "." for the data folder itself."""
    return (".",) if (folder / FILE).is_file() else tuple(counts)


def _check(folder: Path, stop: Callable[[], bool], note: Callable[[str], None]) -> Counts:
    kind = kind_of(folder)
    own = OWN.get(kind or "")
    present = [FACES] if kind == FACES else [part for part in PARTS if (folder / part).is_dir() or part == own]
    if not present:
        raise MalformedData(
            f"expected {alternatives(PARTS)} in the data folder, or {FILE} beside recordings or scans, got {contents(folder)}"
        )
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise MalformedData(f"{path}: expected files and folders, got a symbolic link")
    counts: Counts = {}
    for part in present:
        sources = counts.setdefault(part, {})
        reader = partial(PARTS[part], note=note) if part in NOTED else PARTS[part]
        for source, split, recordings in reader(folder / part):
            sources.setdefault(source, dict.fromkeys(SPLITS, 0))[split] += recordings
            if stop():
                return {}
        if not any(sum(splits.values()) for splits in sources.values()):
            raise MalformedData(f"{folder / part} has no recordings")
    return counts


OWN = {HANDS: "hands", FACES: "faces", BODIES: "body"}  # the part that a set of one's own is, by its kind
NOTED = tuple(OWN.values())  # whose readers note what is doubtful
PARTS: dict[str, Callable[..., Found]] = {
    "hands": check_hands,
    "faces": check_faces,
    "facescape": check_facescape,
    "body": check_bodies,
}
