"""The base of every task: what is common to hands, faces and bodies."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict


class Counted(NamedTuple):
    """The words for the samples of a measurement and for the recordings that they come from."""

    samples: str
    recordings: str


class BaseTask(BaseModel):
    """The fields of every task: frozen, without unknown names, and with no restricted axis unless it says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    counted: ClassVar[Counted]
    later: ClassVar[
        tuple[str, ...]
    ] = ()  # fields younger than results; a fingerprint leaves them out at their defaults

    @property
    def axes(self) -> Mapping[str, Sequence[int]]:
        """Return the sizes that a named axis may have; an axis that is not listed is free."""
        return {}
