"""EqMotion as a shipped hand forecaster: one second to the next, trained on the sources that may ship.

python -m training run hands-eqmotion && python -m training export hands-eqmotion
"""

from dataclasses import replace

from models.contract.task import HandForecast
from models.forecast.eqmotion import STANDARD
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import Augmentation, HandData
from training.tasks.hands.draws import Draw
from training.tasks.hands.likelihood import travelled_share
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.runs.forecast import SOURCES
from training.tasks.hands.windows import PRESETS

WINDOW = PRESETS["30+30@30"]
RUN = Run(
    name="hands-eqmotion",
    title="Hand forecaster with pairs of joints: one second of one or two hands to the next",
    task=HandForecast(past=WINDOW.past, future=WINDOW.future, fps=WINDOW.fps),
    network=replace(STANDARD, centred_nonlinearity=True, activated_features=False),
    data=HandData(
        SOURCES,
        WINDOW,
        batch=16,
        augmentation=Augmentation(one_hand=0.5, reverse=0.5),
        tempi=(0.7, 1.0, 1.4, 2.0),
        draw=Draw(sources="sqrt", still=0.3),
    ),
    licence="Apache-2.0",
    loss=mean_distance_mm,
    score=travelled_share,
    optimisation=Optimisation(steps=4000, validate_every=500),
)
