"""A data set outside the package: DATA/hands/lab/<split>-<recording>.npy, (frames, 2, 21, 3) in metres, 30 frames a second."""

from pathlib import Path

import numpy as np

from models.motion.hands import clip_of
from training.tasks.hands.recordings import HandSource, Recording


def read(folder: Path, split: str | None) -> list[Recording]:
    clips = {path.stem: np.load(path) for path in sorted((folder / "lab").glob(f"{split or '*'}-*.npy"))}
    return [Recording("lab", name, "any", clip_of(x, np.arange(len(x)) / 30)) for name, x in clips.items()]


SOURCE = HandSource("lab", "CC0-1.0", "our laboratory, 2026", read)
