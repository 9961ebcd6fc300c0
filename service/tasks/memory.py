"""The memory of a request: its reservation, by the size of its body, and the limit of the process that reads it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from service.http.problems import Problem

# Bytes in memory for each byte of a body that arrives or waits: itself, and its copy on the way to a process.
ARRIVING = 2
SHORT = 512 << 10  # bytes of a request on the event loop beside its body, with its tensors and its answer
STATM = Path("/proc/self/statm")
DATA = 5  # index in it of the pages that RLIMIT_DATA counts


class Memory(NamedTuple):
    """The bytes that a process may take to decode, prepare and answer a request, beside those of ARRIVING."""

    per_byte: int  # of the body
    constant: int

    def of(self, size: int) -> int:
        """Return the bytes for a body of this size."""
        return self.constant + self.per_byte * size

    def largest(self, total: int) -> int:
        """Return the size of the largest body that fits into `total` bytes, 0 if none does."""
        return max(0, total - self.constant) // (self.per_byte + ARRIVING)


_enforced = False  # whether this process limits its memory


def enforce_limits() -> None:
    """Have `memory_limit` limit this process, which must compute for one request at a time."""
    global _enforced
    _enforced = sys.platform == "linux"


@contextmanager
def memory_limit(count: int) -> Iterator[None]:
    """Raise body-too-large if the process takes more than `count` further bytes in the block.

    A few bytes of a body can be many in memory, such as null in MessagePack. No estimate from the size alone bounds them all.
    """
    used = int(STATM.read_text().split()[DATA]) if _enforced else 0
    if not used:  # also in a sandbox that does not count it
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used * resource.getpagesize() + count, before[1]))
    try:
        yield
    except MemoryError:
        detail = f"expected contents that take at most {count} bytes in memory, got more; send them in parts or in a binary form"
        raise Problem("body-too-large", detail) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
