"""Waits for events in other processes and threads, with one generous timeout that a busy machine does not reach."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import httpx2

T = TypeVar("T")
PATIENCE_S = 300.0  # the timeout of each wait

# without certificates: they take 24 ms to load, and no test server uses TLS
get = partial(httpx2.get, timeout=PATIENCE_S, verify=False)
post = partial(httpx2.post, timeout=PATIENCE_S, verify=False)


def until(event: str, poll: Callable[[], T | None]) -> T:
    """Return the first result of `poll` that is not None; fail after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := poll()) is None:
        assert time.monotonic() < deadline, f"expected {event} within {PATIENCE_S:g} s"
        time.sleep(0.05)
    return answer
