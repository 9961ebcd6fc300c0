"""The body benchmark's runs: lifting at four shares of the data, forecasting and recognition, each chiral and with plain twins.

    python -m training benchmark bodies        trains these with three seeds each and prints the tables

A run takes one to three minutes of one CPU core. A network and its twins have the same width, steps, learning rate and dropout. These were
chosen with recordings held out of training; the runs here train on those recordings as well, as the papers do. The licences of Penn Action
and NW-UCLA do not allow weights to ship, so none of these ships.
"""

from dataclasses import dataclass
from typing import Any

from models.contract.task import ActionRecognition, PoseForecast, PoseLift
from models.pose.ends import pairs
from models.pose.forecaster import ForecasterConfig
from models.pose.lifter import LifterConfig
from models.pose.recogniser import RecogniserConfig
from training.engine.run import Optimisation, Run
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.losses import pose_distance_mm, seen_distance, smoothed_cross_entropy

LICENCE = "not for distribution: for the record, trained partly on data without a licence"
MOTION = ("hdm05_11", "cmu_9act", "reactidle")
SHARES = {"half": (0.005, 300), "two": (0.02, 500), "ten": (0.1, 1000), "all": (1.0, 2000)}  # of the frames, and steps
PENN = (
    "baseball_pitch", "baseball_swing", "bench_press", "bowl", "clean_and_jerk", "golf_swing", "jump_rope", "jumping_jacks", "pullup",
    "pushup", "situp", "squat", "strum_guitar", "tennis_forehand", "tennis_serve",
)  # fmt: skip
UCLA = (
    "carry", "doffing", "donning", "drop trash", "pick up with one hand", "pick up with two hands", "sit down", "stand up", "throw",
    "walk around",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One of the three kinds of network that are compared."""

    chiral: bool
    mirror: float  # share of training samples that are mirrored


KINDS = {"plain": Kind(False, 0.0), "flips": Kind(False, 0.5), "chiral": Kind(True, 0.0)}


def optimisation(steps: int, rate: float, decay: float = 1e-4) -> Optimisation:
    """Return the settings of a run with a fixed number of steps, which never stops early."""
    return Optimisation(
        steps=steps,
        learning_rate=rate,
        weight_decay=decay,
        ema=0.99,
        validate_every=max(1, steps // 4),
        checkpoint_every=500,
    )


def _lift(name: str, kind: str) -> Run[PoseLift, LiftData]:
    (share, steps), options = SHARES[name], KINDS[kind]
    task = PoseLift(receptive=27, fps=30)
    return Run(
        name=f"lift-{name}-{kind}",
        title=f"Lifting, {100 * share:g} % of the data, {kind}, for the record",
        task=task,
        network=LifterConfig(pairs(512), chiral=options.chiral, dropout=0.1),
        data=LiftData(
            MOTION,
            receptive=task.receptive,
            fps=task.fps,
            share=share,
            hold_out=False,
            augmentation=BodyAugmentation(mirror=options.mirror),
        ),
        licence=LICENCE,
        loss=pose_distance_mm,
        score=pose_distance_mm,
        optimisation=optimisation(steps, 2e-3),
    )


def _forecast(kind: str) -> Run[PoseForecast, PoseForecastData]:
    options, task = KINDS[kind], PoseForecast(order="penn-13", past=1, future=16, box="clip")
    return Run(
        name=f"forecast-penn-{kind}",
        title=f"Forecasting Penn Action, {kind}, for the record",
        task=task,
        network=ForecasterConfig(pairs(128), chiral=options.chiral),
        data=PoseForecastData(hold_out=False, augmentation=BodyAugmentation(mirror=options.mirror)),
        licence=LICENCE,
        loss=seen_distance,
        score=seen_distance,
        optimisation=optimisation(600, 2e-3),
    )


def _actions(name: str, kind: str) -> Run[ActionRecognition, ActionData]:
    options = KINDS[kind]
    penn = name == "penn"
    task = ActionRecognition(
        order="penn-13" if penn else "nw-ucla-20",
        classes=PENN if penn else UCLA,
        dims=2 if penn else 3,
        frames=32,
        turned=not penn,
    )
    return Run(
        name=f"actions-{name}-{kind}",
        title=f"Actions of {'Penn Action' if penn else 'NW-UCLA'}, {kind}, for the record",
        task=task,
        network=RecogniserConfig(pairs(128), chiral=options.chiral, dropout=0.1),
        data=ActionData(
            "penn_action" if penn else "nw_ucla",
            frames=task.frames,
            turned=task.turned,
            hold_out=False,
            augmentation=BodyAugmentation(mirror=options.mirror, crop=0.8, turn_deg=0 if penn else 30),
        ),
        licence=LICENCE,
        loss=smoothed_cross_entropy,
        score=smoothed_cross_entropy,
        optimisation=optimisation(400, 2e-3, decay=1e-2),
    )


RUNS: tuple[Run[Any, Any], ...] = (
    *(_lift(share, kind) for share in SHARES for kind in KINDS),
    *(_forecast(kind) for kind in KINDS),
    *(_actions(name, kind) for name in ("penn", "ucla") for kind in KINDS),
)
