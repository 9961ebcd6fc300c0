"""Settings of the C library for memory that a process frees: keep it for the next allocation, or return it to the system.

By default glibc does both: it returns a large block, and from then on keeps blocks of up to that size, at most 32 MiB, and twice as much at
the end of each heap (mallopt(3), M_MMAP_THRESHOLD). Another C library has no such setting, and these functions do nothing there.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Keep it for the next step of a training, which saves a fifth of a step's time on a CPU.

    Every step asks for the same large blocks again, which would come page by page.
    """
    _set(block=1 << 30, end=(1 << 31) - 1)


def return_freed_memory() -> None:
    """Return blocks of 1 MiB and more as they are freed, and all but 4 MiB at the end of a heap.

    Smaller blocks are those of usual requests, which would come page by page each time.

    A service would otherwise keep some 70 MB in each of its processes after a few uploads (`python -m benchmarks.uploads`).
    """
    _set(block=1 << 20, end=4 << 20)


def _set(*, block: int, end: int) -> None:
    """Set the bytes from which a block is returned, and those from which the end of a heap is."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(M_MMAP_THRESHOLD, block)
    libc.mallopt(M_TRIM_THRESHOLD, end)
