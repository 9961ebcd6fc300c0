"""The calls about models, jobs and data sets: what is served, and how a new version of it is trained."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import msgspec
from tqdm import tqdm

from chiron_client.answers import Measurement
from chiron_client.arrays import read
from chiron_client.calls import OCTETS, ZIP, Action, Request, Retries, Steps, Wait, call, get, post, query
from chiron_client.problems import JobFailed

FINISHED = ("succeeded", "failed", "cancelled")
PAGE = 200  # jobs of a request


@dataclass(frozen=True)
class ModelInfo:
    """A model: whether it serves, its licence, and its measured errors. `task` says what it takes and gives."""

    name: str
    state: Literal["ready", "refused", "published"]
    reason: str | None = None
    version: str | None = None
    title: str | None = None
    task: dict[str, Any] | None = None
    licence: str | None = None
    symmetries: tuple[str, ...] | None = None
    parameters: int | None = None
    measurements: tuple[Measurement, ...] | None = None


@dataclass(frozen=True)
class Models:
    """All models, and by kind of task the name of the default."""

    models: tuple[ModelInfo, ...]
    defaults: dict[str, str]

    def __getitem__(self, name: str) -> ModelInfo:
        """Return the model of a name. Raises KeyError."""
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(name)


@dataclass(frozen=True)
class Job:
    """A job; times are seconds since 1970. `progress` has step, steps and eta_s of a training, `result` its model and version.

    `parent` is the sweep that a training belongs to. The `result` of a sweep has its `cells` and `best_cell`, too.
    """

    id: str
    kind: str
    state: str
    detail: str
    spec: dict[str, Any]
    attempt: int
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    worker: str | None = None
    progress: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    parent: str | None = None

    @property
    def finished(self) -> bool:
        """Return whether the job has ended, in one way or another."""
        return self.state in FINISHED


@dataclass(frozen=True)
class Artefact:
    """A file of a job and its size."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Dataset:
    """A data set; jobs may use it once its state is "ready". `job` is the one that checks it."""

    name: str
    source: str
    state: str
    job: str
    reason: str | None = None
    counts: dict[str, Any] | None = None


@dataclass(frozen=True)
class Promotion:
    """The version of a model that serves from now on, and the one before it."""

    name: str
    version: str
    before: str | None = None


@dataclass(frozen=True)
class JointOrder:
    """An order of joints: their names, the pairs of a bone, and for each joint its mirror image."""

    of: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...]
    aliases: tuple[str, ...] = field(default=())


def models() -> Action[Models]:
    """List the models with their errors and licences. Raises Problem and Unreachable."""
    return get("/models", lambda document: read(document, Models))


def joint_orders() -> Action[dict[str, JointOrder]]:
    """List the orders of joints of hands and bodies, by name."""
    return get("/joints", lambda document: read(document, dict[str, JointOrder]))


def example(model: str) -> Action[dict[str, Any]]:
    """Return a request body to try a model of hands or bodies with, as plain fields."""
    return get(f"/models/{model}/example", dict)


def example_scan(model: str) -> Action[bytes]:
    """Return a scan to try a model of faces with, as the content of a .ply."""
    return call(Request("GET", f"/models/{model}/example"), lambda reply: reply.content)


def promote(model: str, version: str) -> Action[Promotion]:
    """Serve a version of a model."""
    return post(f"/models/{model}/versions/{version}/promote", None, lambda document: read(document, Promotion))


def roll_back(model: str, version: str) -> Action[Promotion]:
    """Replace the current version of a model by the one before it."""
    return post(f"/models/{model}/versions/{version}/rollback", None, lambda document: read(document, Promotion))


def submit(spec: Mapping[str, Any]) -> Action[Job]:
    """Submit a job, such as {"kind": "train", "run": "hands-eqmotion", "steps": 40}; a repeated try is the same job."""
    return post("/jobs", spec, _job, **{"idempotency-key": uuid.uuid4().hex})


