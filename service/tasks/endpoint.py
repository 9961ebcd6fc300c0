"""Values that every task's endpoint shares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from models.contract.bundle import Bundle

DECODE_ON_LOOP = 100_000  # bytes of JSON that take a quarter of a millisecond; more goes to a thread, for fairness


@dataclass(frozen=True)
class Example:
    """The way from a bundle's example to a request body for the endpoint of its kind of task."""

    body: Callable[[Bundle], Any]  # bytes of `media_type`, or a value of `schema`
    media_type: str = "application/json"
    schema: type[BaseModel] | None = None
