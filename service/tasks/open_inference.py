"""Tensors of the Open Inference Protocol (V2) in and out, as JSON or with its extension for binary tensors.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol

A client sends the model's own inputs, one item a row of the batch axis. The rows walk to the same batcher as all other requests. Names,
shapes, datatypes and finiteness are checked against the model's task; units and sizes are not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import msgspec
import numpy as np
from pydantic import BaseModel, Field

from models.contract.bundle import BundleMeta
from models.contract.symmetry import Tensors
from models.contract.task import FaceLandmarks, Task, check_inputs
from models.contract.tensor import TensorSpec, WrongShape
from service.http.negotiation import JSON, typed
from service.http.openapi import BINARY
from service.http.problems import Problem
from service.tasks.endpoint import DECODE_ON_LOOP, Body, Encoded, Endpoint, Example, Limits, Steps
from service.tasks.memory import Memory

OCTETS = "application/octet-stream"
LENGTH = "inference-header-content-length"  # the header with the bytes of the JSON before binary tensors
DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64"}
KINDS = ("hand-forecast", "pose-lift", "pose-forecast", "action-recognition", "face-landmarks", "face-map")
UNSUPPORTED = ("shared_memory_region", "classification")
ERRORS = (
    "malformed-body", "unknown-model", "unknown-version", "request-timeout", "body-too-large", "too-many-items", "unsupported-media-type",
    "invalid-request", "wrong-shape", "not-finite", "out-of-range", "internal", "overloaded", "not-ready",
)  # fmt: skip
DESCRIPTION = """Run a model on tensors by the Open Inference Protocol (V2), as clients of Triton and KServe do.

The batch axis comes first. Inputs are in the units, the joint order and the rate of the model's task. Nothing is resampled, converted or
found implausible: the routes of the tasks do that. With the header Inference-Header-Content-Length, binary tensors follow the JSON.
"""


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int] = []
    datatype: str = ""
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = msgspec.Raw()  # empty: none


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    outputs: list[_Tensor] = []
    parameters: dict[str, Any] = {}


class TensorIn(BaseModel):
    """An input: `data` in row-major order, flat or nested, or `binary_data_size` in its parameters."""

    name: str
    shape: list[int]
    datatype: str = Field(description="FP32, FP64 or INT64, as the model's metadata has it")
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class TensorWanted(BaseModel):
    """An output that is wanted; `binary_data` in its parameters asks for it as binary."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """The request of an inference."""

    inputs: list[TensorIn]
    id: str | None = None
    outputs: list[TensorWanted] | None = Field(default=None, description="default: all")
    parameters: dict[str, Any] | None = None


class InferAnswer(BaseModel):
    """The outputs of an inference."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[TensorIn]


@dataclass(frozen=True)
class Inference:
    """A decoded request: its tensors, and which outputs are wanted, each as binary or not."""

    model: str | None
    version: str | None
    id: str
    tensors: dict[str, np.ndarray]
    wanted: dict[str, bool]  # empty: all outputs
    binary: bool  # unless an output says otherwise

    def pointer(self, name: str) -> str:
        """Return no pointer: the model is named by the path."""
        return ""


@dataclass(frozen=True)
class Outputs:
    """The outputs of a request, with a batch axis."""

    request: Inference
    tensors: dict[str, np.ndarray]


def decode(body: Body) -> Inference:
    """Return the tensors of a request. Raises malformed-body, invalid-request and wrong-shape."""
    size = len(body.data) if body.media == JSON else int(body.options["header"])
    if size > len(body.data):
        raise Problem("malformed-body", f"{LENGTH}: expected at most {len(body.data)} bytes, got {size}")
    request = typed(msgspec.json.decode, body.data[:size], type=_Request)
    tensors: dict[str, np.ndarray] = {}
    for index, tensor in enumerate(request.inputs):
        pointer = f"/inputs/{index}"
        _check_supported(tensor, pointer)
        if tensor.name in tensors:
            raise Problem.at(
                "invalid-request", f"{pointer}/name", f"expected each input once, got {tensor.name[:80]!r}"
            )
        tensors[tensor.name], size = _read(tensor, body.data, size, pointer)
    if size != len(body.data):
        raise Problem("malformed-body", f"expected {size} bytes of JSON and tensors, got {len(body.data)}")
    for index, output in enumerate(request.outputs):
        _check_supported(output, f"/outputs/{index}")
    binary = request.parameters.get("binary_data_output") is True
    wanted = {output.name: output.parameters.get("binary_data", binary) is True for output in request.outputs}
    return Inference(body.options["model"], body.options["version"], request.id, tensors, wanted, binary)


