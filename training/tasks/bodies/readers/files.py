"""Files of body data sets, read whole within a size limit and checked against the layout that a reader expects."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Int

from training.data.reading import MAX_BYTES, MAX_JSON_BYTES
from training.data.untrusted import load_numpy
from training.tasks.bodies.clips import MalformedBodies, UnknownBodies


def read_arrays(path: Path, dimensions: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz; `dimensions` maps each required array to its number of dimensions.

    Raises UnknownBodies, MalformedBodies, UntrustedFile.
    """
    if not path.is_file():
        raise UnknownBodies(f"no file {path}")
    arrays = load_numpy(path, MAX_BYTES)
    if not isinstance(arrays, dict):
        raise MalformedBodies(f"{path}: expected a .npz of arrays {', '.join(dimensions)}, got a single array")
    if missing := [name for name in dimensions if name not in arrays]:
        raise MalformedBodies(f"{path}: expected arrays {', '.join(dimensions)}, got none named {', '.join(missing)}")
    if wrong := [name for name, ndim in dimensions.items() if arrays[name].ndim != ndim]:
        expected = ", ".join(f"{name} of {dimensions[name]} dimensions" for name in wrong)
        shapes = ", ".join(f"{name} {arrays[name].shape}" for name in wrong)
        raise MalformedBodies(f"{path}: expected {expected}, got {shapes}")
    return arrays


def read_json(path: Path, type: Any, expected: str, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Decode a JSON file as `type`, which `expected` describes. Raises UnknownBodies, MalformedBodies."""
    if not path.is_file():
        raise UnknownBodies(f"no file {path}")
    if (size := path.stat().st_size) > max_bytes:
        raise MalformedBodies(f"{path}: expected at most {max_bytes:,} bytes, got {size:,}")
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except msgspec.DecodeError as error:
        raise MalformedBodies(f"{path}: expected {expected}: {error}") from error


def sequence_rows(path: Path, seq_start: Int[np.ndarray, " edges"], frames: int) -> list[slice]:
    """Return the rows of each sequence. Raises MalformedBodies unless `seq_start` rises from 0 to `frames`."""
    if len(seq_start) < 2 or seq_start[0] != 0 or seq_start[-1] != frames or (np.diff(seq_start) < 1).any():
        edges = f"{seq_start[0]} to {seq_start[-1]}" if len(seq_start) else "an empty array"
        raise MalformedBodies(f"{path}: expected seq_start to rise from 0 to the {frames} frames, got {edges}")
    return [slice(int(a), int(b)) for a, b in pairwise(seq_start)]


def check_joint_names(path: Path, names: np.ndarray, expected: Sequence[str]) -> None:
    """Raise MalformedBodies unless the file's joints have the expected names, in the expected order."""
    if tuple(names) != tuple(expected):
        raise MalformedBodies(f"{path}: expected joints {', '.join(expected)}, got {', '.join(map(str, names))}")


def check_per_sequence(path: Path, arrays: Mapping[str, np.ndarray], names: Sequence[str], sequences: int) -> None:
    """Raise MalformedBodies unless each named array has one entry a sequence."""
    if wrong := [name for name in names if len(arrays[name]) != sequences]:
        lengths = ", ".join(f"{name} {len(arrays[name])}" for name in wrong)
        raise MalformedBodies(f"{path}: expected one entry for each of the {sequences} sequences, got {lengths}")
