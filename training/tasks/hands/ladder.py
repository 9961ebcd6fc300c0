"""The ladder of the hand forecaster: what each part of the network and of its training is worth on sources that it has not seen.

    python -m training benchmark hands-ladder

Each rung is trained once for each fold, on all sources but those of the fold, and measured on the training recordings of these. The test
split is not read. A rung differs from the one before it in a single choice. A ratio is the error of a rung divided by that of the best of
hold, constant velocity and damped velocity in the same row; a cell is the mean over rows, a row being a source with one hand or two and
at least LEAST windows.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.contract.task import HandForecast
from models.forecast.hand_means import HandMeansConfig
from models.forecast.linear import LinearForecast, constant_velocity, damped_velocity, hold
from training.engine.benchmark import markdown, measured
from training.engine.run import Loss, Optimisation, Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.hands.data import Augmentation, HandBatches, HandData
from training.tasks.hands.draws import EVERY_WINDOW, Draw
from training.tasks.hands.faults import Faults
from training.tasks.hands.likelihood import ForecastLoss, travelled_share
from training.tasks.hands.metrics import distances_mm
from training.tasks.hands.report import DECAYS
from training.tasks.hands.windows import PRESETS

HandRun = Run[HandForecast, HandData]

SOURCES = ("leap", "tzionas", "ultraleap_tracking", "thai_sign_leap", "leap_vrcollage", "leap_playground")
FOLDS = (("leap", "leap_vrcollage", "leap_playground"), ("tzionas",), ("ultraleap_tracking",))
WINDOW = PRESETS["30+30@30"]
LEAST = 30  # windows of a row
EVERY = 9  # windows of which one is measured
HORIZONS = (1, 2, 3)  # frames of 33 ms

TASK = HandForecast(past=WINDOW.past, future=WINDOW.future, fps=WINDOW.fps, modes=5, masked=True, spread=True)
FAULTS = Faults(jitter_mm=(0.0, 1.0), joints=(0.0, 0.2), burst=0.1, lost=0.05, short=0.4)
SHORT = Faults(short=0.4)
SMALL = HandMeansConfig(channels=16, hidden=32, products=8, layers=2)  # a third of the cost of the shipped network
TEMPI = (0.7, 1.0, 1.4, 2.0)


@dataclass(frozen=True)
class Rung:
    """One row of the ladder: its network, its loss and its data."""

    title: str
    network: HandMeansConfig
    loss: Loss
    draw: Draw = EVERY_WINDOW
    tempi: tuple[float, ...] = (1.0,)
    faults: Faults = SHORT
    reverse: float = 0.0
    scale: float = 1.0
    carried: float = 0.0
    weight_decay: float = 1e-4
    learning_rate: float = 3e-3
    steps: int = 400

    def run(self, fold: Iterable[str]) -> HandRun:
        """Return the run of this rung on all sources but those of the fold."""
        data = HandData(
            tuple(source for source in SOURCES if source not in tuple(fold)),
            WINDOW,
            batch=64,
            augmentation=Augmentation(
                one_hand=0.5,
                reverse=self.reverse,
                scale=self.scale,
                faults=self.faults,
                carried=self.carried,
            ),
            tempi=self.tempi,
            draw=self.draw,
            masked=True,
            least=(10, 10),
        )
        return Run(
            name="hands-ladder",
            title=f"A rung of the hand forecaster's ladder: {self.title}",
            task=TASK,
            network=self.network,
            data=data,
            licence="not for distribution: for the record",
            loss=self.loss,
            score=travelled_share,
            optimisation=Optimisation(
                steps=self.steps,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                warmup=50,
                ema=0.99,
                validate_every=self.steps // 2,
                checkpoint_every=self.steps,
            ),
        )


def _ladder() -> dict[str, Rung]:
    """Return the rungs by name, from the plainest on."""
    plain = replace(SMALL, base="fixed", scaled=False, speed=False, steps=False)
    rungs = {
        "plain": Rung(
            "one gain a frame, motion in metres, error in mm", plain, ForecastLoss(tempering=1.0, velocity=0.0)
        )
    }

    def add(
        name: str, title: str, network: dict[str, Any] | None = None, loss: dict[str, Any] | None = None, **changes: Any
    ) -> None:
        last = list(rungs.values())[-1]
        # The fields of a rung are data, whose types pyright cannot follow; `replace` refuses an unknown one.
        changes |= {"network": replace(last.network, **(network or {})), "loss": replace(last.loss, **(loss or {}))}  # pyright: ignore[reportArgumentType]
        rungs[name] = replace(last, title=title, **changes)

    add("scaled", "motion divided by the window's own step", network={"scaled": True})
    add("gains", "gains of velocities by invariants", network={"base": "gains"})
    add("steps", "speed and turn of each step", network={"steps": True, "speed": True})
    add("likelihood", "errors divided by what is expected", loss={"tempering": 0.5})
    add("velocity", "errors of velocity", loss={"velocity": 0.5})
    add("draw", "sources by the square root of their windows", draw=Draw(sources="sqrt", still=0.3))
    add("tempi", "recordings at 0.7 to 2 times their speed", tempi=TEMPI)
    add("reverse", "half of the windows backwards", reverse=0.5)
    add("faults", "jitter, missing joints, dropped frames, a lost hand", faults=FAULTS)
    add("decay", "weight decay of 0.1", weight_decay=0.1)
    add("jitter", "jitter of at most 0.3 mm", faults=replace(FAULTS, jitter_mm=(0.0, 0.3)))
    add("pure", "errors divided wholly by what is expected", loss={"tempering": 0.0})
    add("large", "three layers of twice the width", network={"channels": 32, "hidden": 48, "products": 16, "layers": 3})
    add("long", "three times the steps", steps=1200)
    return rungs


RUNGS = _ladder()


@dataclass(frozen=True)
class Rungs:
    """The errors of one rung on one fold in mm, by row and by what is measured, beside the best of three baselines."""

    errors: dict[str, dict[str, float]]
    best: dict[str, dict[str, float]]

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Rungs":
        """Return the figures that `write` has written."""
        return cls(**json.loads(path.read_text()))


def climbed(rung: Rung, fold: tuple[str, ...], data: Path, out: Path, watch: Watch = UNWATCHED, seed: int = 0) -> Rungs:
    """Return the figures of a rung on a fold; train it if they are not there. Raises Stopped."""

    def measure(run: HandRun, network: nn.Module, folder: Path) -> Rungs:
        return measure_sources(network, run.data.load(folder), fold, "train", EVERY)

    return measured(rung.run(fold), seed, data, out, Rungs, measure, watch, file="ladder.json")


def measure_sources(network: nn.Module, batches: HandBatches, sources: Iterable[str], split: str, every: int) -> Rungs:
    """Measure a network and the baselines on each source, with pasts of 30 and of 10 frames; the decay is fitted on training windows."""
    floors = {
        "hold": hold(TASK),
        "constant": constant_velocity(TASK),
        "damped": damped_velocity(TASK, fitted_decay(batches)),
    }
    errors: dict[str, dict[str, float]] = {}
    best: dict[str, dict[str, float]] = {}
    for source in sources:
        for hands in (2, 1):
            windows = batches.windows(split, hands, (source,), phases="first")
            chosen = np.arange(0, len(windows), every)
            if len(chosen) < LEAST:
                continue
            past, true = windows.past_future(chosen)
            row = f"{source} {hands}"
            errors[row] = figures(
                distances_mm(answer(network, past), true), distances_mm(answer(network, past, 10), true)
            )
            plain = TASK.model_copy(update={"modes": 1})
            ways = [distances_mm(_linear(LinearForecast(plain, matrix), past), true) for matrix in floors.values()]
            best[row] = {key: min(figures(way, way)[key] for way in ways) for key in errors[row]}
    return Rungs(errors, best)


def figures(long: np.ndarray, short: np.ndarray) -> dict[str, float]:
    """Return mean errors in mm by what they are measured over, from (windows, future) errors with pasts of 30 and of 10 frames."""
    at = {f"{round(1000 * frame / WINDOW.fps)} ms": float(long[:, frame - 1].mean()) for frame in HORIZONS}
    return {"30+30": float(long.mean()), "10+10": float(short[:, :10].mean()), **at}


def answer(network: nn.Module, past: np.ndarray, frames: int | None = None, batch: int = 64) -> np.ndarray:
    """Return mode 0 of a network that sees only the last `frames` of the past, in metres."""
    seen = np.ones(past.shape[:3], np.float32)
    if frames is not None:
        seen[:, : past.shape[1] - frames] = 0
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(past[i : i + batch]), torch.from_numpy(seen[i : i + batch]))[0][:, 0]
            for i in range(0, len(past), batch)
        ]
    return torch.cat(parts).numpy()


def _linear(network: nn.Module, past: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(past))[:, 0].numpy()


def fitted_decay(batches: HandBatches, every: int = 50) -> float:
    """Return the decay of the velocity that is best on the training windows."""
    plain = TASK.model_copy(update={"modes": 1})
    pairs = [windows.past_future(np.arange(0, len(windows), every)) for windows in batches.as_recorded]

    def error(decay: float) -> float:
        network = LinearForecast(plain, damped_velocity(plain, decay))
        return float(np.mean([distances_mm(_linear(network, past), true).mean() for past, true in pairs]))

    return float(min(DECAYS, key=error))


def ratios(rungs: Iterable[Rungs]) -> dict[str, float]:
    """Return the mean over rows of error by baseline, for each thing that is measured."""
    pairs = [(fold.errors[row], fold.best[row]) for fold in rungs for row in fold.errors]
    return {key: float(np.mean([error[key] / best[key] for error, best in pairs])) for key in pairs[0][0]}


def tables(data: Path, out: Path, watch: Watch = UNWATCHED, names: Iterable[str] | None = None) -> str:
    """Return a Markdown table with a line for each rung: its ratios, and the change of that of 30+30 from the rung before."""
    lines: list[tuple[str, ...]] = []
    before: dict[str, float] | None = None
    for name in names or RUNGS:
        rung = RUNGS[name]
        found = ratios(climbed(rung, fold, data, out, watch) for fold in FOLDS)
        gain = "" if before is None else f"{100 * (found['30+30'] / before['30+30'] - 1):+.1f} %"
        lines.append((rung.title, *(f"{value:.3f}" for value in found.values()), gain))
        before = found
    header = (
        "rung, each with those above",
        "30+30",
        "10+10",
        *(f"{round(1000 * f / WINDOW.fps)} ms" for f in HORIZONS),
        "change at 30+30",
    )
    return markdown(header, lines)
