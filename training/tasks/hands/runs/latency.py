"""The hand forecaster for the latency of trackers: the last 0.4 s to the next 0.2 s at 60 frames a second, on what may ship.

    python -m training run hands-latency && python -m training export hands-latency
    python -m training benchmark hands-latency        three seeds at 60 Hz and faster, beside every baseline and hands-forecast

Two minutes of one CPU core a seed. Windows end their past at a frame of the recording, as a tracker's client asks. Recordings, played at
one of the tempi, have 48 to 132 frames a second. Faults are weaker than those of hands-forecast: they hide what the first frames depend on.
"""

from models.contract.task import HandForecast
from models.forecast.hand_means import HandMeansConfig
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import Augmentation, HandData
from training.tasks.hands.draws import Draw
from training.tasks.hands.faults import Faults
from training.tasks.hands.likelihood import ForecastLoss, travelled_share
from training.tasks.hands.windows import Window

WINDOW = Window(24, 12, 60)
SOURCES = ("leap", "tzionas", "ultraleap_tracking", "thai_sign_leap", "leap_vrcollage", "leap_playground")
FAULTS = Faults(jitter_mm=(0.0, 0.1), joints=(0.0, 0.05), burst=0.05, lost=0.05, short=0.15)
RUN = Run(
    name="hands-latency",
    title="Hand forecaster for the latency of trackers: the next 0.2 s of one or two hands at 60 frames a second",
    task=HandForecast(past=WINDOW.past, future=WINDOW.future, fps=WINDOW.fps, modes=3, masked=True, spread=True),
    network=HandMeansConfig(channels=24, hidden=40, products=12, layers=2, velocities=6, curves=2),
    data=HandData(
        SOURCES,
        WINDOW,
        batch=64,
        augmentation=Augmentation(one_hand=0.5, reverse=0.5, faults=FAULTS),
        tempi=(0.85, 1.0, 1.3, 1.7),
        draw=Draw(sources="sqrt", still=0.3),
        masked=True,
        least=(8, 6),
        rates=(0.8, 2.2),
    ),
    licence="Apache-2.0",
    loss=ForecastLoss(alternatives=0.2),
    score=travelled_share,
    optimisation=Optimisation(
        steps=1500, learning_rate=4e-3, weight_decay=0.1, warmup=50, ema=0.995, validate_every=1500
    ),
)
