"""The studies, by kind of task, and the benchmarks, by name, that the command line and the workers run."""

from pathlib import Path
from typing import Any

from torch import nn

from models.contract.bundle import Measurement
from training.engine.benchmark import Benchmark, without_options
from training.engine.run import Run
from training.engine.study import Study
from training.tasks.bodies import benchmark as bodies_benchmark
from training.tasks.bodies import left_out_actions, lift_table, seed_table, twin_table
from training.tasks.bodies import published as bodies_published
from training.tasks.bodies import study as bodies_study
from training.tasks.faces import benchmark as faces_benchmark
from training.tasks.faces import depth_tables
from training.tasks.faces import seed_table as faces_seeds
from training.tasks.faces import study as faces_study
from training.tasks.hands import forecast_tables, ladder, latency_tables, trials
from training.tasks.hands import study as hands_study
from training.tasks.hands import tables as hands_tables

STUDIES: dict[str, Study] = {
    "hand-forecast": hands_study.STUDY,
    **dict.fromkeys(("face-landmarks", "face-map"), faces_study.STUDY),
    **dict.fromkeys(("pose-lift", "pose-forecast", "action-recognition"), bodies_study.STUDY),
}
BENCHMARKS: dict[str, Benchmark] = {
    "hands": hands_tables.tables,
    "hands-forecast": without_options(forecast_tables.tables),
    "hands-latency": without_options(latency_tables.tables),
    "hands-ladder": without_options(ladder.tables),
    "hands-trials": without_options(trials.tables),
    "faces": faces_benchmark.tables,
    "faces-depth": depth_tables.tables,
    "faces-seeds": faces_seeds.tables,
    "bodies": without_options(bodies_benchmark.tables),
    "bodies-none": left_out_actions.tables,
    "bodies-published": bodies_published.tables,
    "bodies-seeds": seed_table.tables,
    "bodies-twins": twin_table.tables,
    "poses-lift": lift_table.tables,
}


def compared(run: Run[Any, Any], network: nn.Module, data_folder: Path) -> tuple[Measurement, ...]:
    """Return the metrics of the validation split beside the best floor; none for a task without this measurement."""
    measure = STUDIES[run.task.kind].compared
    return () if measure is None else measure(run, network, data_folder)
