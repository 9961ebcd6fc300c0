"""Readers of poses in three dimensions as arrays: .npy, .npz, and JSON as requests and answers of the service have it."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from training.data.untrusted import load_numpy
from training.tasks.bodies.own.recorded import MAX_FRAMES, MAX_POINTS, MalformedMotion, Recorded

ARRAYS = ("joints", "poses", "clip", "keypoints")  # names of the poses, (frames, joints, 3)
MAX_BYTES = 256 << 20


def read_array(path: Path) -> Recorded:
    """Return the poses of a .npy, or of a .npz with one of ARRAYS and, if it says so, `fps`. Raises MalformedMotion, UntrustedFile."""
    arrays = load_numpy(path, MAX_BYTES)
    if not isinstance(arrays, dict):
        return Recorded(_poses(arrays))
    fps = arrays.get("fps")
    if fps is not None and (fps.size != 1 or fps.dtype.kind not in "iuf"):
        raise MalformedMotion(f"expected one number as fps, got {fps.dtype} {fps.shape}")
    return Recorded(_poses(arrays[_name(list(arrays))]), fps=None if fps is None else float(fps.reshape(())))


def read_json(content: bytes) -> Recorded:
    """Return the poses of a JSON object with one of ARRAYS, and its `fps`, `units`, `axes` and `joints`. Raises MalformedMotion."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedMotion(f"expected JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedMotion(f"expected an object with {' or '.join(ARRAYS)}, got {type(value).__name__}")
    stated: dict[str, Any] = {}
    for name, kind in (("fps", int | float), ("units", str), ("axes", str), ("joints", str)):
        found = value.get(name)
        if found is not None and not (name == "joints" and isinstance(found, list)):
            if isinstance(found, bool) or not isinstance(found, kind):
                raise MalformedMotion(
                    f"expected {name} as {'a number' if name == 'fps' else 'text'}, got {str(found)[:40]!r}"
                )
            stated[name] = found
    return Recorded(_poses(_listed(value[_name([one for one in value if one not in stated])])), **stated)


def _name(names: list[str]) -> str:
    if not (found := [one for one in ARRAYS if one in names]):
        raise MalformedMotion(
            f"expected poses as {', '.join(ARRAYS)}, got {', '.join(map(str, names))[:200] or 'nothing'}"
        )
    return found[0]


def _listed(frames: Any) -> np.ndarray:
    """Return nested lists as an array; null, for a frame or a joint, is NaN."""
    if not isinstance(frames, list):
        raise MalformedMotion("expected a list of frames")
    joints = max((len(frame) for frame in frames if isinstance(frame, list)), default=0)
    missing = [np.nan] * 3
    try:
        rows = [[missing if point is None else point for point in frame or [None] * joints] for frame in frames]
        return np.array(rows, np.float64)
    except (TypeError, ValueError):
        raise MalformedMotion("expected frames of joints of [x, y, z], with null for what was not seen") from None


def _poses(array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or array.shape[-1] != 3 or array.dtype.kind not in "iuf":
        raise MalformedMotion(f"expected numbers (frames, joints, 3), got {array.dtype} {array.shape}")
    if len(array) > MAX_FRAMES or array.shape[1] > MAX_POINTS:
        raise MalformedMotion(f"expected up to {MAX_FRAMES:,} frames of {MAX_POINTS} joints, got {array.shape}")
    return array.astype(np.float64)
