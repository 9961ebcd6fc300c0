"""Fields that requests and answers of several tasks have: their types, and the bounds of their values."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from msgspec import Meta
from pydantic import BaseModel

from models.contract.bundle import BundleMeta
from models.contract.task import MAX_FRAMES
from models.motion.timing import BadTimes, Timing, even_timing, timing_of
from service.http.problems import Problem
from service.inference.model import expected_error

MIN_FPS, MAX_FPS, MAX_NAME = 5, 1000, 64
MAX_FILENAME, MAX_SUFFIX = 255, 8
REACH_M = 1000.0  # float64 keeps a tenth of a picometre there; a point farther away has a wrong unit
Unit = Literal["m", "cm", "mm", "in", "ft"]
Axes = Literal["right-handed", "left-handed"]
Point = tuple[float, float, float]
Stamps = Annotated[list[float], Meta(max_length=MAX_FRAMES)]
STAMPS = (
    "the time of each frame instead of `fps`, in seconds, milliseconds, microseconds or nanoseconds, which the steps tell; "
    "from any start, and not necessarily even"
)


class ModelVersion(BaseModel):
    """The model that made an answer."""

    name: str
    version: str


def timing(fps: float | None, stamps: Sequence[float] | None, frames: int, pointer: str) -> Timing:
    """Return the times of a request's frames, from its rate or from its timestamps. Raises invalid-request."""
    if (fps is None) == (stamps is None):
        detail = (
            "missing required field `fps`, or `timestamps` in its place"
            if fps is None
            else "expected `fps` or `timestamps`, got both; leave one out"
        )
        raise Problem.at("invalid-request", "", detail)
    if fps is not None:
        return even_timing(frames, fps)
    assert stamps is not None, "one of both is there"
    if len(stamps) != frames:
        raise Problem.at("invalid-request", pointer, f"expected a time for each of {frames} frames, got {len(stamps)}")
    try:
        return timing_of(np.array(stamps, np.float64))
    except BadTimes as error:
        raise Problem.at("invalid-request", pointer, str(error)) from None


class _Described(NamedTuple):
    """The description of a model in an answer, which every answer has."""

    model: BundleMeta
    version: dict[str, str]
    errors: list[dict[str, Any]]


_described: dict[str, _Described] = {}  # of the version that answered last, by name


def with_model(document: Mapping[str, Any], model: BundleMeta) -> dict[str, Any]:
    """Return the document of an answer with the model's name and version, its measured errors, and beside `std` its intervals."""
    intervals = {"intervals": model.intervals} if "std" in document and model.intervals else {}
    known = _described.get(model.name)
    if known is None or known.model is not model:
        version = {"name": model.name, "version": model.version}
        known = _described[model.name] = _Described(model, version, expected_error(model))
    return {"model": known.version, **document, **intervals, "expected_error": known.errors}
