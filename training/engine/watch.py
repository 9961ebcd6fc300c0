"""The watcher of a long computation: it receives progress and activities, and may request a stop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Progress = Callable[[dict[str, Any]], None]


class Stopped(Exception):
    """A computation that was stopped before its end; finished results are kept."""


def _nothing(_: Any) -> None: ...


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """The receiver of a computation's progress, which also decides whether it stops.

    `progress` is called after every step of a training. `stop` is called before each step and between batches of a validation. `activity`
    is called with a sentence when something begins that does not stop half-way, such as the write of a checkpoint, and with None when it
    has ended. `bar` draws a progress bar in the terminal.
    """

    progress: Progress = _nothing
    stop: Callable[[], bool] = _never
    bar: bool = True
    activity: Callable[[str | None], None] = _nothing

    def check(self) -> None:
        """Raise Stopped if a stop is requested."""
        if self.stop():
            raise Stopped

    @contextmanager
    def doing(self, activity: str) -> Iterator[None]:
        """Report an activity for as long as the context lasts."""
        self.activity(activity)
        try:
            yield
        finally:
            self.activity(None)


UNWATCHED = Watch()
