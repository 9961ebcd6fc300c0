"""SE(3)-UNet by the recipe of the reference's report, on its own files or on FaceScape's meshes; not shipped: the data are non-commercial.

    python -m training --data DATA run face-report               DATA/facescape/{Train/train,Test/test}_neutral.npy
    python -m training --data DATA run face-report-facescape     the neutral meshes in DATA/facescape
    python -m training --data DATA run face-report --set skip=concatenation --set distance_power=1

The recipe: 35 epochs in batches of 3 at 8.5e-5 with a cosine of one period, the Adaptive Wing loss alone, 1024 points, of which pooling by
sums keeps 65 %, 40 neighbours, blocks of three layers, 5 channels of degrees 0 to 2, attentive self-interaction in the last layer, and
heatmaps of 0.095 of the face's largest coordinate. `restarts` of the optimisation restarts the cosine. What differs keeps the symmetry (see
`models/landmarks/se3_unet.py`), and epochs are shuffled.
"""

from dataclasses import replace

from models.contract.task import FaceLandmarks
from models.landmarks.se3_unet import SE3UNetConfig
from training.engine.run import Optimisation, Run
from training.tasks.faces.facescape_data import FaceScapeData
from training.tasks.faces.losses import LandmarkLoss
from training.tasks.faces.reference_data import ReferenceData

EPOCHS, BATCH, FACES = 35, 3, 602  # of 669 faces to train on, one in ten validates
TASK = FaceLandmarks(levels=(1024, 666), neighbours=40, sigma_m=0.0145)  # 0.095 of 153 mm
LOSS = LandmarkLoss(TASK.sigma_m, distance=0.0, entropy=0.0, wing=1.0)
RUN = Run(
    name="face-report",
    title="Face landmarks, trained by the reference's recipe on its files",
    task=TASK,
    network=SE3UNetConfig(
        channels=((5, 5, 5), (5, 5, 5)),
        layers=3,
        functions=8,
        key_functions=4,
        harmonics=4,
        hidden=128,
        votes=0,
        attentive="last",
        nonlinearity="norm",
        pooling="sum",
        sharpness=3.0,
    ),
    data=ReferenceData(TASK, batch=BATCH),
    licence="not for distribution: trained on FaceScape (non-commercial research)",
    loss=LOSS,
    score=LOSS,
    optimisation=Optimisation(
        steps=EPOCHS * -(-FACES // BATCH),
        learning_rate=8.5e-5,
        warmup=0,
        weight_decay=0.0,
        clip=float("inf"),
        ema=0.0,
        validate_every=-(-FACES // BATCH),
        patience=EPOCHS,
    ),
)
RUNS = (
    RUN,
    replace(
        RUN,
        name="face-report-facescape",
        title="Face landmarks, trained by the reference's recipe on FaceScape's neutral meshes",
        data=FaceScapeData(TASK, batch=BATCH, expressions=("neutral",)),
    ),
)
