"""The shipped lifter: 2D keypoints of any detector to 3D poses, windows of 27 frames at 30 fps, on sources that may ship.

    python -m training run poses-lift && python -m training export poses-lift        about 10 minutes of one CPU core

Training keypoints appear in Human3.6M, COCO and OpenPose order, with noise, and at other sizes and places in the image, because a detector
and a camera in use differ from the virtual ones of the training data.
"""

from models.contract.task import PoseLift
from models.pose.ends import pairs
from models.pose.lifter import LifterConfig
from training.engine.run import Optimisation, Run
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.losses import pose_distance_mm

SOURCES = ("hdm05_11", "cmu_9act", "reactidle")  # these may ship; hdm05_11 is share-alike
LICENCE = "CC-BY-SA-3.0"
SEEN_AS = ("coco-17", "openpose-18")

TASK = PoseLift(receptive=27, fps=30, confidence=True)
RUN = Run(
    name="poses-lift",
    title="Lifter: 2D keypoints of a person to 3D poses",
    task=TASK,
    network=LifterConfig(pairs(512), dropout=0.1),
    data=LiftData(
        SOURCES,
        receptive=TASK.receptive,
        fps=TASK.fps,
        with_confidence=True,
        hold_out=False,
        augmentation=BodyAugmentation(seen_as=SEEN_AS, noise=0.004, zoom=1.5, shift=0.3, drop=0.03),
    ),
    licence=LICENCE,
    loss=pose_distance_mm,
    score=pose_distance_mm,
    optimisation=Optimisation(steps=4000, learning_rate=2e-3, ema=0.995, validate_every=1000, checkpoint_every=500),
)
