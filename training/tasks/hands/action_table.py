"""The table of errors for each action: at the end on every window, and at the reported epochs on some of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.engine.benchmark import markdown
from training.tasks.hands.actions import GLOBAL, GROUPS, groups_of
from training.tasks.hands.comparison import Budget
from training.tasks.hands.figures import Counted
from training.tasks.hands.results import Row


def grouped(labels: Mapping[str, Counted]) -> dict[str, Counted]:
    """Return windows and mean error of each group of actions that has windows, from those of each label; "Global" is last."""
    found: dict[str, tuple[int, float]] = {}
    for label, (windows, mean) in labels.items():
        for group in groups_of(label):
            count, total = found.get(group, (0, 0.0))
            found[group] = count + windows, total + windows * mean
    order = [group for group in (*GROUPS, GLOBAL) if group in found]
    return {group: (found[group][0], found[group][1] / found[group][0]) for group in order}


def action_json(rows: Sequence[Row], floor: Sequence[Row], budget: Budget) -> dict[str, Any]:
    """Return errors in mm by source, group and model, averaged over seeds: on every window, and at each reported epoch."""
    sources: dict[str, Any] = {}
    for source, errors in floor[0].figures[0].test.items():
        of_curve = grouped(floor[0].figures[0].curve[0].test[source].labels)
        groups = {group: windows for group, (windows, _) in grouped(errors.labels).items()}
        if set(groups) == {GLOBAL}:
            continue  # no label of this source is one of the actions
        sources[source] = {
            group: {
                "windows": windows,
                "windows_of_curve": of_curve[group][0] if group in of_curve else 0,
                "models": {row.name: _of_group(row, source, group, budget) for row in [*floor, *rows]},
            }
            for group, windows in groups.items()
        }
    return {"words": {group: list(words) for group, words in GROUPS.items()}, "sources": sources}


def _of_group(row: Row, source: str, group: str, budget: Budget) -> dict[str, Any]:
    """Return the error of a model on a group of actions at the end, and by epoch."""
    end = float(np.mean([grouped(errors.labels)[group][1] for errors in row.errors(source)]))
    epochs: dict[str, float] = {}
    for at, first in enumerate(row.figures[0].curve):
        points = [grouped(figures.curve[at].test[source].labels) for figures in row.figures]
        if group in points[0]:
            epochs[str(first.epoch)] = round(float(np.mean([point[group][1] for point in points])), 3)
    if not row.trained and epochs:  # without weights, every epoch has the same error
        epochs = dict.fromkeys(map(str, budget.marks), next(iter(epochs.values())))
    return {"mpjpe_mm": round(end, 3), "epochs_mm": epochs}


def action_markdown(content: Mapping[str, Any], budget: Budget) -> str:
    """Return a table for each source and group: the error at each reported epoch, and at the end on every window."""
    parts = [
        f"MPJPE in mm, {budget.preset}, mean over seeds. A window belongs to an action if its recording's label has one of the action's "
        "words; the words are a choice of this project: "
        + "; ".join(f"{group}: {', '.join(words)}" for group, words in content["words"].items())
        + ". Global is every window. The error at an epoch is that of the weights then, on the number of windows given; the last column is "
        "that of the best checkpoint on every window."
    ]
    for source, groups in content["sources"].items():
        for group, found in groups.items():
            parts.append(
                f"### {source}, {group}: {found['windows']} windows, {found['windows_of_curve']} of them at each epoch"
            )
            header = ("model", *(f"epoch {epoch}" for epoch in budget.marks), "best checkpoint")
            lines = [
                (
                    name,
                    *(f"{one['epochs_mm'][str(e)]:.1f}" if str(e) in one["epochs_mm"] else "-" for e in budget.marks),
                    f"{one['mpjpe_mm']:.1f}",
                )
                for name, one in found["models"].items()
            ]
            parts.append(markdown(header, lines))
    if not content["sources"]:
        parts.append("No source has a label with one of these words.")
    return "\n\n".join(parts)