def job(id: str) -> Action[Job]:
    """Describe a job."""
    return get(f"/jobs/{id}", _job)


def jobs(state: str | None = None, kind: str | None = None, parent: str | None = None) -> Action[tuple[Job, ...]]:
    """List all jobs, or those in a state, of a kind or of a sweep, the newest first; `parent` "none" leaves out those of sweeps."""

    def pages(retries: Retries) -> Steps[tuple[Job, ...]]:
        found: tuple[Job, ...] = ()
        after: str | None = None
        while True:
            page = yield from get("/jobs", dict, state=state, kind=kind, parent=parent, limit=PAGE, after=after)(
                retries
            )
            found += tuple(map(_job, page["jobs"]))
            after = page["next"]
            if after is None:
                return found

    return pages


def wait(id: str, *, timeout_s: float | None = None, every_s: float = 1.0, progress: bool = True) -> Action[Job]:
    """Wait until a job has ended, with a progress bar on standard error, and return it.

    Raises JobFailed for a job that failed or was cancelled, and TimeoutError after `timeout_s`; the job runs on.
    """

    def watch(retries: Retries) -> Steps[Job]:
        start = time.monotonic()
        with tqdm(desc=id, unit="step", disable=not progress) as bar:
            while True:
                now = yield from job(id)(retries)
                _show(bar, now)
                if now.finished:
                    break
                if timeout_s is not None and time.monotonic() - start > timeout_s:
                    raise TimeoutError(f"expected the end of job {id} within {timeout_s:g} s: {now.detail}")
                yield Wait(every_s)
        if now.state != "succeeded":
            raise JobFailed(f"job {id} {now.state}: {now.detail}")
        return now

    return watch


def cancel(id: str) -> Action[Job]:
    """Cancel a job; a running one keeps its last checkpoint."""
    return post(f"/jobs/{id}/cancel", None, _job)


def retry(id: str) -> Action[Job]:
    """Run a failed or cancelled job again, from its last checkpoint."""
    return post(f"/jobs/{id}/retry", None, _job)


def artefacts(id: str) -> Action[tuple[Artefact, ...]]:
    """List the files of a job so far."""
    return get(f"/jobs/{id}/artifacts", lambda document: read(document["artifacts"], tuple[Artefact, ...]))


def download(id: str, name: str, to: str | PathLike[str]) -> Action[Path]:
    """Download a file of a job to a path, or into a folder under its own name; return the path. Raises OSError beside the others."""

    def save(content: bytes) -> Path:
        path = Path(to)
        path = path / Path(name).name if path.is_dir() else path
        path.write_bytes(content)
        return path

    request = Request("GET", f"/jobs/{id}/artifacts/{name}", headers={"accept": OCTETS})
    return call(request, lambda reply: save(reply.content))


def upload_dataset(archive: str | PathLike[str], name: str) -> Action[Dataset]:
    """Upload a .zip in the layout of the data folder; a job of its own checks it, which `wait(dataset.job)` waits for."""
    request = Request("POST", "/datasets", {"name": name}, {"content-type": ZIP}, Path(archive))
    return call(request, lambda reply: read(msgspec.json.decode(reply.content), Dataset))


def datasets() -> Action[tuple[Dataset, ...]]:
    """List the data sets."""
    return get("/datasets", lambda document: read(document["datasets"], tuple[Dataset, ...]))


def dataset(name: str) -> Action[Dataset]:
    """Describe a data set."""
    return get(f"/datasets/{name}", lambda document: read(document, Dataset))


def remove_dataset(name: str) -> Action[None]:
    """Remove a data set that no queued or running job uses."""
    return call(Request("DELETE", f"/datasets/{name}", query({})), lambda reply: None)


def _job(document: Any) -> Job:
    return read(document, Job)


def _show(bar: "tqdm[Any]", now: Job) -> None:
    progress = now.progress or {}
    bar.total = progress.get("steps", bar.total)
    bar.n = progress.get("step", bar.n)
    bar.set_postfix_str(now.state if now.finished else now.detail[:60])
