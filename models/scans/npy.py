"""Clouds as NumPy arrays, .npy."""

import numpy as np
from jaxtyping import Float

from models.contract.npy import MAGIC, BadArray, read_npy
from models.scans.cloud import Scan, TooBig, Unreadable
from models.scans.format import Format
from models.scans.text import MAX_COLUMNS


def read_cloud(data: bytes, max_points: int) -> Scan:
    """Read an array (points, 3 or more) of numbers of any size and byte order, x y z first."""
    try:
        array = read_npy(data)
    except BadArray as error:
        raise Unreadable(str(error)) from None
    return Scan(coordinates(array, "the .npy", max_points), None)


def coordinates(array: np.ndarray, what: str, max_points: int) -> Float[np.ndarray, "points 3"]:
    """Return the first three columns as float64; `what` names the array in messages. Raises Unreadable or TooBig."""
    if array.ndim != 2 or not 3 <= array.shape[1] <= MAX_COLUMNS:
        raise Unreadable(f"expected {what} of shape (points, 3 to {MAX_COLUMNS}), got {array.shape}")
    if len(array) > max_points:
        raise TooBig(f"expected at most {max_points} points, got {len(array)}")
    return np.ascontiguousarray(array[:, :3], dtype=np.float64)


FORMAT = Format((".npy",), read_cloud, (MAGIC,), ("application/x-npy",))
