"""The text of a window of a hand forecaster, such as 60+60@60: past and future frames, and frames a second."""

import re
from typing import NamedTuple

MOST_FRAMES, MOST_FPS = 1000, 1000
_FORM = re.compile(r"(\d{1,4})\+(\d{1,4})@(\d{1,3}(?:\.\d{1,3})?)")


class BadPreset(ValueError):
    """A text that is no window."""


class Preset(NamedTuple):
    """The numbers of past and of future frames, and the frames a second."""

    past: int
    future: int
    fps: float


def parse_preset(text: str) -> Preset:
    """Return the window that a text states. Raises BadPreset."""
    parts = _FORM.fullmatch(text)
    past, future, fps = (int(parts[1]), int(parts[2]), float(parts[3])) if parts else (0, 0, 0.0)
    if not (2 <= past <= MOST_FRAMES and 1 <= future <= MOST_FRAMES and 0 < fps <= MOST_FPS):
        raise BadPreset(
            f"expected a window of 2 to {MOST_FRAMES} past frames, 1 to {MOST_FRAMES} future frames and a rate, such as 60+60@60, "
            f"got {text!r}"
        )
    return Preset(past, future, fps)
