"""The collected figures of a comparison: what is trained of every model, as rows for tables, and what is missing."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from models.contract.task import HandForecast
from training.engine.loop import NotANumber
from training.engine.run import Network
from training.engine.statistics import interval_of_sums
from training.tasks.hands.comparison import Comparison, Cost
from training.tasks.hands.figures import Errors, Figures
from training.tasks.hands.models import Model, Published

log = logging.getLogger("chiron.training")


@dataclass(frozen=True)
class Row:
    """One model with the figures of each seed, or one forecast without weights, which has no learning rate.

    A model whose training is not finished may have no cost yet.
    """

    name: str
    figures: tuple[Figures, ...]
    cost: Cost | None = None
    rate: float | None = None
    published: Published | None = None

    @property
    def trained(self) -> bool:
        """Return whether the row is of a model, not of a forecast without weights."""
        return self.rate is not None

    def errors(self, source: str) -> list[Errors]:
        """Return the errors on the test windows of a source, for each seed."""
        return [figures.test[source] for figures in self.figures]

    def mpjpe_mm(self, source: str) -> list[float]:
        """Return the error over the horizon on a source, for each seed."""
        return [errors.mpjpe_mm for errors in self.errors(source)]


def collect(
    comparison: Comparison, models: Mapping[str, Model], wanted: Iterable[str], *, train: bool
) -> tuple[list[Row], list[str]]:
    """Train the wanted models and return the rows of all models that are trained, and one sentence for each that is not, or not wholly.

    Raises Stopped.
    """
    wanted, rows, missing = set(wanted), [], []
    for name, model in models.items():
        try:
            network = model.network()
        except (ImportError, AttributeError, TypeError) as error:
            missing.append(f"{name}: {error}")
            continue
        row, lack = _row(comparison, name, model, network, train and name in wanted)
        rows += [row] if row else []
        missing += [lack] if lack else []
    return rows, missing


def _row(
    comparison: Comparison, name: str, model: Model, network: Network[HandForecast], train: bool
) -> tuple[Row | None, str | None]:
    """Return the row of a model with the seeds that are trained, if any is, and what it lacks, if anything."""
    begin, seeds = time.process_time(), min(comparison.budget.seeds, model.seeds)
    try:
        rate = comparison.rate(name, network, train=train)
        if rate is None:
            return None, f"{name}: not trained"
        found = [comparison.figures(name, network, seed, rate, train=train) for seed in range(seeds)]
        cost = comparison.cost(name, network, rate, train=train)
    except NotANumber as error:
        return None, f"{name}: {error}"
    figures = tuple(one for one in found if one)
    if train:
        log.warning("%s: %.0f s of CPU", name, time.process_time() - begin)
    lack = f"{name}: {len(figures)} of {seeds} seeds" if len(figures) < seeds else None
    return (Row(name, figures, cost, rate, model.published) if figures else None), lack


def gain(row: Row, base: Row, source: str) -> tuple[float, tuple[float, float] | None]:
    """Return how much less the error of `row` is than that of `base` in %, with a 95 % interval over recordings; None for one recording.

    The comparison is paired: every recording gives the difference of both errors, each averaged over seeds.
    """
    own, other = (_by_recording(one, source) for one in (row, base))
    counts = np.array([windows for windows, _ in own.values()])
    sums = np.array([own[name][0] * (other[name][1] - own[name][1]) for name in own])
    scale = float(100 / (sum(n * error for n, error in other.values()) / counts.sum()))
    bounds = interval_of_sums(sums, counts)
    return scale * float(sums.sum() / counts.sum()), bounds and (scale * bounds[0], scale * bounds[1])


def _by_recording(row: Row, source: str) -> dict[str, tuple[int, float]]:
    """Return windows and mean error of each recording, averaged over seeds."""
    seeds = [errors.recordings for errors in row.errors(source)]
    return {name: (seeds[0][name][0], float(np.mean([one[name][1] for one in seeds]))) for name in seeds[0]}
