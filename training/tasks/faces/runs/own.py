"""A face landmarker on scans of one's own: SE(3)-UNet, on a folder of scans with their landmarks beside them.

    python -m training run faces-own --data FOLDER                                  FOLDER has scans and a dataset.json
    python -m training run faces-own --data FOLDER --from bundles/face-se3unet      begins with the weights of a bundle

`--set` chooses the network's sizes, and `--name` the model's name. From fresh weights the loss is that of the first stage of face-se3unet,
from a bundle that of the run that trained it. A step takes as long as one of face-se3unet.
"""

from dataclasses import replace

from training.tasks.faces.own.data import OwnFaceData
from training.tasks.faces.runs.se3unet import BASE, TASK

RUN = replace(
    BASE,
    name="faces-own",
    title="Face landmarks of scans of one's own",
    data=OwnFaceData(TASK),
    licence="that of its scans",
    optimisation=replace(BASE.optimisation, steps=3000, validate_every=250),
)
