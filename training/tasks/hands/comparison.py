"""The comparison of hand forecasters: every model is trained with the same data and budget, and measured once for each seed.

The learning rate of a model is that of RATES with the best validation score after a fifth of the epochs, with seed 0. The checkpoint is
that of the best validation score. The test split decides nothing. Whatever exists under the folder of runs is used as it is, and an
interrupted training continues, so that several processes may share the folder if they train different models.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.contract.task import HandForecast
from training.engine.benchmark import measured
from training.engine.checkpoints import BEST, load_best, mark
from training.engine.cost import eager_ms, forecast_ms, step_s
from training.engine.folders import folder_of
from training.engine.loop import NotANumber, trained
from training.engine.run import Network, Optimisation, Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.epochs import EpochBatches, EpochData
from training.tasks.hands.figures import Figures, all_errors, parameters_of, point, rotation_mm
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.report import baselines
from training.tasks.hands.windows import PRESETS

RATES = (5e-4, 2e-3, 8e-3)
MARKS = (1, 5, 10, 25, 50)  # the epochs that the published comparison reports
VALIDATE_EVERY = 5  # epochs
FIGURES, COST = "comparison.json", "cost.json"

log = logging.getLogger("chiron.training")
HandRun = Run[HandForecast, EpochData]


class UnknownPreset(LookupError):
    """A window that no preset has; the message lists those that do."""


@dataclass(frozen=True)
class Budget:
    """The budget that every model of a comparison gets: the window, the epochs and their length, the seeds, and the data."""

    preset: str = "30+30@30"
    seeds: int = 3
    epochs: int = 50
    every_s: float = 4.0  # seconds of recording for each window of an epoch
    trained_on: tuple[str, ...] = ("manipnet", "humoto")
    measured_on: tuple[str, ...] = ("manipnet", "humoto", "assembly101_sample")  # the last one is never trained on
    reported: tuple[int, ...] = MARKS  # epochs
    test_windows: int | None = None  # about so many of each source at the end; None for all

    @property
    def marks(self) -> list[int]:
        """Return the epochs that are reported, of which the last is always one."""
        return sorted({epoch for epoch in self.reported if epoch < self.epochs} | {self.epochs})

    @property
    def search_epochs(self) -> int:
        """Return the epochs of each training of the search for a learning rate."""
        return max(1, self.epochs // 5)

    @property
    def task(self) -> HandForecast:
        """Return the task of the preset. Raises UnknownPreset."""
        if self.preset not in PRESETS:
            raise UnknownPreset(f"no preset {self.preset!r}; there are {', '.join(PRESETS)}")
        window = PRESETS[self.preset]
        return HandForecast(past=window.past, future=window.future, fps=window.fps)

    @property
    def data(self) -> EpochData:
        """Return the data of every training. Raises UnknownPreset."""
        assert self.task
        return EpochData(self.trained_on, PRESETS[self.preset], every_s=self.every_s)


@dataclass(frozen=True)
class Cost:
    """The CPU time of a model on one thread: seconds of a training step, milliseconds of a forecast in ONNX Runtime."""

    step_s: float
    forecast_ms: float

    def write(self, path: Path) -> None:
        """Write the cost as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Cost":
        """Return the cost that `write` has written."""
        return cls(**json.loads(path.read_text()))


