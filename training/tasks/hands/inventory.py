"""The windows that recordings of hands give: counted by source and split, with the recordings that give none."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from training.data.splits import SPLITS
from training.engine.benchmark import markdown
from training.tasks.hands.data import HandData
from training.tasks.hands.own.sets import OwnSet
from training.tasks.hands.windows import Window, usage


def inventory(
    data_folder: Path,
    sources: Iterable[str],
    windows: Sequence[Window],
    least: tuple[int, int] | None = None,
    own: tuple[OwnSet, ...] = (),
) -> str:
    """Return a Markdown table with a line for each source, split and window.

    It has the number of windows of one hand (where no window has two) and of two hands, of recordings that give a window, and of those that
    are shorter than one, too slow, or have gaps too close together. Training windows are those of every phase; `least` admits incomplete
    ones among them. `own` are the sources that are sets of one's own. Raises what reading the sources raises.
    """
    lines: list[tuple[str, ...]] = []
    for source in sources:
        batches = HandData((source,), windows[0], own=own).load(data_folder)
        for split in SPLITS:
            phases, allowed = ("all", least) if split == "train" else ("first", None)
            for window in windows:
                sets = [batches.windows(split, n, window=window, phases=phases, least=allowed) for n in (1, 2)]
                counts = usage(sets)
                if counts.recordings:
                    figures = (*map(len, sets), counts.used, counts.short, counts.slow, counts.gaps)
                    lines.append((source, split, window.name, *map(str, figures)))
    counted = ("one hand", "two hands", "recordings", "shorter", "slower", "gaps")
    return markdown(("source", "split", "window", *counted), lines)
