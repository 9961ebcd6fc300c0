"""A bundle: the folder that carries a trained model from training to serving.

    bundle.json    the metadata: task, symmetries, training data and licences, measured errors, a checksum of every other file
    model.onnx     the graph, from the task's inputs to its outputs
    example.npz    one input and the network's answer to it, to check a loaded graph against
    README.md      the model card, made from bundle.json

Nothing else crosses from training to serving. A bundle is never changed after it is written; its version is a hash of its files' hashes.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from models.contract.npy import BadArray, Npz
from models.contract.symmetry import SYMMETRIES, Tensors, largest_difference
from models.contract.task import Task, check_inputs, check_outputs
from models.contract.tensor import WrongShape

MODEL, EXAMPLE, META = "model.onnx", "example.npz", "bundle.json"
MAX_META_BYTES, MAX_EXAMPLE_BYTES = 1 << 20, 8 << 20  # of bundle.json, and of each array of the example
EXAMPLE_TOLERANCE = 1e-5  # of metres, 0.01 mm: far below every tracker's noise, far above float32 rounding


class BadBundle(ValueError):
    """A folder that is not a bundle, or whose files differ from those that were written."""


def _known_symmetry(name: str) -> str:
    if name not in SYMMETRIES:
        raise ValueError(f"expected a symmetry, one of {', '.join(SYMMETRIES)}, got {name!r}")
    return name


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Value):
    """The checksum and size of one file of a bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class TrainingSource(_Value):
    """A data set that the weights were fitted on, and its licence."""

    name: str
    licence: str
    attribution: str
    recordings: int
    sha256: str | None = Field(default=None, description="of the recordings of a set of one's own, with its splits")


class Measurement(_Value):
    """One measured figure of a model, beside the figure of a baseline without weights.

    `windows` counts the samples that were measured and `recordings` their independent sources; `Task.counted` names both.
    """

    metric: str
    value: float
    unit: str
    split: Literal["validation", "test"]
    source: str
    windows: int
    recordings: int
    baseline: str | None = None
    baseline_value: float | None = None
    interval: tuple[float, float] | None = Field(default=None, description="95 %, bootstrap over recordings")


class BundleMeta(_Value):
    """The metadata of a bundle, as stored in bundle.json."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    title: str
    task: Task
    symmetries: tuple[Annotated[str, AfterValidator(_known_symmetry)], ...]
    network: str = Field(description="the network and its size, in words")
    parameters: int
    opset: int
    licence: str = Field(description="the licence of the weights")
    base: str | None = Field(default=None, description="the model and version whose weights the training began with")
    trained_on: tuple[TrainingSource, ...]
    measurements: tuple[Measurement, ...] = ()
    intervals: dict[str, float] = Field(
        default={},
        description="by probability, such as 0.95: the multiple of `std` within which a coordinate is; fitted on validation data",
    )
    command: str = Field(description="the command that makes this bundle")
    git_commit: str
    graph_commit: str | None = Field(
        default=None, description="of a graph that was written again with the same weights: the commit that wrote it"
    )
    made_with: dict[str, str] = Field(description="library versions")
    files: dict[str, FileEntry] = {}

    @property
    def version(self) -> str:
        """Return the version: twelve hex digits that change with any file of the bundle."""
        text = "".join(f"{name}:{entry.sha256}\n" for name, entry in sorted(self.files.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Bundle:
    """A bundle whose checksums matched when it was read or written."""

    folder: Path
    meta: BundleMeta

    @property
    def model(self) -> Path:
        """Return the path of the ONNX graph."""
        return self.folder / MODEL

    def example(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the example's inputs and outputs by name. Raises BadBundle if the file is malformed or does not fit the task."""
        try:
            archive = Npz((self.folder / EXAMPLE).read_bytes())
            arrays = {name: archive.read(name, MAX_EXAMPLE_BYTES) for name in archive.names}
            inputs = {key.removeprefix("in_"): array for key, array in arrays.items() if key.startswith("in_")}
            outputs = {key.removeprefix("out_"): array for key, array in arrays.items() if key.startswith("out_")}
            check_inputs(self.meta.task, inputs, f"the example of {self.meta.name}")
            check_outputs(self.meta.task, outputs, f"the example of {self.meta.name}")
        except (BadArray, WrongShape) as error:
            raise BadBundle(f"{self.folder / EXAMPLE}: {error}") from error
        return inputs, outputs


