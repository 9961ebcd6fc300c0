"""The papers' own experiments for those who have the licences: Human3.6M, HumanEva-I and Kinetics-skeleton, as published.

    python -m training --data DATA run lift-human36m-chiral        with DATA/body/human36m/data_3d_h36m.npz and data_2d_h36m_*.npz

These runs are untrained, because the data sets were not at hand. Widths, batches and rates are the papers' where these give them (Pavllo et
al. 2019, the appendix of Yeh et al. 2019, ST-GCN); the schedule is our loop's. Human3.6M needs a GPU: it takes 120,000 steps of 1,024
windows of 243 frames.
"""

from typing import Any

from models.contract.task import ActionRecognition, PoseLift
from models.layers.chiral_spec import Spec
from models.pose.ends import pairs
from models.pose.lifter import LifterConfig
from models.pose.recogniser import RecogniserConfig
from training.engine.run import Optimisation, Run
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.losses import pose_distance_mm, smoothed_cross_entropy
from training.tasks.bodies.runs.benchmark import KINDS

LICENCE = "not for distribution: the data's licences are for research"
LIFTERS = {  # source, order of poses, order of keypoints, detector, frames, batch, steps
    "human36m": ("h36m-17", "h36m-17", "cpn_ft_h36m_dbb", 243, 1024, 120_000),
    "humaneva": ("humaneva-15", "coco-17", "detectron_pt_coco", 27, 128, 100_000),
}
CHANNELS = {
    "human36m": Spec.of_joints(pairs=6, centre=5, numbers=60, negated=20),
    "humaneva": Spec.of_joints(pairs=6, centre=3, numbers=68, negated=22),
}


def _lift(source: str, kind: str) -> Run[PoseLift, LiftData]:
    order, seen, keypoints, frames, batch, steps = LIFTERS[source]
    options = KINDS[kind]
    task = PoseLift(order=order, seen_order=seen, receptive=frames, fps=50 if source == "human36m" else 60)
    return Run(
        name=f"lift-{source}-{kind}",
        title=f"Lifting {source}, {frames} frames, {kind}",
        task=task,
        network=LifterConfig(
            CHANNELS[source], chiral=options.chiral, nonlinearity="tanh" if options.chiral else "relu"
        ),
        data=LiftData(
            (source,),
            receptive=frames,
            batch=batch,
            order=order,
            seen_order=seen,
            keypoints=keypoints,
            hold_out=False,
            augmentation=BodyAugmentation(mirror=0.5 if kind == "chiral" else options.mirror),  # dropout is not chiral
        ),
        licence=LICENCE,
        loss=pose_distance_mm,
        score=pose_distance_mm,
        optimisation=Optimisation(steps=steps, learning_rate=1e-3, ema=0.999, validate_every=2000, patience=10**6),
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
        network=RecogniserConfig(pairs(256), chiral=options.chiral, taps=9),
        data=ActionData(
            "kinetics",
            frames=150,
            test_frames=300,
            tempo="crop",
            batch=256,
            hold_out=False,
            augmentation=BodyAugmentation(mirror=options.mirror),
        ),
        licence=LICENCE,
        loss=smoothed_cross_entropy,
        score=smoothed_cross_entropy,
        optimisation=Optimisation(steps=80_000, learning_rate=1e-3, ema=0.999, validate_every=2000, patience=10**6),
    )


RUNS: tuple[Run[Any, Any], ...] = (
    *(_lift(source, kind) for source in LIFTERS for kind in KINDS),
    *(_kinetics(kind) for kind in KINDS),
)
