"""The shipped hand forecaster: EqMotion, one second to one second, trained on the sources that may ship (leap, tzionas).

python -m training run hands-eqmotion && python -m training export hands-eqmotion
"""

from models.contract.task import HandForecast
from models.forecast.eqmotion import STANDARD
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import HandData
from training.tasks.hands.losses import mean_distance_mm
from training.tasks.hands.windows import PRESETS

WINDOW = PRESETS["30+30@30"]
RUN = Run(
    name="hands-eqmotion",
    title="Hand forecaster: one second of one or two hands to the next",
    task=HandForecast(past=WINDOW.past, future=WINDOW.future, fps=WINDOW.fps),
    network=STANDARD,
    data=HandData(("leap", "tzionas"), WINDOW, batch=16),
    licence="Apache-2.0",
    loss=mean_distance_mm,
    score=mean_distance_mm,
    optimisation=Optimisation(steps=3000, validate_every=200),
)
