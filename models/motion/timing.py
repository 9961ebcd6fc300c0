"""Times that callers send with their frames: the unit, the rate, and whether the frames are even.

Steps between frames tell the unit, since no two units share a rate of 5 to 250 frames a second.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SECONDS = (0.001, 0.2)  # steps of 1000 to 5 frames a second
SHORTEST = 0.004  # step in the other units: a step of 1 may be a second as well as a millisecond
UNITS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
EVEN = 0.1  # of a step: the most that a frame may be off the grid of an even clip


class BadTimes(ValueError):
    """Times that cannot be those of frames; the message gives what was expected and what came."""


@dataclass(frozen=True)
class Timing:
    """The times of frames in seconds from the first, and the rate of their usual step."""

    times: Float[np.ndarray, " frames"]
    fps: float
    even: bool

    @property
    def longest_step(self) -> tuple[int, float]:
        """Return the frame before the longest step, and the seconds of that step."""
        steps = np.diff(self.times)
        return (int(steps.argmax()), float(steps.max())) if len(steps) else (0, 0.0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the warnings about frames that are not even."""
        if self.even:
            return ()
        steps = 1000 * np.diff(self.times)
        return (
            f"the frames are {steps.min():.3g} to {steps.max():.3g} ms apart; between them motion is interpolated, at {self.fps:.4g} "
            "frames a second",
        )

    def grid(self, *, from_end: bool = False) -> Float[np.ndarray, " new"]:
        """Return the places of even frames, as fractions of frame numbers, from the first frame on or up to the last one."""
        last = self.times[-1]
        count = int(np.floor(last * self.fps + 1e-6)) + 1
        even = np.arange(count) / self.fps
        return np.interp(last - even[::-1] if from_end else even, self.times, np.arange(len(self.times)))


def even_timing(frames: int, fps: float) -> Timing:
    """Return the timing of frames at a known rate."""
    return Timing(np.arange(frames) / fps, fps, True)


def timing_of(stamps: Float[np.ndarray, " frames"]) -> Timing:
    """Return the timing of frames from their times in any of UNITS, from any start. Raises BadTimes.

    The rate is that of the mean step, without those that differ from the median one by half of it: clocks count whole milliseconds.
    """
    if len(stamps) < 2:
        raise BadTimes(f"expected at least 2 times, which give a rate, got {len(stamps)}; send `fps`")
    if not np.isfinite(stamps).all():
        raise BadTimes("expected finite times, got some that are not")
    with np.errstate(over="ignore"):
        steps = np.diff(stamps)
    if steps.min() <= 0:
        frame = int(np.argmax(steps <= 0)) + 1
        raise BadTimes(
            f"expected times that increase from frame to frame, got {stamps[frame]:.12g} in frame {frame} after "
            f"{stamps[frame - 1]:.12g}"
        )
    step = float(np.median(steps))
    unit = next((name for name, second in UNITS.items() if _fits(step * second, name)), None)
    if unit is None:
        raise BadTimes(
            f"expected steps of 1 to 200 ms, as times in {', '.join(UNITS)}, got a median step of {step:.6g}; "
            "send seconds, or `fps`"
        )
    times = (stamps - stamps[0]) * UNITS[unit]
    usual = steps[np.abs(steps - step) < step / 2].mean()
    fps = float(1 / (usual * UNITS[unit]))
    even = bool(np.abs(times * fps - np.arange(len(times))).max() <= EVEN)
    return Timing(times, fps, even)


def _fits(seconds: float, unit: str) -> bool:
    return (SECONDS[0] if unit == "seconds" else SHORTEST) <= seconds * (1 + 1e-9) and seconds <= SECONDS[1] * (
        1 + 1e-9
    )
