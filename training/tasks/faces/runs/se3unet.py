"""The shipped face landmarker: SE(3)-UNet on simulated scans of ICT-FaceKit (MIT).

    python -m training run face-se3unet-base && python -m training run face-se3unet-middle && python -m training run face-se3unet
    python -m training export face-se3unet

The first stage has a loss of mostly heatmaps, which teach where on a face a point is. A loss of mostly distance learns more slowly at
first: 27 mm against 10 on clean validation scans after 300 steps. The second stage has a loss of mostly distance. Together they take
about 100 minutes of one CPU core. The third, of 10 minutes, adds the scans that the others lack: half faces, the clouds of coarse depth
cameras, the reconstructions of telephones, and whole clean ones.
"""

from dataclasses import replace

from models.contract.task import FaceLandmarks
from models.landmarks.se3_unet import SE3UNetConfig
from training.engine.run import Optimisation, Run
from training.tasks.faces.data import KINDS, FaceData
from training.tasks.faces.losses import LandmarkLoss, mean_distance_mm
from training.tasks.faces.scanner import WIDE

TASK = FaceLandmarks()
BASE = Run(
    name="face-se3unet-base",
    title="Face landmarks: first stage of face-se3unet",
    task=TASK,
    network=SE3UNetConfig(),
    data=FaceData(TASK, batch=4),
    licence="Apache-2.0",
    loss=LandmarkLoss(TASK.sigma_m, distance=0.05, wing=0.1),
    score=mean_distance_mm,
    optimisation=Optimisation(
        steps=14_000, learning_rate=4e-3, warmup=200, ema=0.999, validate_every=500, patience=100
    ),
)
MIDDLE = replace(
    BASE,
    name="face-se3unet-middle",
    title="Face landmarks: second stage of face-se3unet",
    loss=LandmarkLoss(TASK.sigma_m, distance=0.5, entropy=0.5, wing=0.1),
    optimisation=replace(BASE.optimisation, steps=3000, learning_rate=1e-3, validate_every=250),
    start=BASE,
)
RUN = replace(
    MIDDLE,
    name="face-se3unet",
    title="Face landmarks: 68 points on a scan in any pose",
    data=replace(BASE.data, scanner=WIDE, validation=24, kinds=tuple(KINDS)),
    optimisation=replace(MIDDLE.optimisation, steps=1200, learning_rate=8e-4, warmup=50, ema=0.997, validate_every=600),
    start=MIDDLE,
)
RUNS = (BASE, MIDDLE, RUN)
