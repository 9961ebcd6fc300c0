"""Chances of training windows: sources of any size in due shares, and not mostly hands that keep still.

A window's motion is that of its past alone. A forecaster sees the past, so drawing by it does not change which future follows a past.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from training.tasks.hands.windows import WindowSet

STILL_M_S = 0.02  # the mean speed of the joints below which a hand counts as still
BLOCK = 8192
POWERS = {"windows": 1.0, "sqrt": 0.5, "even": 0.0}  # of the number of a source's windows


@dataclass(frozen=True)
class Draw:
    """The chances with which training windows are drawn.

    With `sources` "windows", a source's chance is the number of its windows, with "sqrt" the square root of that, and with "even" all
    sources have the same. At most the share `still` of each source's draws are windows whose past is still.
    """

    sources: Literal["windows", "sqrt", "even"] = "windows"
    still: float = 1.0


EVERY_WINDOW = Draw()


def chances(sets: Sequence[WindowSet], draw: Draw) -> list[Float[np.ndarray, " windows"]]:
    """Return the chance of each window of each set; together they are 1."""
    names = sorted({source for windows in sets for source, _, _ in windows.recordings})
    own = [np.array([names.index(source) for source, _, _ in windows.recordings]) for windows in sets]
    source = np.concatenate([of[windows.recording_of] for of, windows in zip(own, sets, strict=True)])
    counts = np.bincount(source, minlength=len(names))
    chance = counts[source] ** (POWERS[draw.sources] - 1)
    if draw.still < 1:
        still = np.concatenate([speeds(windows) for windows in sets]) < STILL_M_S
        share = np.bincount(source[still], minlength=len(names)) / np.maximum(counts, 1)
        kept = np.where(share < 1, np.minimum(share, draw.still), 1)[source]  # a source without motion stays as it is
        share = share[source]
        chance *= np.where(still, kept / np.where(still, share, 1), (1 - kept) / np.where(still, 1, 1 - share))
    return np.split(chance / chance.sum(), np.cumsum([len(windows) for windows in sets])[:-1])


def speeds(windows: WindowSet) -> Float[np.ndarray, " windows"]:
    """Return the speed of each window's past in m/s: how far joints are from their place in the last pose, by the time since.

    It is the mean over joints and over four earlier frames, as far as the window has them: the first, those at one and two thirds, and the
    last but one.
    """
    past, fps = windows.window.past, windows.window.fps
    last = past - 1
    numbers = np.unique([0, last // 3, 2 * last // 3, last - 1, last])
    ages = (last - numbers[:-1]) / fps
    found = np.empty(len(windows), np.float32)
    for begin in range(0, len(windows), BLOCK):
        block = np.arange(begin, min(begin + BLOCK, len(windows)))
        frames = windows.frames(block, numbers)
        distance = np.linalg.norm(frames[:, :-1] - frames[:, -1:], axis=-1).mean(axis=-1)
        found[block] = np.nansum(distance, axis=1) / np.sum(ages * np.isfinite(distance), axis=1)
    return found
