"""A training in a tracking store of MLflow: its settings, its learning curve and its files."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from training.engine.checkpoints import BEST, LAST, NotTrained
from training.engine.folders import HISTORY
from training.engine.loop import Training

EXPERIMENT = "chiron"
PARAMETERS_AT_ONCE, METRICS_AT_ONCE = 100, 1000  # MLflow's limits of a request
LEFT_OUT = (LAST, "events.out.tfevents")  # beginnings of names: the optimiser's state, and what the curve has already
RETRIES = "2"  # of a request; MLflow's own number takes minutes to say that a server is away


class NoMlflow(LookupError):
    """An export to MLflow where MLflow is not installed."""


class TrackingFailed(OSError):
    """A tracking store that does not answer or that refuses a request."""


@dataclass(frozen=True)
class Record:
    """The facts of a training for a tracking store.

    `curve` has a name, a value and a step for each figure of a validation. `tags` identify the training: another export replaces it.
    """

    name: str
    tags: dict[str, str]
    parameters: dict[str, str]
    curve: tuple[tuple[str, float, int], ...]
    files: tuple[Path, ...]


def record_of(training: Training, command: str) -> Record:
    """Return the record of a training; `command` repeats it. Raises NotTrained before the first validation."""
    run, folder = training.run, training.folder
    history = folder / HISTORY
    if not (history.is_file() and (folder / BEST).is_file()):
        raise NotTrained(f"{run.name}, seed {training.seed}, is not trained yet; run first: {command}")
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    curve = [(name, float(line[name]), int(line["step"])) for line in lines for name in ("loss", "score")]
    best = min(lines, key=lambda line: line["score"])
    curve.append(("best_score", float(best["score"]), int(best["step"])))
    parts = (("network", run.network), ("data", run.data), ("optimisation", run.optimisation))
    parameters = {"run": run.name, "seed": str(training.seed)}
    parameters |= {f"{part}.{name}": text for part, value in parts for name, text in _simple(value)}
    files = (path for path in folder.iterdir() if path.is_file() and path.suffix != ".part")
    return Record(
        name=f"{run.name} seed {training.seed}",
        tags={
            "chiron.fingerprint": run.fingerprint,
            "chiron.seed": str(training.seed),
            "chiron.command": command,
            "chiron.licence": run.licence,
        },
        parameters=parameters,
        curve=tuple(curve),
        files=tuple(sorted(path for path in files if not path.name.startswith(LEFT_OUT))),
    )


def log(record: Record, store: str, experiment: str = EXPERIMENT) -> str:
    """Write a record into a tracking store, a URI or a folder, in place of an earlier one, and return the id of MLflow's run.

    Raises NoMlflow, TrackingFailed.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    if "://" not in store:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow refuses folders otherwise
        store = Path(store).absolute().as_uri()
    try:
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] - an extra
        from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise NoMlflow(
            "an export to MLflow needs mlflow, which is not installed; run: pip install 'chiron[mlflow]'"
        ) from error
    try:
        return _log(MlflowClient(tracking_uri=store), record, experiment)
    except MlflowException as error:
        raise TrackingFailed(f"the tracking store {store} failed: {str(error).splitlines()[0][:300]}") from error


def _log(client: Any, record: Record, experiment: str) -> str:
    from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports] - an extra

    known = client.get_experiment_by_name(experiment)
    place = known.experiment_id if known else client.create_experiment(experiment)
    same = " and ".join(f"tags.`{name}` = '{record.tags[name]}'" for name in ("chiron.fingerprint", "chiron.seed"))
    earlier = client.search_runs([place], same)
    run = client.create_run(place, run_name=record.name, tags=record.tags).info.run_id
    parameters = [Param(name, text) for name, text in record.parameters.items()]
    for at in range(0, len(parameters), PARAMETERS_AT_ONCE):
        client.log_batch(run, params=parameters[at : at + PARAMETERS_AT_ONCE])
    at_ms = int(max(path.stat().st_mtime for path in record.files) * 1000)  # the curve has no times of its own
    metrics = [Metric(name, value, at_ms, step) for name, value, step in record.curve]
    for at in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(run, metrics=metrics[at : at + METRICS_AT_ONCE])
    for path in record.files:
        client.log_artifact(run, str(path))
    client.set_terminated(run)
    for before in earlier:
        client.delete_run(before.info.run_id)
    return run


def _simple(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of a dataclass that are numbers, words or lists of words, as texts; those of inner ones by name, too."""
    for one in fields(value) if is_dataclass(value) else ():
        content = getattr(value, one.name)
        if isinstance(content, str | int | float):
            yield one.name, str(content)
        elif isinstance(content, tuple) and content and all(isinstance(x, str | int) for x in content):
            yield one.name, ",".join(map(str, content))
        elif is_dataclass(content):
            yield from ((f"{one.name}.{name}", text) for name, text in _simple(content))
