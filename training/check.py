"""A data folder read whole, with the loaders that training uses, before anything is trained on it.

    hands/      splits.json and <source>/<source>.npz
    faces/      ict_facekit, which landmarkers are trained on; facefuns_composites and raw_scans, which they are measured on
    facescape/  as published
    body/       hdm05_11, cmu_9act, reactidle, bandai_namco, jhmdb, penn_action, nw_ucla; human36m, humaneva and kinetics as published

What no run can name, such as a README or a source that hands/splits.json does not split, is not read.
"""

from collections.abc import Callable
from pathlib import Path

from training.data.reading import Found, MalformedData, alternatives, contents
from training.data.splits import SPLITS
from training.tasks.bodies.check import check_bodies
from training.tasks.faces.check import _faces, _facescape
from training.tasks.hands.check import _hands

Counts = dict[str, dict[str, dict[str, int]]]


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
        raise MalformedData(f"wanted a folder with {alternatives(PARTS)} in it; came {contents(folder)}")
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


PARTS: dict[str, Callable[[Path], Found]] = {
    "hands": _hands,
    "faces": _faces,
    "facescape": _facescape,
    "body": check_bodies,
}
