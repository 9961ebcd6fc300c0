"""CPU time of functions, and a description of the machine."""

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


def cpu_ms(*functions: Callable[[], object], runs: int = 100, warmup: int = 5, in_a_row: int = 1) -> list[float]:
    """Return the median CPU time per call of each function, in ms; functions alternate, so that all see the same load of the machine.

    With `in_a_row` above 1, a function is called as often before the next one's turn, and the first call does not count: the others
    find in the cache what fits there, as in a service of one model. Otherwise the other functions have filled the cache.
    """
    measured: list[list[float]] = [[] for _ in functions]
    for run in range(warmup + runs):
        for function, times in zip(functions, measured, strict=True):
            for call in range(in_a_row):
                begin = time.process_time()
                function()
                if run >= warmup and (call or in_a_row == 1):
                    times.append(1000 * (time.process_time() - begin))
    return [statistics.median(times) for times in measured]


def machine() -> dict[str, str]:
    """Describe the processor and the versions of libraries."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.is_file()
        else []
    )
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "onnxruntime", "numpy")},
    }
