"""Hand forecasters without weights as bundles: the last pose held, a damped velocity, and a Kalman filter of constant velocity.

python -m training.tasks.hands.without_weights

They are what a network must beat, and are served under their names beside it. Each has one setting for all sources, the best one on the
training windows of the sources that may ship. The test windows are measured for the card. It takes a minute of one CPU core.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from models.contract.bundle import Bundle
from models.contract.task import HandForecast
from training.engine.export import Facts, export
from training.tasks.hands.data import HandData
from training.tasks.hands.report import BASELINES, baselines, evaluate, table
from training.tasks.hands.sources import hand_source
from training.tasks.hands.windows import PRESETS

WINDOW = PRESETS["30+30@30"]
SOURCES = ("leap", "tzionas", "thai_sign_leap", "ultraleap_tracking", "leap_playground", "leap_vrcollage")
HELD = "hold"
TITLES = {  # by bundle: the baseline that it is, and its title
    "hands-hold": (HELD, "Hands at rest: the last pose of one or two hands, held for one second"),
    "hands-damped": (
        "damped velocity",
        "Damped velocity: the last step of one or two hands, slowing down for one second",
    ),
    "hands-kalman": ("kalman", "Kalman filter: the smoothed velocity of one or two hands, kept for one second"),
}


def write(data: HandData, data_folder: Path, folder: Path, *, replace: bool = False) -> tuple[list[Bundle], str]:
    """Fit and measure the three forecasters and write their bundles into `folder`; return these and a table of all baselines.

    Raises FileExistsError for a bundle that is there, without `replace`.
    """
    taken = [str(folder / name) for name in TITLES if (folder / name).exists()]
    if taken and not replace:
        raise FileExistsError(
            f"{taken[0]} exists; --replace replaces the bundles there, --bundles FOLDER writes others"
        )
    task = HandForecast(past=data.window.past, future=data.window.future, fps=data.window.fps)
    batches = data.load(data_folder)
    models = baselines(task, batches)
    report = evaluate(models, batches, data.sources, "test")
    windows = batches.windows("test", max(hands for _, hands in report.groups()), phases="first")
    example = {"past": windows.past_future(np.array([len(windows) // 2]))[0]}
    fitted = tuple(hand_source(name).trained_on(batches.recordings("train", name)) for name in data.sources)
    bundles = [
        export(
            models[baseline],
            folder / name,
            Facts(example, () if baseline == HELD else fitted, report.measurements(baseline)),
            name=name,
            title=title,
            licence="Apache-2.0",
            command="python -m training.tasks.hands.without_weights",
            replace=replace,
        )
        for name, (baseline, title) in TITLES.items()
    ]
    return bundles, table(report, BASELINES)


def main(argv: list[str] | None = None) -> None:
    """Write the bundles and print the errors of all baselines."""
    parser = argparse.ArgumentParser(prog="python -m training.tasks.hands.without_weights", description=__doc__)
    data_folder = Path(os.environ.get("CHIRON_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data_folder, help="the data folder")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"), help="the folder of bundles")
    parser.add_argument("--replace", action="store_true", help="replace the bundles that are there")
    arguments = parser.parse_args(argv)
    bundles, measured = write(HandData(SOURCES, WINDOW), arguments.data, arguments.bundles, replace=arguments.replace)
    print(measured)
    for bundle in bundles:
        print(f"{bundle.meta.name} {bundle.meta.version} in {bundle.folder}")


if __name__ == "__main__":
    main()
