"""Fuzzing of a reader in its own process with limited memory."""

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from benchmarks.fuzz.harness import Fault, Report, fuzz
from benchmarks.fuzz.table import readers

ADDRESS_SPACE = 6 << 30  # bytes; libraries take about 2 GB


def run_alone(name: str, inputs: int, seed: int) -> Report:
    """Fuzz one reader in its own process; the death of the process is a fault."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), limit_memory) as pool:
        try:
            return pool.submit(fuzz_named, name, inputs, seed).result()
        except BrokenProcessPool:
            return Report(faults=[Fault("error", "the process died", b"")])


def fuzz_named(name: str, inputs: int, seed: int) -> Report:
    """Fuzz the reader of this name."""
    return fuzz(readers()[name], inputs, seed)


def limit_memory() -> None:
    """Limit the address space of this process, so that a huge allocation fails at once."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
