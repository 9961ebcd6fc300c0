"""The readers of requests and clip files: every endpoint from bytes to bytes, with a network that returns zeros."""

import io
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np

from benchmarks.fuzz import containers
from benchmarks.fuzz.harness import Reader
from benchmarks.fuzz.mutation import mutate
from benchmarks.fuzz.scans import npy, ply
from models.contract.bundle import BundleMeta, read_bundle
from models.contract.symmetry import Tensors
from models.contract.task import PoseLift
from service.http.negotiation import JSON, MSGPACK, NPY, NPZ
from service.http.problems import Problem
from service.tasks.bodies.endpoint import ACTIONS, LIFT, POSES
from service.tasks.catalogue import SINGLE
from service.tasks.endpoint import Body, Endpoint, Limits, run
from service.tasks.faces import upload
from service.tasks.faces.endpoint import FACE

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
LIMITS = Limits(bytes=64 << 20, gap_s=0.25, points=100_000)
LISTS = ("past", "left", "right", "keypoints", "clip", "clips", "persons")


@cache
def _model(kind: str) -> BundleMeta:
    """Return the shipped model of a kind of task."""
    bundles = (read_bundle(path) for path in sorted(BUNDLES.iterdir()))
    return next(bundle.meta for bundle in bundles if bundle.meta.task.kind == kind)


def _zeros(task: Any, inputs: Tensors) -> Tensors:
    """Return zero outputs of a task, in shapes that fit the inputs."""
    sizes: dict[str, int] = {}
    for name, spec in task.inputs.items():
        sizes |= {
            axis: size for axis, size in zip(spec.shape, inputs[name].shape, strict=True) if isinstance(axis, str)
        }
    if isinstance(task, PoseLift):
        sizes["poses"] = sizes["frames"] - task.receptive + 1
    shapes = {name: [sizes[a] if isinstance(a, str) else a for a in spec.shape] for name, spec in task.outputs.items()}
    return {name: np.zeros(shape, task.outputs[name].dtype) for name, shape in shapes.items()}


def process(endpoint: Endpoint, media: str, options: dict[str, Any], data: bytes) -> bytes:
    """Process a request with an endpoint; return the answer."""
    meta = _model(endpoint.kind)
    result, _ = run(endpoint, Body(data, media, JSON, options), lambda _: (meta, partial(_zeros, meta.task)), LIMITS)
    return endpoint.encode(result, meta, JSON).content


def _examples(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [{**example["value"]} for example in endpoint.examples().values()]


def _array(value: Any) -> np.ndarray | None:
    """Return a list of frames as an array, or None if a frame or joint is null or lengths differ."""
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError):
        return None
    return array if array.ndim >= 3 and np.isfinite(array).all() else None


