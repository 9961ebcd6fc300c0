"""The experiments of Chirality Nets (Yeh, Hu and Schwing 2019) as published, for those who have the data.

    python -m training benchmark bodies-published --tables human36m        trains a table's runs and prints it

docs/papers.md lists the data of each table and what a run takes. Of each network there is a plain one without flips in training
(`plain`), a plain one with them (`flips`), a chiral one with the paper's map (`chiral`), and one with the full map (`full`). Training
flips help the chiral ones as well, because dropout breaks their symmetry. The runs keep their last weights, as the papers do, and train
on the recordings that would validate.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from models.contract.task import ActionRecognition, PoseForecast, PoseLift
from models.layers.chiral_spec import Spec
from models.pose import forecaster, lifter, recogniser
from models.pose.ends import pairs
from models.pose.lifter import LifterConfig
from training.engine.run import Decay, Optimisation, Run
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.cells import EVA_ACTIONS
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.losses import cross_entropy, pose_distance_mm, seen_distance

LICENCE = "not for distribution: the data's terms are for research"


@dataclass(frozen=True)
class Kind:
    """One of the networks of a table: chiral or not, with the paper's map or the full one, and the share of mirrored samples."""

    chiral: bool
    exact: bool
    mirror: float

    def of(self, config: Any) -> Any:
        """Return a network's configuration of this kind."""
        return replace(config, chiral=self.chiral, paper_exact=self.exact)

    @property
    def augmentation(self) -> BodyAugmentation:
        """Return the augmentation of the training data."""
        return BodyAugmentation(mirror=self.mirror)


KINDS = {
    "plain": Kind(chiral=False, exact=False, mirror=0.0),
    "flips": Kind(chiral=False, exact=False, mirror=0.5),
    "chiral": Kind(chiral=True, exact=True, mirror=0.5),
    "full": Kind(chiral=True, exact=False, mirror=0.5),
}
PLAIN_LIFTER = LifterConfig(pairs(1024))  # Pavllo's 1024 channels
HUMANEVA = replace(
    lifter.PAPER, hidden=Spec.of_joints(pairs=6, centre=3, numbers=68, negated=22)
)  # 1020, a third negated
SUBSETS = {  # of Human3.6M's labelled data: name in runs, in the table, training subjects, share of their frames
    "s1-per-1000": ("0.1 % of S1", ("S1",), 0.001),
    "s1-per-100": ("1 % of S1", ("S1",), 0.01),
    "s1-per-20": ("5 % of S1", ("S1",), 0.05),
    "s1-per-10": ("10 % of S1", ("S1",), 0.1),
    "s1-per-2": ("50 % of S1", ("S1",), 0.5),
    "s1": ("S1", ("S1",), 1.0),
    "s1-s5": ("S1 and S5", ("S1", "S5"), 1.0),
    "s1-s5-s6": ("S1, S5 and S6", ("S1", "S5", "S6"), 1.0),
}


def adam(epochs: int, rate: float, factor: float, every: int, **others: Any) -> Optimisation:
    """Return Adam with AMSGrad for so many passes over the data, with a rate that is multiplied by `factor` after every few of them."""
    return Optimisation(
        steps=0,
        epochs=epochs,
        learning_rate=rate,
        decay=Decay(factor, every),
        algorithm="amsgrad",
        beta2=0.9999,
        weight_decay=0.0,
        ema=0.0,
        validate_every=2000,
        checkpoint_every=1000,
        keep="last",
        **others,
    )


def pavllo(epochs: int, factor: float) -> Optimisation:
    """Return the training of Pavllo et al. 2019: an epoch of theirs shows every window and its mirror image, two passes of ours."""
    return adam(2 * epochs, 1e-3, factor, 2, clip=math.inf, norm_momentum=(0.1, 0.001))


def _lift(
    name: str, title: str, kind: str, config: LifterConfig, task: PoseLift, optimisation: Optimisation, **data: Any
) -> Run[PoseLift, LiftData]:
    options = KINDS[kind]
    network = config if options.chiral else replace(PLAIN_LIFTER, single=config.single)
    return Run(
        name=f"lift-{name}-{kind}",
        title=f"Lifting {title}, {kind}",
        task=task,
        network=options.of(network),
        data=LiftData(
            receptive=task.receptive,
            order=task.order,
            seen_order=task.seen_order,
            augmentation=options.augmentation,
            **data,
        ),
        licence=LICENCE,
        loss=pose_distance_mm,
        score=pose_distance_mm,
        optimisation=optimisation,
    )


