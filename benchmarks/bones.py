"""Change of bone lengths in the forecasts of the hand models, and the error of the same forecasts with the lengths of the last pose.

python -m benchmarks.bones --data ../shared/data

Test windows of the sources on each model's card with at least 30 of them, at most 150 a row. The change is the mean over bones, in per cent
of the length in the last pose. It takes a minute of one CPU core.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.contract.bundle import Bundle, read_bundle
from models.contract.task import HandForecast
from models.motion.bones import bone_lengths, keep_bones, last_lengths
from models.skeletons.hand import ASSEMBLY101
from training.engine.benchmark import markdown
from training.engine.export import Run, onnx_runner
from training.tasks.hands.data import HandData
from training.tasks.hands.windows import Window

LEAST, MOST = 30, 150
HEAD = ("model", "source", "hands", "100 ms", "end", "over 2 %", "truth at the end", "error, mm", "with kept bones, mm")

Poses = Float[np.ndarray, "windows frames nodes 3"]
Hands = Float[np.ndarray, "windows frames hands joints 3"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    arguments = parser.parse_args()
    bundles = [read_bundle(path) for path in sorted(arguments.bundles.iterdir()) if path.is_dir()]
    rows = [row for one in bundles if isinstance(one.meta.task, HandForecast) for row in _rows(one, arguments.data)]
    print(markdown(HEAD, rows))


def _rows(bundle: Bundle, data_folder: Path) -> list[tuple[str, ...]]:
    task = bundle.meta.task
    assert isinstance(task, HandForecast), "expected a model of hands"
    run = onnx_runner(bundle.model.read_bytes())
    rows: list[tuple[str, ...]] = []
    for source in dict.fromkeys(one.source for one in bundle.meta.measurements):
        batches = HandData((source,), Window(task.past, task.future, task.fps)).load(data_folder)
        for hands in (2, 1):
            windows = batches.windows("test", hands, phases="first")
            if len(windows) < LEAST:
                continue
            past, true = windows.past_future(np.arange(0, len(windows), -(-len(windows) // MOST)))
            forecast = np.concatenate(
                [_forecast(run, part, task) for part in np.array_split(past, -(-len(past) // 32))]
            )
            past, true, forecast = (_as_hands(poses) for poses in (past, true, forecast))
            last = np.stack([last_lengths(one, None) for one in past])[:, None]
            change, truth = (100 * np.abs(bone_lengths(poses) / last - 1) for poses in (forecast, true))
            frame = max(0, round(0.1 * task.fps) - 1)
            lengths = (change[:, frame].mean(), change[:, -1].mean(), 100 * (change > 2).mean(), truth[:, -1].mean())
            errors = (_error_mm(forecast, true), _error_mm(keep_bones(forecast, last), true))
            figures = (*(f"{figure:.1f} %" for figure in lengths), *(f"{error:.2f}" for error in errors))
            rows.append((bundle.meta.name, source, str(hands), *figures))
    return rows


def _forecast(run: Run, past: Poses, task: HandForecast) -> Poses:
    inputs = {"past": past}
    if task.masked:
        inputs["seen"] = np.ones(past.shape[:3], np.float32)
    return run(inputs)["future"][:, 0]


def _as_hands(poses: Poses) -> Hands:
    return poses.reshape(*poses.shape[:2], -1, len(ASSEMBLY101.joints), 3)


def _error_mm(forecast: Hands, true: Hands) -> float:
    return float(1000 * np.linalg.norm(forecast - true, axis=-1).mean())


if __name__ == "__main__":
    main()
