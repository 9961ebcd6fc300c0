"""A lifter and a forecaster of 2D poses on body recordings of one's own: the shipped runs, with the recordings of a data set.

    python -m training run lift-own --data FOLDER           FOLDER has recordings and a dataset.json
    python -m training run poses-own --data FOLDER
    python -m training run lift-own --data FOLDER --from bundles/poses-lift        begins with the weights of a bundle

`--sources` chooses the sets, and `--name` is the model's name. Recordings of the split validation choose the checkpoint. A step takes as
long as one of poses-lift and of poses-forecast.
"""

from dataclasses import replace

from training.tasks.bodies.runs.forecast import RUN as FORECAST
from training.tasks.bodies.runs.lift import RUN as LIFT

LICENCE = "that of its recordings"
RUNS = (
    replace(
        LIFT,
        name="lift-own",
        title="Lifter of recordings of one's own",
        data=replace(LIFT.data, sources=(), hold_out=True),
        licence=LICENCE,
        optimisation=replace(LIFT.optimisation, steps=3000, validate_every=500),
    ),
    replace(
        FORECAST,
        name="poses-own",
        title="Forecaster of 2D poses of recordings of one's own",
        data=replace(FORECAST.data, sources=(), hold_out=True),
        licence=LICENCE,
    ),
)
