"""Trials with the training of the hand forecaster that are no rung of its ladder: hands that are carried along smooth paths.

    python -m training benchmark hands-trials

Each trial changes the rung TRIED, is trained once on the six sources of the ladder and measured on validation recordings: those of the six
sources, and those of UNSEEN, which are not trained on. The test split is not read. Ratios are those of the ladder.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from training.engine.benchmark import markdown, measured
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.ladder import RUNGS, SOURCES, HandRun, Rung, Rungs, measure_sources, ratios

TRIED = "pure"
UNSEEN = {"humoto": 6, "manipnet": 4}  # windows of which one is measured


def _trials() -> dict[str, Rung]:
    """Return the trials by name, and the rung that they change, which is the first."""
    rung = RUNGS[TRIED]
    longer = replace(rung, steps=3 * rung.steps)
    return {
        f"{rung.steps} steps": rung,
        f"{rung.steps} steps, 0.15 of the windows carried": replace(rung, carried=0.15),
        f"{rung.steps} steps, 0.3 of the windows carried": replace(rung, carried=0.3),
        f"{longer.steps} steps, 0.2 of the windows carried": replace(longer, carried=0.2),
    }


TRIALS = _trials()


def tried(rung: Rung, data: Path, out: Path, watch: Watch = UNWATCHED) -> list[Rungs]:
    """Return the figures of a trial on SOURCES and on each of UNSEEN; train it if they are not there. Raises Stopped."""

    def figures(sources: Sequence[str], every: int) -> Rungs:
        def measure(run: HandRun, network: nn.Module, folder: Path) -> Rungs:
            return measure_sources(network, run.data.load(folder), sources, "validation", every)

        return measured(rung.run(()), 0, data, out, Rungs, measure, watch, file=f"trial-{sources[0]}.json")

    return [figures(SOURCES, 1), *(figures((source,), every) for source, every in UNSEEN.items())]


def tables(data: Path, out: Path, watch: Watch = UNWATCHED) -> str:
    """Return a Markdown table of ratios for each group of sources and each trial, and one of those of each row. Raises Stopped."""
    found = {title: tried(rung, data, out, watch) for title, rung in TRIALS.items()}
    groups = ("trained on", *(f"{source}, zero-shot" for source in UNSEEN))
    lines: list[tuple[str, ...]] = []
    keys: tuple[str, ...] = ()
    for number, group in enumerate(groups):
        for title, rungs in found.items():
            means = ratios([rungs[number]])
            keys = tuple(means)
            lines.append((group, title, *(f"{value:.3f}" for value in means.values())))
    first = next(iter(found.values()))[0]
    rows = [
        (title, *(f"{rungs[0].errors[row]['30+30'] / rungs[0].best[row]['30+30']:.3f}" for row in first.errors))
        for title, rungs in found.items()
    ]
    return (
        f"{markdown(('validation', 'trial', *keys), lines)}\n\n{markdown(('trained on, 30+30', *first.errors), rows)}"
    )