def _check_supported(tensor: _Tensor, pointer: str) -> None:
    for name in UNSUPPORTED:
        if name in tensor.parameters:
            raise Problem.at("invalid-request", f"{pointer}/parameters/{name}", "expected no such extension here")


def _read(tensor: _Tensor, data: bytes, start: int, pointer: str) -> tuple[np.ndarray, int]:
    """Return an input, and where its binary data ends."""
    dtype = next((dtype for dtype, name in DATATYPES.items() if name == tensor.datatype), None)
    if dtype is None:
        detail = f"expected {', '.join(DATATYPES.values())}, got {tensor.datatype[:40]!r}"
        raise Problem.at("invalid-request", f"{pointer}/datatype", detail)
    if not tensor.shape or any(size < 1 for size in tensor.shape):
        raise Problem.at("wrong-shape", f"{pointer}/shape", f"expected axes of at least 1, got {tensor.shape[:8]}")
    count, size = prod(tensor.shape), tensor.parameters.get("binary_data_size")
    if size is None:
        array, end = _numbers(tensor.data, dtype, f"{pointer}/data"), start
    else:
        expected = count * np.dtype(dtype).itemsize
        if type(size) is not int or size != expected or start + size > len(data):
            detail = f"expected {expected} bytes for {tensor.shape[:8]} of {tensor.datatype}, got {str(size)[:40]}"
            raise Problem.at("wrong-shape", f"{pointer}/parameters/binary_data_size", detail)
        array, end = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), count, start), start + size
    if array.size != count:
        detail = f"expected {count} numbers for {tensor.shape[:8]}, got {array.size}"
        raise Problem.at("wrong-shape", f"{pointer}/data", detail)
    return array.reshape(tensor.shape), end


def _numbers(data: msgspec.Raw, dtype: str, pointer: str) -> np.ndarray:
    """Return the numbers of a list, flat or nested."""
    if not memoryview(data):
        raise Problem.at("invalid-request", pointer, "expected data, or binary_data_size in the parameters")
    try:
        array = np.array(msgspec.json.decode(data))
    except (ValueError, RecursionError, OverflowError):  # lists of different lengths
        raise Problem.at("invalid-request", pointer, "expected lists of equal lengths") from None
    if array.dtype.kind not in ("iu" if dtype == "int64" else "fiu") or not array.size:
        raise Problem.at("invalid-request", pointer, f"expected numbers of {dtype}, got others")
    with np.errstate(over="ignore"):  # too large for float32: not finite, which is refused
        return array.astype(dtype)


def prepare(request: Inference, model: BundleMeta, limits: Limits) -> tuple[Inference, Task]:
    """Check a request against the model's task.

    Raises unknown-version, WrongShape, not-finite, out-of-range, too-many-items and invalid-request.
    """
    if request.version not in (None, model.version):
        raise Problem(
            "unknown-version", f"{model.name} serves version {model.version}, not {str(request.version)[:80]}"
        )
    task = model.task
    check_inputs(task, request.tensors, model.name)
    batch = {len(tensor) for tensor in request.tensors.values()}
    if max(batch) > limits.items:
        raise Problem("too-many-items", f"expected at most {limits.items} items (CHIRON_MAX_ITEMS), got {max(batch)}")
    for name, tensor in request.tensors.items():
        if not np.isfinite(tensor).all():
            raise Problem("not-finite", f"expected finite numbers in {name}, got NaN or infinity")
    if isinstance(task, FaceLandmarks):
        _check_indices(request.tensors, task)
    if unknown := [name for name in request.wanted if name not in task.outputs]:
        detail = f"expected outputs of {', '.join(task.outputs)}, got {unknown[0][:80]!r}"
        raise Problem.at("invalid-request", "/outputs", detail)
    return request, task


