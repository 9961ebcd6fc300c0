"""Waits for other processes and threads: every one ends on an event, and one generous timeout tells a busy machine from a lost event."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import httpx2

T = TypeVar("T")
PATIENCE_S = 300.0  # the timeout of every wait

# without certificates, which take 24 ms to load and no server here needs
get = partial(httpx2.get, timeout=PATIENCE_S, verify=False)
post = partial(httpx2.post, timeout=PATIENCE_S, verify=False)


def until(what: str, ask: Callable[[], T | None]) -> T:
    """Return what `ask` returns once it is not None; fail after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:g} s"
        time.sleep(0.05)
    return answer
