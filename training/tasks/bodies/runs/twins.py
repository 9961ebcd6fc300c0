"""Forecasters of Penn Action that tell apart why a chiral one is behind its plain twin: width, steps, or the mirror.

    python -m training benchmark bodies-twins --results benchmarks/results

All have the task, data, learning rate and batches of the body benchmark's forecasters, but hold recordings out for validation. A chiral
layer of width 184 has as many weights as a plain one of width 128. `averaged` is the plain network, averaged over the flip in training too:
it is as symmetric as the chiral one and has the weights of the plain one. None of these ships.
"""

from dataclasses import dataclass, replace

from models.contract.task import PoseForecast
from models.pose.ends import AveragedOverFlip, pairs
from models.pose.forecaster import ForecasterConfig
from training.engine.run import Run
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.losses import seen_distance
from training.tasks.bodies.runs.benchmark import LICENCE, optimisation

STEPS, LONGER = 600, 1200
TASK = PoseForecast(order="penn-13", past=1, future=16, box="clip")


@dataclass(frozen=True)
class AveragedConfig:
    """A plain forecaster of a width, averaged over the flip."""

    width: int

    def build(self, task: PoseForecast) -> AveragedOverFlip:
        """Build the network for a task."""
        return AveragedOverFlip(ForecasterConfig(pairs(self.width), chiral=False).build(task))


@dataclass(frozen=True)
class Twin:
    """A forecaster of the comparison; `mirror` is the share of training samples that are mirrored."""

    kind: str
    width: int
    steps: int
    mirror: float = 0.0

    @property
    def name(self) -> str:
        """Return the name of its run."""
        return f"twins-{self.kind}-{self.width}-{self.steps}"

    @property
    def run(self) -> Run[PoseForecast, PoseForecastData]:
        """Return its run."""
        network = ForecasterConfig(pairs(self.width), chiral=self.kind == "chiral")
        return Run(
            name=self.name,
            title=f"Forecasting Penn Action, {self.kind}, width {self.width}, {self.steps} steps, for the record",
            task=TASK,
            network=AveragedConfig(self.width) if self.kind == "averaged" else network,
            data=PoseForecastData(augmentation=BodyAugmentation(mirror=self.mirror)),
            licence=LICENCE,
            loss=seen_distance,
            score=seen_distance,
            optimisation=replace(optimisation(self.steps, 2e-3), keep="last"),
        )


TWINS = (
    Twin("plain", 128, STEPS),
    Twin("chiral", 128, STEPS),
    Twin("chiral", 184, STEPS),
    Twin("averaged", 128, STEPS),
    Twin("flips", 128, STEPS, mirror=0.5),
    Twin("chiral", 184, LONGER),
    Twin("flips", 128, LONGER, mirror=0.5),
    Twin("chiral", 128, LONGER),
)
RUNS = tuple(twin.run for twin in TWINS)
