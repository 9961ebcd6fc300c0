"""Processes that decode large bodies and prepare them, apart from the event loop."""

import ctypes
import multiprocessing
import os
import signal
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from models.contract.freed_memory import return_freed_memory
from service.tasks.memory import enforce_limits

NICENESS = 5  # of a process: the event loop gets the CPU first
PR_SET_PDEATHSIG = 1  # of prctl(2)


def start_process() -> Executor:
    """Return an executor with one process, forked from one that has imported the tasks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["service.tasks.catalogue"])
    executor = ProcessPoolExecutor(1, mp_context=context, initializer=_begin_process)
    executor.submit(int).result()  # it starts with its first call
    return executor


def start_thread() -> Executor:
    """Return an executor with one thread, for servers without processes."""
    return ThreadPoolExecutor(1, thread_name_prefix="decoder")


def _begin_process() -> None:
    """Have a process yield the CPU to the event loop, limit and return its memory, leave Ctrl-C to its parent, and end with it."""
    with suppress(OSError):  # a sandbox that forbids it
        os.nice(NICENESS)
    return_freed_memory()
    np.linalg.eigh(
        np.ones((64, 64)) @ np.ones((64, 64))
    )  # OpenBLAS keeps the memory it takes now, before a request's limit
    enforce_limits()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
