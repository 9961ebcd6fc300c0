"""Landmarks on depth maps: a plain U-Net, and U-Nets that commute with the mirror, with turns or with scales of the plane.

    python -m training benchmark faces-depth        trains these and prints the table

Every run of the comparison has 300 steps of 8 maps and takes about a minute of one CPU core, C_8 and scale two or three. `face-depth`,
which ships, is D_4 with 1,200 steps: two minutes.
"""

from dataclasses import replace

from models.contract.face_map import FaceMap
from models.landmarks.depth_unet import DepthUNetConfig
from models.layers.group import C, D, Group, Scale
from training.engine.run import Optimisation, Run
from training.tasks.faces.losses import MapLoss, mean_distance_mm
from training.tasks.faces.maps import ANY, UPRIGHT, FaceMapData, Poses

TASK, PLAIN = FaceMap(), C(1)


def _run(
    name: str, what: str, group: Group = PLAIN, *, kernel: int = 3, poses: Poses = ANY
) -> Run[FaceMap, FaceMapData]:
    return Run(
        name=f"face-depth-{name}",
        title=f"Face landmarks on depth maps, {what}",
        task=TASK,
        network=DepthUNetConfig(group, kernel=kernel),
        data=FaceMapData(TASK, poses=poses),
        licence="Apache-2.0",
        loss=MapLoss(TASK),
        score=mean_distance_mm,
        optimisation=Optimisation(steps=300, learning_rate=2e-2, warmup=20, ema=0.98, validate_every=100, patience=100),
    )


COMPARED = (
    _run("upright", "plain, shown upright faces", poses=UPRIGHT),
    _run("plain", "plain, shown rolled, resized and mirrored faces"),
    _run("d1", "equivariant to the mirror", D(1)),
    _run("c4", "equivariant to quarter turns", C(4)),
    _run("d4", "equivariant to quarter turns and the mirror", D(4)),
    _run("c8", "equivariant to eighths of a turn", C(8), kernel=5),
    _run("scale", "equivariant to scale", Scale(3, 1.15), kernel=5),
)
BEST = next(run for run in COMPARED if run.name == "face-depth-d4")
RUN = replace(
    BEST,
    name="face-depth",
    title="Face landmarks: 68 points on the depth map of a face in front of a camera",
    data=replace(BEST.data, pool=600),
    optimisation=replace(BEST.optimisation, steps=1200, warmup=50, ema=0.99, validate_every=200),
)
RUNS = (*COMPARED, RUN)
