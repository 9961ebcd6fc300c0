"""What goes over the wire: msgspec structs that decode it, and pydantic models that publish it in /openapi.json.

msgspec reads arrays of numbers several times faster than pydantic and takes neither `true` nor "1.5" for one. Hands are
described twice, and a test holds the two equal; the options of a scan are published as msgspec describes them.
"""

from typing import Literal

from pydantic import BaseModel

MIN_FPS, MAX_FPS, MAX_NAME = 5, 1000, 64
MAX_FILENAME, MAX_SUFFIX = 255, 8
Unit = Literal["m", "cm", "mm"]
Point = tuple[float, float, float]


class ModelVersion(BaseModel):
    name: str
    version: str


REACH_M = 1000.0  # float64 keeps a tenth of a picometre there; farther is a wrong unit or a broken tracker