def write_bundle(
    folder: Path,
    meta: BundleMeta,
    model: bytes,
    inputs: Tensors,
    outputs: Tensors,
    extra: dict[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle at `folder` atomically and return it; `extra` are further files (a TorchScript copy, plots).

    Raises FileExistsError if `folder` exists, and WrongShape if the example does not fit the task.
    """
    check_inputs(meta.task, inputs, f"the example of {meta.name}")
    check_outputs(meta.task, outputs, f"the example of {meta.name}")
    if folder.exists():
        raise FileExistsError(
            f"expected a new folder, but {folder} exists, and a bundle is never changed; choose another"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (staging / MODEL).write_bytes(model)
        example = {f"in_{k}": v for k, v in inputs.items()} | {f"out_{k}": v for k, v in outputs.items()}
        np.savez_compressed(staging / EXAMPLE, **example)  # pyright: ignore[reportArgumentType] - numpy's stub takes allow_pickle there
        for name, content in (extra or {}).items():
            (staging / name).write_bytes(content)
        meta = meta.model_copy(update={"files": {path.name: _entry(path) for path in sorted(staging.iterdir())}})
        # without fields that are not used, so that a service that does not know them yet can read it
        (staging / META).write_text(meta.model_dump_json(indent=2, exclude_none=True) + "\n")
        (staging / "README.md").write_text(model_card(meta))
        staging.chmod(0o755)
        os.rename(staging, folder)
    except BaseException:  # raised again, after the incomplete folder is removed
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Bundle(folder, meta)


def read_bundle(folder: Path) -> Bundle:
    """Read the bundle at `folder`. Raises BadBundle if a file is missing, bundle.json is not valid or a checksum differs."""
    path = folder / META
    if not path.is_file():
        raise BadBundle(f"expected a bundle at {folder}, but it has no {META}")
    if (size := path.stat().st_size) > MAX_META_BYTES:
        raise BadBundle(f"expected {path} of at most {MAX_META_BYTES} bytes, got {size}")
    try:
        meta = BundleMeta.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadBundle(f"{path} is not a bundle of format 1: {error}") from error
    for name in (MODEL, EXAMPLE):
        if name not in meta.files:
            raise BadBundle(f"{path} lists no {name}")
    for name, entry in meta.files.items():
        file = folder / name
        if Path(name).name != name or not file.is_file():
            raise BadBundle(f"{folder} lacks {name}, which its {META} lists")
        if file.stat().st_size != entry.bytes or _entry(file) != entry:
            raise BadBundle(f"{file} is not the file that was written: its checksum differs from {META}")
    return Bundle(folder, meta)


def repeat_example(bundle: Bundle, run: Callable[[Tensors], Tensors]) -> float:
    """Run the example's inputs through `run` and return the largest difference from the stored answer, in the unit of the outputs.

    Raises BadBundle unless every difference is a number of at most EXAMPLE_TOLERANCE. A NaN in any output, on either side, is a difference.
    """
    inputs, expected = bundle.example()
    difference = largest_difference(run(inputs), expected)
    if not difference <= EXAMPLE_TOLERANCE:  # also true of NaN
        raise BadBundle(
            f"{bundle.meta.name} does not repeat its example: expected a difference of at most {EXAMPLE_TOLERANCE:g}, "
            f"got {difference:.2e}; export the bundle again"
        )
    return difference


def _skeleton(meta: BundleMeta) -> list[str]:
    """Return the joints of a task with a skeleton of one's own, in the order in which they are sent."""
    own = getattr(meta.task, "skeleton", None)
    return [] if own is None else [f"Skeleton `{own.name}`, {len(own.joints)} joints: {', '.join(own.joints)}.", ""]


def model_card(meta: BundleMeta) -> str:
    """Return the model card in Markdown."""
    task, (samples, recordings) = meta.task, meta.task.counted
    lines = [
        f"# {meta.title}",
        "",
        f"`{meta.name}`, version `{meta.version}`. {meta.network}, {meta.parameters:,} parameters.",
        "",
        f"- Task: {json.dumps(task.model_dump(exclude={'skeleton'}))}",
        f"- Symmetries, exact up to float32 rounding: {', '.join(meta.symmetries)}",
        f"- Licence of the weights: {meta.licence}",
        f"- Made by `{meta.command}` at commit `{meta.git_commit[:12]}`, opset {meta.opset}, "
        + ", ".join(f"{name} {version}" for name, version in sorted(meta.made_with.items())),
        "",
        *_skeleton(meta),
        *_redrawn(meta),
        *_lineage(meta),
        *_intervals(meta),
        "## Trained on",
        "",
        f"| source | {recordings} | licence | attribution |",
        "|---|---|---|---|",
        *(f"| {s.name} | {s.recordings} | {s.licence} | {s.attribution} |" for s in meta.trained_on),
        "",
        "## Measured",
        "",
        f"| metric | split | source | value | without weights | {samples} | {recordings} | 95 % interval |",
        "|---|---|---|---|---|---|---|---|",
        *(_measurement_row(m) for m in meta.measurements),
        "",
    ]
    return "\n".join(lines)


def _redrawn(meta: BundleMeta) -> list[str]:
    if meta.graph_commit is None:
        return []
    return [f"The graph was written again at commit `{meta.graph_commit[:12]}`, with the same weights.", ""]


def _lineage(meta: BundleMeta) -> list[str]:
    digests = [f"Recordings of {s.name}: SHA-256 `{s.sha256}`." for s in meta.trained_on if s.sha256]
    lines = [f"The training began with the weights of {meta.base}."] if meta.base else []
    return [*lines, *digests, ""] if lines or digests else []


def _intervals(meta: BundleMeta) -> list[str]:
    if not meta.intervals:
        return []
    multiples = ", ".join(f"{100 * float(share):g} % within {k:.2f} `std`" for share, k in meta.intervals.items())
    return [
        f"Intervals of a coordinate: {multiples}. These multiples, and a factor of `std` for each future frame, are fitted on validation "
        "recordings, each source and number of hands with the same weight.",
        "",
    ]


def _measurement_row(m: Measurement) -> str:
    baseline = "" if m.baseline_value is None else f"{m.baseline_value:.1f} {m.unit} ({m.baseline})"
    interval = "" if m.interval is None else f"{m.interval[0]:.1f} to {m.interval[1]:.1f}"
    value = f"{m.value:.1f} {m.unit}"
    return f"| {m.metric} | {m.split} | {m.source} | {value} | {baseline} | {m.windows} | {m.recordings} | {interval} |"


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), bytes=path.stat().st_size)
