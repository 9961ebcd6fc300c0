"""training.tasks.bodies.check."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.data.reading import Found, MalformedData, _bounded, _finite, _names, _reading, _told
from training.data.splits import SPLITS
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.readers.cameras import read_rig
from training.tasks.bodies.readers.human36m import read_human36m, read_humaneva
from training.tasks.bodies.readers.kinetics_skeleton import read_kinetics
from training.tasks.bodies.readers.npz import SOURCES, read_bodies
from training.tasks.bodies.readers.nw_ucla import read_nw_ucla
from training.tasks.bodies.readers.penn_action import read_penn
from training.tasks.bodies.sources import RIG


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
