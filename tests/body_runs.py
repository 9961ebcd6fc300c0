"""Short runs on real body data for tests: a lifter, a forecaster and a recogniser of four steps each."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from models.contract.task import ActionRecognition, PoseForecast, PoseLift
from models.pose.ends import pairs
from models.pose.forecaster import ForecasterConfig
from models.pose.lifter import LifterConfig
from models.pose.recogniser import RecogniserConfig
from training.engine.run import Optimisation, Run
from training.tasks.bodies.action_clips import ActionSet
from training.tasks.bodies.action_data import ActionBatches, ActionData
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.clips import BodyClip
from training.tasks.bodies.forecast_data import PoseForecastBatches, PoseForecastData
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches, LiftData
from training.tasks.bodies.losses import pose_distance_mm, seen_distance, smoothed_cross_entropy

CLIPS = 8  # per split and source: two recordings by four cameras
HDM05 = (
    "depositFloorR", "elbowToKnee1RepsLelbowStart", "grabHighR", "hopBothLegs1hops", "jogLeftCircle4StepsRstart", "kickLFront1Reps",
    "lieDownFloor", "rotateArmsBothBackward1Reps", "sneak2StepsLStart", "squat1Reps", "throwBasketball",
)  # fmt: skip

C = TypeVar("C", LiftClip, BodyClip)


def first_of_each(clips: list[C]) -> list[C]:
    """Return the first CLIPS clips of each source and split."""
    by_source: dict[tuple[str, str], list[C]] = {}
    for clip in clips:
        by_source.setdefault((clip.source, clip.split), []).append(clip)
    return [clip for group in by_source.values() for clip in group[:CLIPS]]


@dataclass(frozen=True)
class FewLifted(LiftData):
    """Data of a few clips, read once per test session."""

    def load(self, folder: Path) -> LiftBatches:
        batches = super().load(folder)
        batches.recordings = _few_lifted(self, folder)
        return batches


@dataclass(frozen=True)
class FewForecast(PoseForecastData):
    """Data of a few clips, read once per test session."""

    def load(self, folder: Path) -> PoseForecastBatches:
        batches = super().load(folder)
        batches.recordings = _few_forecast(self, folder)
        return batches


@dataclass(frozen=True)
class OnceRead(ActionData):
    """Data of all clips, read once per test session."""

    def load(self, folder: Path) -> ActionBatches:
        batches = super().load(folder)
        batches.clips = _clips(self, folder)
        return batches


@cache
def _few_lifted(data: LiftData, folder: Path) -> list[LiftClip]:
    return first_of_each(LiftData.load(data, folder).recordings)


@cache
def _few_forecast(data: PoseForecastData, folder: Path) -> list[BodyClip]:
    return first_of_each(PoseForecastData.load(data, folder).recordings)


@cache
def _clips(data: ActionData, folder: Path) -> ActionSet:
    return ActionData.load(data, folder).clips


FEW_STEPS = Optimisation(steps=4, warmup=1, validate_every=4, checkpoint_every=4, ema=0.5)
LIFT = Run(
    name="few-lifted",
    title="A lifter of a test",
    task=PoseLift(receptive=9, fps=6),
    network=LifterConfig(pairs(8), dropout=0.1),
    data=FewLifted(("hdm05_11",), receptive=9, fps=6, batch=16, turns=(30.0,)),
    licence="CC-BY-SA-3.0",
    loss=pose_distance_mm,
    score=pose_distance_mm,
    optimisation=FEW_STEPS,
)
FORECAST = Run(
    name="few-forecast",
    title="A forecaster of a test",
    task=PoseForecast(order="penn-13", past=3, future=4, fps=2),
    network=ForecasterConfig(pairs(8), layers=1),
    data=FewForecast(("reactidle", "cmu_9act"), past=3, future=4, fps=2, box="past", batch=16, forced=0.5, hold_out=False),
    licence="CC-BY-SA-3.0",
    loss=seen_distance,
    score=seen_distance,
    optimisation=FEW_STEPS,
)  # fmt: skip
ACTIONS = Run(
    name="few-actions",
    title="A recogniser of a test",
    task=ActionRecognition(order="hdm05-25", classes=HDM05, dims=3, frames=12),
    network=RecogniserConfig(pairs(8), dropout=0.1, blocks=5),
    data=OnceRead("hdm05_11", frames=12, batch=16),
    licence="CC-BY-SA-3.0",
    loss=smoothed_cross_entropy,
    score=smoothed_cross_entropy,
    optimisation=FEW_STEPS,
)
RUNS: dict[str, Run[Any, Any]] = {"lift": LIFT, "forecast": FORECAST, "actions": ACTIONS}


def variant_of(run: Run[Any, Any], name: str, *, chiral: bool = True, mirror: float = 0.0) -> Run[Any, Any]:
    """Return the run with another name, network kind and share of mirrored samples, for a comparison."""
    config: Any = run.network
    data = replace(run.data, augmentation=BodyAugmentation(mirror=mirror))
    return replace(run, name=name, network=replace(config, chiral=chiral), data=data)