class Comparison:
    """The trainings and measurements of one budget, on a data folder, kept under `out`."""

    def __init__(self, budget: Budget, data_folder: Path, out: Path, watch: Watch = UNWATCHED) -> None:
        self.budget, self.data_folder, self.out, self.watch = budget, data_folder, out, watch
        self.batches: EpochBatches = budget.data.load(data_folder)

    def run(
        self, name: str, network: Network[HandForecast], rate: float, epochs: int, *, search: bool = False
    ) -> HandRun:
        """Return the training of a model for a number of epochs at a learning rate."""
        epoch = self.batches.steps_an_epoch()
        slug = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
        return Run(
            name=f"hands-comparison-{'search-' if search else ''}{slug}",
            title=f"{name}, {self.budget.preset}, in the comparison of hand forecasters",
            task=self.budget.task,
            network=network,
            data=self.budget.data,
            licence="not for distribution: trained on noncommercial data",
            loss=mean_distance_mm,
            score=mean_distance_mm,
            optimisation=Optimisation(
                steps=epochs * epoch,
                learning_rate=rate,
                warmup=epoch,
                ema=0.99,
                validate_every=VALIDATE_EVERY * epoch,
                patience=10**6,  # every model gets all its epochs
                marks=() if search else tuple(epoch * mark for mark in self.budget.marks),
            ),
        )

    def rate(self, name: str, network: Network[HandForecast], *, train: bool = True) -> float | None:
        """Return the learning rate of the best validation score, after training with each of RATES; None if one is not trained.

        A rate whose training diverges is not chosen. Raises NotANumber if all do, Stopped.
        """
        scores: dict[float, float] = {}
        for rate in RATES:
            run = self.run(name, network, rate, self.budget.search_epochs, search=True)
            best = folder_of(self.out, run, 0) / BEST
            if train:
                try:
                    trained(run, 0, self.data_folder, self.out, self.watch)
                except NotANumber as error:
                    log.warning("%s", error)
                    continue
            if not best.is_file():
                return None
            scores[rate] = torch.load(best, map_location="cpu", weights_only=True)["score"]
        if not scores:
            raise NotANumber(f"{name} diverges at every learning rate of {RATES}")
        return min(scores, key=lambda rate: scores[rate])

    def figures(
        self, name: str, network: Network[HandForecast], seed: int, rate: float, *, train: bool = True
    ) -> Figures | None:
        """Return the figures of a model and seed, after training what is missing; None without `train` if they are not there.

        Raises NotANumber, Stopped.
        """
        run = self.run(name, network, rate, self.budget.epochs)
        folder = folder_of(self.out, run, seed)
        if not train and not (folder / FIGURES).is_file():
            return None

        def measure(run: Run[Any, Any], trained: nn.Module, _: Path) -> Figures:
            steps = {epoch: mark(epoch * self.batches.steps_an_epoch()) for epoch in self.budget.marks}
            marked = {epoch: load_best(run, folder / file) for epoch, file in steps.items()}
            best = torch.load(folder / BEST, map_location="cpu", weights_only=True)
            return self.measure(name, trained, marked, run, seed, best["step"])

        return measured(run, seed, self.data_folder, self.out, Figures, measure, self.watch, file=FIGURES)

    def measure(
        self,
        name: str,
        network: nn.Module,
        marked: Mapping[int, nn.Module],
        run: HandRun | None = None,
        seed: int = 0,
        best_step: int = 0,
    ) -> Figures:
        """Measure a network, and the networks of its marked epochs, on every source."""
        sources = self.budget.measured_on
        return Figures(
            model=name,
            seed=seed,
            parameters=parameters_of(network),
            learning_rate=run.optimisation.learning_rate if run else None,
            windows_an_epoch=self.batches.steps_an_epoch() * self.batches.data.batch,
            steps=run.optimisation.steps if run else 0,
            best_step=best_step,
            curve=[point(epoch, marked[epoch], self.batches, sources) for epoch in sorted(marked)],
            test=all_errors(network, self.batches, "test", sources, self.budget.test_windows),
            rotation_mm=rotation_mm(network, self.budget.task, self.batches),
        )

    def cost(
        self, name: str, network: Network[HandForecast], rate: float, *, train: bool = True, exported: bool = True
    ) -> Cost | None:
        """Return the cost of a model, measured once with seed 0; None without `train` if it is not there.

        A model that is not `exported` is timed in PyTorch, which takes longer for a forecast, but saves the export.
        """
        run = self.run(name, network, rate, self.budget.epochs)
        if not train and not (folder_of(self.out, run, 0) / COST).is_file():
            return None

        def measure(run: Run[Any, Any], trained: nn.Module, _: Path) -> Cost:
            past = self.batches.validation[0][1].past_future(np.arange(1))[0]
            in_ms = forecast_ms if exported else eager_ms
            return Cost(step_s(run, self.batches), in_ms(trained, {"past": past}))

        return measured(run, 0, self.data_folder, self.out, Cost, measure, self.watch, file=COST)

    def without_weights(self) -> dict[str, Figures]:
        """Return the figures of the forecasts without trained weights; those with a fitted number are fitted on training windows."""
        return {
            name: self.measure(name, network, {self.budget.marks[-1]: network})
            for name, network in baselines(self.budget.task, self.batches).items()
        }
