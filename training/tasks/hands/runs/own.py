"""A hand forecaster on recordings of one's own: hands-forecast, a second to the next, with the recordings of a data set.

    python -m training run hands-own --data FOLDER                                  FOLDER has recordings and a dataset.json
    python -m training run hands-own --data FOLDER --from own/hands-mine            begins with the weights of a bundle

`--preset`, `--set`, `--architecture` and `--sources` choose the window, the network and the sets; `--name` is the model's name. A step
takes as long as one of hands-forecast.
"""

from dataclasses import replace

from training.tasks.hands.runs.forecast import RUN as FORECAST

RUN = replace(
    FORECAST,
    name="hands-own",
    title="Hand forecaster of recordings of one's own",
    data=replace(FORECAST.data, sources=()),
    licence="that of its recordings",
    optimisation=replace(FORECAST.optimisation, steps=3000, validate_every=250),
)
