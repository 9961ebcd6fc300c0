"""What a plain network makes of the same scans: PointNet++, shown faces upright as they are, and turned at random.

python -m training benchmark faces        trains these and face-se3unet and prints the tables

Shown upright scans it takes 2000 steps, turned ones 5000, and the SE(3)-UNet takes 17,000: some 10 and 20 minutes of a core.
"""

from dataclasses import replace

from models.contract.task import FaceLandmarks
from models.landmarks.pointnet2 import PointNet2Config
from training.engine.run import Run
from training.tasks.faces.data import FaceData
from training.tasks.faces.runs import se3unet as faces_se3unet


def _run(name: str, title: str, steps: int, *, rotate: bool) -> Run[FaceLandmarks, FaceData]:
    base = faces_se3unet.BASE
    return replace(
        base,
        name=name,
        title=title,
        network=PointNet2Config(),
        data=replace(base.data, rotate=rotate),
        optimisation=replace(base.optimisation, steps=steps, learning_rate=2e-3),
    )


RUNS = (
    _run("face-pointnet2", "Face landmarks, PointNet++ shown upright scans, for the record", 2000, rotate=False),
    _run(
        "face-pointnet2-rotated",
        "Face landmarks, PointNet++ shown scans turned at random, for the record",
        5000,
        rotate=True,
    ),
)
