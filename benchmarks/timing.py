"""CPU time of a function, and the machine it was taken on."""

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


def cpu_ms(*functions: Callable[[], object], runs: int = 100, warmup: int = 5) -> list[float]:
    """The median CPU time of a call of each function, in ms; they take turns, so that all meet the same moods of the machine."""
    taken: list[list[float]] = [[] for _ in functions]
    for run in range(warmup + runs):
        for function, times in zip(functions, taken, strict=True):
            begin = time.process_time()
            function()
            if run >= warmup:
                times.append(1000 * (time.process_time() - begin))
    return [statistics.median(times) for times in taken]


def machine() -> dict[str, str]:
    """What the figures depend on."""
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
