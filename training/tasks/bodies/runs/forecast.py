"""The shipped forecaster of 2D poses: from one second to the next at 15 fps, on sources that may ship, as virtual cameras see them.

python -m training run poses-forecast && python -m training export poses-forecast        about a minute of one CPU core
"""

from models.contract.task import PoseForecast
from models.pose.ends import pairs
from models.pose.velocity_forecaster import VelocityForecasterConfig
from training.engine.run import Optimisation, Run
from training.tasks.bodies.batches import BodyAugmentation
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.losses import relative_distance, seen_distance
from training.tasks.bodies.runs.lift import LICENCE, SEEN_AS, SOURCES

TASK = PoseForecast(order="h36m-17", past=15, future=15, fps=15, box="past", confidence=True)
RUN = Run(
    name="poses-forecast",
    title="Forecaster of 2D poses: a second of a person to the next",
    task=TASK,
    network=VelocityForecasterConfig(pairs(256)),
    data=PoseForecastData(
        SOURCES,
        past=TASK.past,
        future=TASK.future,
        fps=TASK.fps,
        box=TASK.box,
        order=TASK.order,
        batch=129,
        balanced=True,
        with_confidence=True,
        hold_out=False,
        augmentation=BodyAugmentation(seen_as=SEEN_AS, noise=0.005, drop=0.03),
    ),
    licence=LICENCE,
    loss=relative_distance,
    score=seen_distance,
    optimisation=Optimisation(
        steps=1500, learning_rate=3e-3, weight_decay=1e-2, ema=0.998, validate_every=250, checkpoint_every=250
    ),
)
