"""PointNet++ on the same scans, for comparison with a plain network: trained on upright scans, and on scans turned at random.

    python -m training benchmark faces        trains these and face-se3unet and prints the tables

The runs have 2,000 and 5,000 steps and take about 10 and 20 minutes of one CPU core; the SE(3)-UNet has 17,000 steps.
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
