"""SE(3)-UNet on FaceScape, for people who have the data; not shipped, because the licence is non-commercial.

python -m training --data DATA run face-se3unet-facescape        meshes in DATA/facescape, as published
"""

from training.engine.run import Run
from training.tasks.faces.facescape_data import FaceScapeData
from training.tasks.faces.runs import se3unet as faces_se3unet

SHIPPED = faces_se3unet.BASE
RUN = Run(
    name="face-se3unet-facescape",
    title="Face landmarks, trained on FaceScape",
    task=SHIPPED.task,
    network=SHIPPED.network,
    data=FaceScapeData(SHIPPED.task),
    licence="not for distribution: trained on FaceScape (non-commercial research)",
    loss=SHIPPED.loss,
    score=SHIPPED.score,
    optimisation=SHIPPED.optimisation,
)
