"""Check of a data folder's hands/: every source that a run can name is read with the reader that training uses.

A set of recordings of one's own may be the data folder itself: hands/ need not exist then.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.data.reading import Found, MalformedData, any_present, bounded, reading
from training.data.splits import SPLITS
from training.tasks.hands.own.check import check_set
from training.tasks.hands.own.sets import own_sets
from training.tasks.hands.recordings import Recording
from training.tasks.hands.sources import hand_source, hand_sources


def check_hands(folder: Path, note: Callable[[str], None] = lambda _: None) -> Found:
    """Read the sets of one's own, the .npz sources of splits.json, and the folders of other sources; yield (source, split, recordings).

    `note` gets what is doubtful in sets of one's own. Raises MalformedData.
    """
    own = own_sets(folder)
    for name, one in own.items():
        checked = check_set(one.folder(folder))
        checked.refuse()
        for warning in checked.warnings:
            note(warning)
        yield from ((name, split, recordings) for split, recordings in checked.counts.items())
    others = [
        source
        for source in hand_sources().values()
        if (folder / source.name).is_dir() and not (folder / source.name / f"{source.name}.npz").is_file()
    ]
    listed = folder / "splits.json"
    splits = _splits(listed) if listed.is_file() or not (others or own) else {}
    for name in splits:
        if Path(name).name != name:
            raise MalformedData(f"{listed}: expected the name of a folder for a source, got {name[:80]!r}")
        path = folder / name / f"{name}.npz"
        for split in SPLITS:
            with reading(path):
                bounded(path)
                recordings = hand_source(name).read(folder, split)
                _check_recordings(recordings)
            yield name, split, len(recordings)
    for source in others:
        for split in SPLITS:
            with reading(folder / source.name):
                recordings = source.read(folder, split)
                _check_recordings(recordings)
            yield source.name, split, len(recordings)


def _splits(path: Path) -> dict[str, Any]:
    """Return the sources of splits.json. Raises MalformedData."""
    with reading(path):
        splits = json.loads(bounded(path).read_text()) if path.is_file() else None
    if not isinstance(splits, dict) or not all(isinstance(split, dict) for split in splits.values()):
        problem = "no file" if splits is None else "another structure"
        raise MalformedData(f"expected {path} with {{source: {{split: [recordings]}}}}, got {problem}")
    return splits


def _check_recordings(recordings: Sequence[Recording]) -> None:
    """Raise ValueError for a recording that has no hand in any frame, or a valid hand with coordinates that are not finite."""
    for recording in recordings:
        if not any_present(recording.clip.joints, recording.clip.valid, recording.name):
            raise ValueError(f"{recording.name}: expected a hand in at least one frame, got none")
