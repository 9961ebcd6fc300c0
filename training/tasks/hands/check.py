"""training.tasks.hands.check."""

import json
from pathlib import Path

from training.data.reading import Found, MalformedData, any_present, bounded, reading
from training.data.splits import SPLITS
from training.tasks.hands.npz import read_hands


def _hands(folder: Path) -> Found:
    listed = folder / "splits.json"
    with reading(listed):
        splits = json.loads(bounded(listed).read_text()) if listed.is_file() else None
    if not isinstance(splits, dict) or not all(isinstance(split, dict) for split in splits.values()):
        raise MalformedData(f"wanted {listed} with {{source: {{split: [recordings]}}}}; it is not there, or not so")
    for source in splits:
        path = folder / source / f"{source}.npz"
        if Path(source).name != source:
            raise MalformedData(f"{listed}: a source is the name of a folder; came {source[:80]!r}")
        for split in SPLITS:
            with reading(path):
                bounded(path)
                recordings = read_hands(folder, source, split)
                for recording in recordings:
                    if not any_present(recording.clip.joints, recording.clip.valid, recording.name):
                        raise ValueError(f"{recording.name} has no hand in any frame")
            yield source, split, len(recordings)
