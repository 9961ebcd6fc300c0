"""The shipped lifter: 2D keypoints of any detector to 3D poses, windows of 27 frames at 30 fps, on sources that may ship.

    python -m training run poses-lift && python -m training export poses-lift        about 50 minutes of one CPU core

A camera of its own sees every training sample: from all around, from below and above, near and far. Keypoints appear in Human3.6M, COCO and
OpenPose order, and with the errors of a detector.
"""

from models.contract.task import PoseLift
from models.pose.window_lifter import WindowLifterConfig
from training.engine.run import Optimisation, Run
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.lift_data import LiftData
from training.tasks.bodies.losses import pose_distance_mm
from training.tasks.bodies.virtual_cameras import DetectorNoise, VirtualCameras

SOURCES = ("hdm05_11", "cmu_9act", "reactidle")  # these may ship; hdm05_11 is share-alike
LICENCE = "CC-BY-SA-3.0"
SEEN_AS = ("coco-17", "openpose-18")

TASK = PoseLift(receptive=27, fps=30, confidence=True)
RUN = Run(
    name="poses-lift",
    title="Lifter: 2D keypoints of a person to 3D poses",
    task=TASK,
    network=WindowLifterConfig(),
    data=LiftData(
        SOURCES,
        receptive=TASK.receptive,
        fps=TASK.fps,
        batch=128,
        with_confidence=True,
        hold_out=False,
        augmentation=BodyAugmentation(seen_as=SEEN_AS),
        cameras=VirtualCameras(bones=0.05),
        noise=DetectorNoise(),
    ),
    licence=LICENCE,
    loss=pose_distance_mm,
    score=pose_distance_mm,
    optimisation=Optimisation(steps=10000, learning_rate=1.5e-3, ema=0.998, validate_every=5000, checkpoint_every=500),
)
