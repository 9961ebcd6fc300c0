"""EqMotion on Assembly101 as the published comparison trains it: two hands, one second of 60 fps to the next, on the official split.

    python -m training run hands-assembly101 --epochs 50
    python -m training run hands-assembly101 --epochs 50 --actions rotate

The data are Assembly101 as published, in <data>/hands/assembly101/: pose files of either layout and fine-grained-annotations/. An action is
one or several words of a segment's label. Published are 32 hidden features, 2 layers, Adam and 50 epochs. The batch of 100 and the rate of
5e-4 are those of the code that the comparison builds on, because it states neither. The loss is inferred from the published error of the
last pose; see `mean_square_dm2`. An epoch is every window of every segment. Unlike the published runs, ours choose the checkpoint on the
official validation split, and their learning rate falls to zero.

Assembly101 may not be passed on and is not here, so there is no figure of this run.
"""

from models.contract.task import HandForecast
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import Augmentation, HandData
from training.tasks.hands.losses import mean_square_dm2
from training.tasks.hands.models import PUBLISHED_EQMOTION
from training.tasks.hands.windows import PRESETS

WINDOW = PRESETS["60+60@60"]
RUN = Run(
    name="hands-assembly101",
    title="Hand forecasting, EqMotion as published, Assembly101, 60+60@60, for the record",
    task=HandForecast(past=WINDOW.past, future=WINDOW.future, fps=WINDOW.fps),
    network=PUBLISHED_EQMOTION,
    data=HandData(("assembly101",), WINDOW, batch=100, augmentation=Augmentation(one_hand=0.0)),
    licence="not for distribution: trained on noncommercial data (Assembly101 CC BY-NC 4.0)",
    loss=mean_square_dm2,
    score=mean_square_dm2,
    optimisation=Optimisation(
        steps=50_000,  # without --epochs, which counts the windows there are
        learning_rate=5e-4,
        warmup=1,
        weight_decay=0.0,
        clip=1e9,
        ema=0.0,
        validate_every=1000,
        patience=10**6,
    ),
)
