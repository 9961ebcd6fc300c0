"""EqMotion on four sources of hand motion, in our structure and the reference code's, at 10+10 and 30+30 frames of 30 fps.

    python -m training benchmark hands --tables sources        trains these with three seeds each and prints the table

A run takes about 8 minutes of one CPU core. The weights are not shipped, because manipnet and humoto are noncommercial.
"""

from models.contract.task import HandForecast
from models.forecast.eqmotion import REFERENCE, STANDARD, EqMotionConfig
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import Augmentation, HandData
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.windows import PRESETS, Window

SOURCES = ("manipnet", "humoto", "leap", "tzionas")


# The cost of a step grows with the square of the nodes, so one hand costs a quarter of two. A forecast of a whole second needs more steps.
# There, three in four batches of two hands show one hand only.
TRAINING = {
    "10+10@30": (Augmentation(), Optimisation(steps=1600, validate_every=400)),
    "30+30@30": (Augmentation(one_hand=0.75), Optimisation(steps=4000, validate_every=1000)),
}


def _run(kind: str, network: EqMotionConfig, window: Window) -> Run[HandForecast, HandData]:
    augmentation, optimisation = TRAINING[window.name]
    return Run(
        name=f"hands-{kind}-{window.past}-{window.future}",
        title=f"Hand forecasting, {kind}, {window.name}, for the record",
        task=HandForecast(past=window.past, future=window.future, fps=window.fps),
        network=network,
        data=HandData(SOURCES, window, batch=16, augmentation=augmentation),
        licence="not for distribution: trained on noncommercial data (manipnet CC BY-NC, humoto Adobe Research License)",
        loss=mean_distance_mm,
        score=mean_distance_mm,
        optimisation=optimisation,
    )


RUNS = tuple(
    _run(kind, network, PRESETS[window])
    for window in TRAINING
    for kind, network in (("eqmotion", STANDARD), ("reference", REFERENCE))
)
