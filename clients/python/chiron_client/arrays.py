"""Arrays on the way: MessagePack with raw little-endian floats, which is smaller and faster than lists of numbers."""

import io
from collections.abc import Mapping
from typing import Any, TypeVar, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Floats = NDArray[np.floating[Any]]


def floats(values: Any) -> Floats:
    """Return an array of float32 or float64: float32 stays, everything else becomes float64.

    None in lists stands for a frame, a point or a number that was not seen, and becomes NaN. Raises ValueError for uneven lists.
    """
    if isinstance(values, list | tuple) and (shape := _shape(values)) is not None:
        values = _filled(values, shape)
    array = np.asarray(values)
    return array if array.dtype == np.float32 else array.astype(np.float64)


def _shape(values: Any) -> tuple[int, ...] | None:
    """Return the shape of nested lists by their first items that are not None."""
    if not isinstance(values, list | tuple):
        return None if values is None else np.shape(values)
    inner = next((shape for value in values if (shape := _shape(value)) is not None), None)
    return None if inner is None else (len(values), *inner)


def _filled(values: Any, shape: tuple[int, ...]) -> Any:
    if values is None:
        return np.full(shape, np.nan)
    return [_filled(value, shape[1:]) for value in values] if isinstance(values, list | tuple) else values


def packed(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of arrays as the service takes them: bytes of one `shape` and one `dtype`.

    Raises ValueError where their shapes differ.
    """
    given = {name: floats(array) for name, array in arrays.items() if array is not None}
    shapes = {name: array.shape for name, array in given.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"expected arrays of one shape, got {shapes}")
    dtype = "<f4" if given and all(array.dtype == np.float32 for array in given.values()) else "<f8"
    fields: dict[str, Any] = {name: array.astype(dtype).tobytes() for name, array in given.items()}
    return {**fields, "shape": next(iter(shapes.values())), "dtype": dtype} if given else fields


def unpacked(value: Any, shape: Any = None, dtype: str = "<f4") -> Any:
    """Return a decoded answer with arrays in place of bytes, by the nearest `shape` and `dtype` above them."""
    if isinstance(value, dict):
        shape, dtype = value.get("shape", shape), value.get("dtype", dtype)
        return {key: unpacked(item, shape, dtype) for key, item in value.items()}
    if isinstance(value, list):
        return [unpacked(item, shape, dtype) for item in value] if value and not isinstance(value[0], float) else value
    return np.frombuffer(value, dtype).reshape(shape) if isinstance(value, bytes) else value


def read(value: Any, type_: type[T]) -> T:
    """Return a document as a value of a dataclass; fields that it does not have are left out, so newer services are read too."""
    return msgspec.convert(value, type_, dec_hook=_array)


def _array(type_: Any, value: Any) -> Any:
    if get_origin(type_) is not np.ndarray:
        raise NotImplementedError(f"expected an array, got {type_}")
    return value if isinstance(value, np.ndarray) else np.asarray(value, np.float64)


def npy(array: Floats) -> bytes:
    """Return the content of a .npy file."""
    np.save(file := io.BytesIO(), array, allow_pickle=False)
    return file.getvalue()
