"""Bundles as entries of a Triton model repository: config.pbtxt, labels, and the graph of each version in a numbered folder.

https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md

Triton numbers versions. Each folder has the bundle's metadata beside its graph, and `parameters` of the configuration map a number to the
version of the bundle.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.contract.bundle import META, MODEL, Bundle, BundleMeta
from models.contract.task import ActionRecognition, Task
from models.contract.tensor import TensorSpec
from models.skeletons.face import FACE68

CONFIG = "config.pbtxt"
TYPES = {"float32": "TYPE_FP32", "float64": "TYPE_FP64", "int64": "TYPE_INT64"}
MAX_BATCH = 32
LABELLED = ("logits", "confidence")  # outputs with one number for each class or landmark


class OtherTensors(ValueError):
    """A bundle whose tensors differ from those of the entry's other versions, which share one configuration."""


def export(bundle: Bundle, repository: Path) -> Path:
    """Add a bundle to a model repository and return the folder of its version, the next number; a version that is there is kept.

    Raises OtherTensors, and OSError where the repository cannot be written.
    """
    entry = repository / bundle.meta.name
    versions = _versions(entry)
    for number, meta in versions.items():
        if meta.version == bundle.meta.version:
            return entry / str(number)
        if _tensors(meta.task) != _tensors(bundle.meta.task) or labels(meta.task) != labels(bundle.meta.task):
            detail = f"version {meta.version} of {meta.name} has other tensors or labels than {bundle.meta.version}"
            raise OtherTensors(f"{detail}; export it to another repository")
    number = max(versions, default=0) + 1
    entry.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=repository, prefix=f".{bundle.meta.name}-"))
    try:
        for name in (MODEL, META):
            shutil.copyfile(bundle.folder / name, staging / name)
        for output, names in labels(bundle.meta.task).items():
            _write(entry / f"{output}.txt", "".join(f"{name}\n" for name in names))
        _write(entry / CONFIG, config(bundle.meta, {**versions, number: bundle.meta}))
        staging.chmod(0o755)
        staging.rename(entry / str(number))
    except BaseException:  # raised again: nothing half-written stays
        shutil.rmtree(staging)
        raise
    return entry / str(number)


def config(meta: BundleMeta, versions: Mapping[int, BundleMeta]) -> str:
    """Return the configuration of an entry in protobuf's text format. The batch axis of every tensor is left out, as Triton has it."""
    task = meta.task
    lines = [
        f"name: {_text(meta.name)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH}",
        *(_tensor("input", name, spec, None) for name, spec in task.inputs.items()),
        *(
            _tensor("output", name, spec, f"{name}.txt" if name in labels(task) else None)
            for name, spec in task.outputs.items()
        ),
        "dynamic_batching { }",
        *(_parameter(f"chiron_version_{number}", one.version) for number, one in sorted(versions.items())),
        _parameter("chiron_task", task.model_dump_json()),
        _parameter("licence", meta.licence),
    ]
    return "\n".join(lines) + "\n"


def labels(task: Task) -> dict[str, Sequence[str]]:
    """Return the names of an output's numbers, for outputs with one a class or a landmark."""
    names = task.classes if isinstance(task, ActionRecognition) else FACE68.joints
    return {name: names for name in LABELLED if name in task.outputs}


def _versions(entry: Path) -> dict[int, BundleMeta]:
    """Return the metadata of the versions in an entry, by number."""
    numbers = [int(path.name) for path in entry.iterdir() if path.name.isdecimal()] if entry.is_dir() else []
    return {
        number: BundleMeta.model_validate_json((entry / str(number) / META).read_bytes()) for number in sorted(numbers)
    }


def _tensors(task: Task) -> tuple[str, ...]:
    specs = {**task.inputs, **task.outputs}
    return tuple(_tensor("tensor", name, spec, None) for name, spec in specs.items())


def _tensor(kind: str, name: str, spec: TensorSpec, label_file: str | None) -> str:
    dims = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in spec.shape[1:])
    label = f" label_filename: {_text(label_file)}" if label_file else ""
    return f"{kind} {{ name: {_text(name)} data_type: {TYPES[spec.dtype]} dims: [ {dims} ]{label} }}"


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {_text(key)} value: {{ string_value: {_text(value)} }} }}"


def _text(value: str) -> str:
    """Return a string of protobuf's text format, whose escapes of ASCII are those of JSON."""
    return json.dumps(value, ensure_ascii=True) if value.isascii() else json.dumps(value, ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    """Write a file atomically: Triton may be polling the repository."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
