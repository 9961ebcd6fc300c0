"""The shipped recogniser: eleven actions in 3D poses, in Human3.6M's joint order, on hdm05_11.

    python -m training run actions-hdm05 && python -m training export actions-hdm05        about 3 minutes of one CPU core

Some classes name a side, but none has its opposite: the subset has no mirror pairs, and a mirrored clip keeps its class.
"""

from models.contract.task import ActionRecognition
from models.pose.ends import pairs
from models.pose.recogniser import RecogniserConfig
from training.engine.run import Optimisation, Run
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.losses import smoothed_cross_entropy
from training.tasks.bodies.runs.lift import LICENCE

CLASSES = (
    "depositFloorR", "elbowToKnee1RepsLelbowStart", "grabHighR", "hopBothLegs1hops", "jogLeftCircle4StepsRstart", "kickLFront1Reps",
    "lieDownFloor", "rotateArmsBothBackward1Reps", "sneak2StepsLStart", "squat1Reps", "throwBasketball",
)  # fmt: skip
TASK = ActionRecognition(order="h36m-17", classes=CLASSES, dims=3, frames=32, turned=True)
RUN = Run(
    name="actions-hdm05",
    title="Recogniser of eleven actions in 3D poses",
    task=TASK,
    network=RecogniserConfig(pairs(96), dropout=0.1),
    data=ActionData(
        "hdm05_11",
        frames=TASK.frames,
        batch=32,
        turned=True,
        order=TASK.order,
        hold_out=False,
        augmentation=BodyAugmentation(crop=0.8, turn_deg=30, drop=0.03),
    ),
    licence=LICENCE,
    loss=smoothed_cross_entropy,
    score=smoothed_cross_entropy,
    optimisation=Optimisation(
        steps=400, learning_rate=2e-3, weight_decay=1e-2, ema=0.99, validate_every=100, checkpoint_every=200
    ),
)
