"""The shipped recogniser: eighteen actions in 3D poses, captured or lifted, in Human3.6M's joint order, on sources that may ship.

    python -m training run actions-hdm05 && python -m training export actions-hdm05        about 1 minute of one CPU core

Some actions of hdm05_11 are done with one side only. No class is the mirror image of another, and a mirrored clip keeps its class.
"""

from models.contract.task import ActionRecognition
from models.pose.clip_recogniser import ClipRecogniserConfig
from models.pose.ends import pairs
from training.engine.run import Optimisation, Run
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.lifted_like import LiftedLike
from training.tasks.bodies.losses import smoothed_cross_entropy
from training.tasks.bodies.named_actions import CLASSES, NAMED
from training.tasks.bodies.runs.lift import LICENCE

NONE = (1.60, -0.93)  # the slope and offset that `python -m training benchmark bodies-none` fits
TASK = ActionRecognition(order="h36m-17", classes=CLASSES, dims=3, frames=32, turned=True, none=True)
NETWORK = ClipRecogniserConfig(pairs(256), none=NONE)
RUN = Run(
    name="actions-hdm05",
    title="Recogniser of eighteen actions in 3D poses",
    task=TASK,
    network=NETWORK,
    data=ActionData(
        NAMED,
        frames=TASK.frames,
        batch=64,
        turned=True,
        order=TASK.order,
        hold_out=False,
        augmentation=BodyAugmentation(crop=0.75, turn_deg=45, drop=0.03),
        lifted_like=LiftedLike(),
        even=True,
    ),
    licence=LICENCE,
    loss=smoothed_cross_entropy,
    score=smoothed_cross_entropy,
    optimisation=Optimisation(
        steps=600, learning_rate=2e-3, weight_decay=3e-2, ema=0.99, validate_every=200, checkpoint_every=200
    ),
)
