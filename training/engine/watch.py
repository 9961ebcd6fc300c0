"""Who looks on while something long runs: what is told of it, and whether it has to stop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Progress = Callable[[dict[str, Any]], None]


class Stopped(Exception):
    """It was told to stop before it was done; what it has finished is kept."""


def _nothing(_: dict[str, Any]) -> None: ...


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """`progress` is told after every step of a training; `stop` is asked before each; `bar` draws a bar in the terminal."""

    progress: Progress = _nothing
    stop: Callable[[], bool] = _never
    bar: bool = True

    def check(self) -> None:
        """Raises Stopped where `stop` says so."""
        if self.stop():
            raise Stopped


UNWATCHED = Watch()