def _check_indices(tensors: Tensors, task: FaceLandmarks) -> None:
    """Raise out-of-range unless each index is that of a point of its level: of the same, or of the next for parents."""
    for name, levels, limits in (
        ("neighbours", task.levels, task.levels),
        ("parents", task.levels[:-1], task.levels[1:]),
    ):
        bounds = np.repeat(limits, levels)[None, :, None]
        if ((tensors[name] < 0) | (tensors[name] >= bounds)).any():
            raise Problem("out-of-range", f"expected indices of points of their level in {name}, got others")


def steps(prepared: tuple[Inference, Task]) -> Steps[Outputs]:
    """Ask the network about every row. Raises not-finite for an output that is not."""
    request, task = prepared
    count = len(next(iter(request.tensors.values())))
    rows = yield [{name: tensor[row] for name, tensor in request.tensors.items()} for row in range(count)]
    outputs = {name: np.stack([row[name] for row in rows]) for name in request.wanted or task.outputs}
    for name, tensor in outputs.items():
        if not np.isfinite(tensor).all():
            raise Problem("not-finite", f"the model has no finite {name} for these inputs")
    return Outputs(request, outputs)


def encode(result: Outputs, model: BundleMeta, media: str) -> Encoded:
    """Return the outputs as JSON, followed by those that are wanted as binary."""
    request, outputs, tail = result.request, [], []
    for name, tensor in result.tensors.items():
        shape, datatype = list(tensor.shape), DATATYPES[tensor.dtype.name]
        described: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if request.wanted.get(name, request.binary):
            tail.append(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
            described["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            described["data"] = tensor.ravel().tolist()
        outputs.append(described)
    document = {"model_name": model.name, "model_version": model.version, "outputs": outputs}
    head = msgspec.json.encode({**document, "id": request.id} if request.id else document)
    headers = {LENGTH: str(len(head)), "content-type": OCTETS} if tail else {}
    return Encoded(b"".join([head, *tail]), headers)


def operation() -> dict[str, Any]:
    """Describe the request for OpenAPI."""
    schema = InferRequest.model_json_schema()
    definitions = schema.pop("$defs")
    schema["properties"]["inputs"]["items"] = definitions["TensorIn"]
    wanted = {"type": "array", "items": definitions["TensorWanted"], "description": "default: all"}
    schema["properties"]["outputs"] = wanted
    schema["properties"]["id"] = {"type": "string"}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}, OCTETS: BINARY}}}


def metadata(specs: Mapping[str, TensorSpec]) -> Sequence[dict[str, Any]]:
    """Return the names, datatypes and shapes of tensors; -1 is an axis of several sizes."""
    return [
        {
            "name": name,
            "datatype": DATATYPES[spec.dtype],
            "shape": [size if isinstance(size, int) else -1 for size in spec.shape],
        }
        for name, spec in specs.items()
    ]


INFER: Endpoint[Inference, tuple[Inference, Task], Outputs] = Endpoint(
    path="/v2/models/{name}/infer",
    kind=KINDS[0],
    also=KINDS[1:],
    tag="open inference",
    description=DESCRIPTION,
    accepts=(JSON, OCTETS),
    offers=(JSON, OCTETS),
    with_query=(),
    limits=lambda settings: Limits(
        settings.max_items_bytes, setting="CHIRON_MAX_ITEMS_BYTES", items=settings.max_items
    ),
    memory=lambda media: Memory(32 if media == JSON else 8, 32 << 20),
    on_loop_bytes=DECODE_ON_LOOP,
    errors=ERRORS,
    raised={WrongShape: "wrong-shape"},
    answer=InferAnswer,
    operation=operation,
    examples=dict,
    example=Example(lambda bundle: {}, schema=InferRequest),
    decode=decode,
    prepare=prepare,
    steps=steps,
    encode=encode,
    reads=dict,
    writes={},
)