def _human36m(frames: int, kind: str) -> Run[PoseLift, LiftData]:
    """Return a run of the table of Human3.6M; its lifters of single frames have three blocks, as the paper's appendix says."""
    name, title = (
        ("human36m", "Human3.6M, 243 frames") if frames > 1 else ("human36m-single", "Human3.6M, single frames")
    )
    task, config = PoseLift(receptive=frames, fps=50), replace(lifter.PAPER, single=3)
    data = {"sources": ("human36m",), "batch": 1024, "hold_out": False}
    return _lift(name, title, kind, config, task, pavllo(80, 0.95), **data)


def _humaneva(kind: str) -> Run[PoseLift, LiftData]:
    task = PoseLift(order="humaneva-15", seen_order="coco-17", receptive=27, fps=60)
    data = {"sources": ("humaneva",), "keypoints": "detectron_pt_coco", "batch": 128, "hold_out": False}
    actions = tuple(EVA_ACTIONS)
    title = "HumanEva-I, 27 frames"
    return _lift("humaneva", title, kind, HUMANEVA, task, pavllo(1000, 0.996), actions=actions, **data)


def _limited(subset: str, kind: str) -> Run[PoseLift, LiftData]:
    title, subjects, share = SUBSETS[subset]
    task = PoseLift(receptive=27, fps=50)
    data = {"subjects": subjects, "share": share, "cut": True, "batch": 32 if share == 0.001 else 64}
    title = f"Human3.6M with {title}"
    return _lift(
        f"human36m-{subset}",
        title,
        kind,
        lifter.PAPER,
        task,
        pavllo(200, 0.98),
        sources=("human36m",),
        keypoints="gt",
        **data,
    )


def _penn(kind: str) -> Run[PoseForecast, PoseForecastData]:
    options, task = KINDS[kind], PoseForecast(order="penn-13", past=2, future=16, box="clip")
    return Run(
        name=f"forecast-penn-velocity-{kind}",
        title=f"Forecasting Penn Action from two frames, {kind}",
        task=task,
        network=options.of(forecaster.PAPER),
        data=PoseForecastData(past=2, forced=1.0, hold_out=False, augmentation=options.augmentation),
        licence=LICENCE,
        loss=seen_distance,
        score=seen_distance,
        optimisation=adam(30, 5e-3, 0.95, 2, clip=5.0),
    )


def _kinetics(kind: str) -> Run[ActionRecognition, ActionData]:
    options = KINDS[kind]
    task = ActionRecognition(
        order="openpose-18", classes=tuple(str(i) for i in range(400)), persons=2, frames=300, tempo="crop"
    )
    return Run(
        name=f"actions-kinetics-{kind}",
        title=f"Actions of Kinetics-skeleton, {kind}",
        task=task,
        network=options.of(replace(recogniser.PAPER, taps=9)),
        data=ActionData(
            "kinetics",
            frames=150,
            test_frames=300,
            tempo="crop",
            batch=256,
            hold_out=False,
            augmentation=options.augmentation,
        ),
        licence=LICENCE,
        loss=cross_entropy,
        score=cross_entropy,
        optimisation=Optimisation(
            steps=0,
            epochs=90,
            learning_rate=0.1,
            decay=Decay(0.1, at=(36, 54, 72)),  # ST-GCN's 20, 30 and 40 of 50 epochs, in proportion
            algorithm="sgd",
            weight_decay=1e-4,
            clip=math.inf,
            ema=0.0,
            validate_every=2000,
            checkpoint_every=1000,
            keep="last",
        ),
    )


RUNS: tuple[Run[Any, Any], ...] = (
    *(_human36m(243, kind) for kind in KINDS),
    *(_limited(subset, kind) for subset in SUBSETS for kind in ("flips", "chiral")),
    *(_human36m(1, kind) for kind in KINDS),
    *(_humaneva(kind) for kind in KINDS),
    *(_penn(kind) for kind in KINDS),
    *(_kinetics(kind) for kind in KINDS),
)
