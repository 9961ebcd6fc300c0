"""Fields that requests and answers of several tasks have: their types, and the bounds of their values."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from models.contract.bundle import BundleMeta
from service.inference.model import expected_error

MIN_FPS, MAX_FPS, MAX_NAME = 5, 1000, 64
MAX_FILENAME, MAX_SUFFIX = 255, 8
REACH_M = 1000.0  # float64 keeps a tenth of a picometre there; a point farther away has a wrong unit
Unit = Literal["m", "cm", "mm", "in", "ft"]
Axes = Literal["right-handed", "left-handed"]
Point = tuple[float, float, float]


class ModelVersion(BaseModel):
    """The model that made an answer."""

    name: str
    version: str


def with_model(document: Mapping[str, Any], model: BundleMeta) -> dict[str, Any]:
    """Return the document of an answer with the model's name and version, and its measured errors."""
    return {
        "model": {"name": model.name, "version": model.version},
        **document,
        "expected_error": expected_error(model),
    }