def _with_arrays(endpoint: Endpoint) -> list[tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """Return the arrays and options of the examples whose lists can be arrays."""
    pairs = []
    for example in _examples(endpoint):
        arrays = {name: _array(example[name]) for name in LISTS if name in example}
        complete = {name: array for name, array in arrays.items() if array is not None}
        if arrays and len(complete) == len(arrays):
            pairs.append((complete, {name: value for name, value in example.items() if name not in LISTS}))
    return pairs


def _json(endpoint: Endpoint) -> list[bytes]:
    return [json.dumps(example).encode() for example in (*_examples(endpoint), *_documents(endpoint))]


def _documents(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return requests of bodies with a clip as OpenPose, AlphaPose and MMPose write it."""
    if endpoint not in (LIFT, POSES, ACTIONS):
        return []
    clip, options = _one_array(endpoint)
    name, deep = next(iter(set(LISTS) & set(_examples(endpoint)[0]))), clip.shape[-1] == 3
    rows = np.concatenate([clip, np.full((*clip.shape[:2], 1), 0.9, np.float32)], axis=-1)
    flat = [frame.ravel().tolist() for frame in rows]
    openpose = [{"people": [{f"pose_keypoints_{3 if deep else 2}d": numbers}]} for numbers in flat]
    alphapose = [{"image_id": f"{i}.jpg", "keypoints": numbers, "idx": 1} for i, numbers in enumerate(flat)]
    mmpose = [
        {"frame_id": i, "instances": [{"keypoints": f[:, :-1].tolist(), "keypoint_scores": f[:, -1].tolist()}]}
        for i, f in enumerate(rows)
    ]
    written = (openpose, {"instance_info": mmpose}, *([] if deep else [alphapose]))
    return [{**options, name: document} for document in written]


def _msgpack(endpoint: Endpoint) -> list[bytes]:
    raw = [
        {
            **options,
            **{n: a.tobytes() for n, a in arrays.items()},
            "dtype": "<f4",
            "shape": next(iter(arrays.values())).shape,
        }
        for arrays, options in _with_arrays(endpoint)
    ]
    return [msgspec.msgpack.encode(value) for value in (*_examples(endpoint), *raw)]


def _npz(endpoint: Endpoint) -> list[bytes]:
    files = []
    for arrays, options in _with_arrays(endpoint):
        np.savez(file := io.BytesIO(), **arrays, **{name: np.array(value) for name, value in options.items()})  # pyright: ignore[reportArgumentType] - NumPy's stub expects allow_pickle
        files.append(file.getvalue())
    return files


def _npy(endpoint: Endpoint) -> list[bytes]:
    return [npy(_one_array(endpoint)[0])]


def _one_array(endpoint: Endpoint) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the array and the options of the first example that is a single clip."""
    pairs = _with_arrays(endpoint)
    return next(
        (arrays[name], options) for arrays, options in pairs for name in ("past", "keypoints", "clip") if name in arrays
    )


def _npy_options(endpoint: Endpoint) -> dict[str, Any]:
    """Return the options of that example as a query string has them."""
    options = _one_array(endpoint)[1].items()
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value) for name, value in options
    }


def _packed_values(rng: Random, data: bytes) -> bytes:
    """Change values of a MessagePack document like `containers.values` does in JSON, and damage raw bytes."""
    document = msgspec.msgpack.decode(data)
    raw = {name: value for name, value in document.items() if isinstance(value, bytes)}
    rest = json.loads(containers.values(rng, json.dumps({k: v for k, v in document.items() if k not in raw}).encode()))
    if raw and rng.random() < 0.5:
        raw = {name: mutate(rng, value) for name, value in raw.items()}
    return msgspec.msgpack.encode({**rest, **raw} if isinstance(rest, dict) else rest)


def _forms() -> list[bytes]:
    """Return multipart forms with a scan and options."""
    scan, lines = ply("binary_little_endian"), []
    for name, disposition, content in (
        ("file", 'form-data; name="file"; filename="scan.ply"', scan),
        ("units", 'form-data; name="units"', b"mm"),
    ):
        del name
        lines += [b"--frontier", b"Content-Disposition: " + disposition.encode(), b"", content]
    return [b"\r\n".join([*lines, b"--frontier--", b""])]


def _form(data: bytes) -> object:
    """Decode a multipart form."""
    return FACE.decode(Body(data, upload.FORM, JSON, content_type=f"{upload.FORM}; boundary=frontier"))


def _reader(endpoint: Endpoint, media: str, seeds: Callable[[Endpoint], list[bytes]], inside: Any = None) -> Reader:
    def read(data: bytes) -> bytes:
        options = _npy_options(endpoint) if media == NPY else {}
        return process(endpoint, media, options, data)

    return Reader(read, partial(seeds, endpoint), (Problem,), inside)


FORMS = (
    ("json", JSON, _json, containers.values),
    ("msgpack", MSGPACK, _msgpack, _packed_values),
    ("npy", NPY, _npy, None),
    ("npz", NPZ, _npz, containers.members),
)
READERS = {
    f"{endpoint.name}.{suffix}": _reader(endpoint, media, seeds, inside)
    for endpoint in SINGLE
    if endpoint is not FACE
    for suffix, media, seeds, inside in FORMS
} | {"landmarks_face.form": Reader(_form, _forms, (Problem,))}
