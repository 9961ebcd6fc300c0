"""Check of a data folder's body/: every source is read with the reader that training uses."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.data.reading import Found, MalformedData, alternatives, any_present, bounded, contents, reading
from training.data.splits import SPLITS
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.own.check import check_set
from training.tasks.bodies.own.sets import own_bodies
from training.tasks.bodies.readers.cameras import read_rig
from training.tasks.bodies.readers.human36m import read_human36m, read_humaneva
from training.tasks.bodies.readers.kinetics_skeleton import read_kinetics
from training.tasks.bodies.readers.npz import SOURCES, read_bodies
from training.tasks.bodies.readers.nw_ucla import read_nw_ucla
from training.tasks.bodies.readers.penn_action import read_penn
from training.tasks.bodies.sources import RIG


def check_bodies(folder: Path, note: Callable[[str], None] = lambda _: None) -> Found:
    """Read the sets of one's own, the camera rig and every source under `folder`; yield (source, split, recordings).

    A set of one's own may be the folder above: `folder` need not exist then. `note` gets what is doubtful in them. Raises MalformedData.
    """
    own = own_bodies(folder)
    for name, one in own.items():
        yield from ((name, split, count) for split, count in check_set(one.folder(folder), note).items())
    if (rig := folder / RIG).is_file():
        with reading(rig):
            read_rig(bounded(rig))
    present = [name for name in CHECKS if (folder / name).is_dir()]
    if not present and not own:
        raise MalformedData(f"expected {alternatives(CHECKS)} in {folder}, got {contents(folder)}")
    for name in present:
        yield from CHECKS[name](folder, name)


def _motion(folder: Path, source: str) -> Found:
    yield from _count(source, folder / source / SOURCES[source].file, lambda: read_bodies(folder, source))


def _penn_action(folder: Path, source: str) -> Found:
    for path in (folder / source / "labels").glob("*.mat"):
        with reading(path):
            bounded(path)
    yield from _count(source, _file_or_folder(folder / source), lambda: read_penn(folder / source))


def _nw_ucla(folder: Path, source: str) -> Found:
    yield from _count(source, _file_or_folder(folder / source), lambda: read_nw_ucla(folder / source))


def _file_or_folder(folder: Path) -> Path:
    """Return the one .npz of all clips if the folder has it, else the folder with a file a clip."""
    return path if (path := folder / f"{folder.name}.npz").is_file() else folder


def _human36m(folder: Path, source: str) -> Found:
    for keypoints in _detectors(folder / source, "data_2d_h36m_", "cpn_ft_h36m_dbb"):
        name = f"{source} {keypoints}"
        yield from _count(name, folder / source, lambda by=keypoints: read_human36m(folder / source, by))


def _humaneva(folder: Path, source: str) -> Found:
    for keypoints in _detectors(folder / source, "data_2d_humaneva15_", "detectron_pt_coco"):
        name = f"{source} {keypoints}"
        yield from _count(name, folder / source, lambda by=keypoints: read_humaneva(folder / source, by))


def _detectors(folder: Path, prefix: str, default: str) -> list[str]:
    """List the detectors with a file in the folder, or the `default` that runs name, so that its reader reports it missing."""
    return sorted(path.stem.removeprefix(prefix) for path in folder.glob(f"{prefix}*.npz")) or [default]


def _count(source: str, path: Path, read: Callable[[], Sequence[BodyClip] | Sequence[LiftClip]]) -> Found:
    with reading(path):
        clips = read()
        visible = [_any_visible(clip) for clip in clips]
        if not any(visible):
            raise ValueError(f"expected a visible joint in at least one of its {len(clips)} clips, got none")
        counts = Counter(clip.split for clip in clips)
    yield from ((source, split, counts[split]) for split in SPLITS)


def _any_visible(clip: BodyClip | LiftClip) -> bool:
    """Return whether any joint of a clip is visible; one of Penn Action's clips has none."""
    if isinstance(clip, BodyClip):
        return any_present(clip.points, clip.confidence > 0, clip.name)
    return any_present(clip.keypoints, clip.confidence > 0, clip.name) and bool(np.isfinite(clip.targets).any())


def _kinetics(folder: Path, source: str) -> Found:
    with reading(folder / source):
        clips = read_kinetics(folder / source)
    for i, split in enumerate(clips.splits):
        with reading(folder / source):
            points, scores = clips.read(i)
            any_present(points, scores > 0, clips.names[i])
        yield source, split, 1


CHECKS: dict[str, Callable[[Path, str], Found]] = {
    **dict.fromkeys(SOURCES, _motion),
    "penn_action": _penn_action,
    "nw_ucla": _nw_ucla,
    "human36m": _human36m,
    "humaneva": _humaneva,
    "kinetics": _kinetics,
}
