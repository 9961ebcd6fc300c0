"""The limits of a reader on damaged files: declared errors only, and memory and time in proportion to the file."""

import signal
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from benchmarks.fuzz.mutation import garbage, grown, mutate, splice

MEMORY_FACTOR, MEMORY_BYTES = 5, 50 << 20  # peak memory allowed: a multiple of the file, plus this
SECONDS = 2.0  # CPU time allowed for a damaged file of at most 128 KiB
TIMEOUT_S = 20  # timeout of a reader in CPU time, which a busy machine does not shorten
HANG_S = 300  # the same in wall-clock time, for one that waits
SIZES = (1 << 15, 1 << 18)  # bytes of grown files, whose times are compared
SUPERLINEAR = 4.0  # allowed growth of time, relative to the growth of the file
NEGLIGIBLE_S = 0.1
GARBAGE_SHARE, SPLICE_SHARE, GROWN_SHARE = 0.1, 0.1, 0.01
MAX_FAULTS = 20  # fuzzing of a reader stops after these


@dataclass(frozen=True)
class Reader:
    """A reader under test, with valid files and its declared errors.

    `inside` damages the contents of a container, because its checksums would detect other changes.
    """

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    errors: tuple[type[BaseException], ...]
    inside: Callable[[Random, bytes], bytes] | None = None


@dataclass(frozen=True)
class Fault:
    """A broken limit, and the input that broke it."""

    kind: str  # error, memory or time
    detail: str
    data: bytes


@dataclass
class Report:
    """The results of all inputs of one reader."""

    inputs: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)


class _TimeoutError(BaseException):
    """The timeout, raised inside a reader."""


def fuzz(reader: Reader, inputs: int, seed: int = 0) -> Report:
    """Run a reader on `inputs` damaged files and garbage; raise AssertionError if it refuses a valid file."""
    rng, report = Random(seed), Report()
    seeds = reader.seeds()
    for data in seeds:
        try:
            reader.read(data)
        except reader.errors as error:
            raise AssertionError(f"expected every seed to be read, got {error!r} for {data[:80]!r}") from None
    growths = max(1, int(GROWN_SHARE * inputs))
    damaged = _damaged(reader, seeds, inputs - growths * len(SIZES), rng)
    tracemalloc.start()
    previous = {number: signal.signal(number, _raise_timeout) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        for data in damaged:
            _try(reader, data, report)
            if len(report.faults) >= MAX_FAULTS:
                return report
        tracemalloc.stop()
        for _ in range(growths):
            _try_growing(reader, list(grown(rng, rng.choice(seeds), SIZES)), report)
    finally:
        tracemalloc.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return report


def _damaged(reader: Reader, seeds: list[bytes], count: int, rng: Random) -> Iterator[bytes]:
    """Yield `count` damaged files."""
    strange = int(GARBAGE_SHARE * count)
    yield from garbage(rng, strange)
    for _ in range(count - strange):
        one = rng.choice(seeds)
        if reader.inside is not None and rng.random() < 0.7:
            yield reader.inside(rng, one)
        elif rng.random() < SPLICE_SHARE:
            yield splice(rng, one, rng.choice(seeds))
        else:
            yield mutate(rng, one)


def _try(reader: Reader, data: bytes, report: Report) -> None:
    """Run one input and trace its memory."""
    tracemalloc.reset_peak()
    before, start = tracemalloc.get_traced_memory()[0], time.process_time()
    error = _run(reader, data, report)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1] - before
    report.inputs += 1
    report.slowest_s, report.peak_bytes = max(report.slowest_s, seconds), max(report.peak_bytes, peak)
    if error:
        report.faults.append(Fault("error", error, data))
    if peak > MEMORY_FACTOR * len(data) + MEMORY_BYTES:
        report.faults.append(Fault("memory", f"{peak / 1e6:.0f} MB for {len(data)} bytes", data))
    if seconds > SECONDS:
        report.faults.append(Fault("time", f"{seconds:.1f} s for {len(data)} bytes", data))


def _run(reader: Reader, data: bytes, report: Report) -> str | None:
    """Run one input; return the traceback of an undeclared error, or None."""
    signal.setitimer(signal.ITIMER_PROF, TIMEOUT_S)
    signal.alarm(HANG_S)
    try:
        reader.read(data)
        report.accepted += 1
    except reader.errors:
        pass
    except _TimeoutError:
        return f"did not return within {TIMEOUT_S} s of CPU time or {HANG_S} s"
    except Exception:  # an undeclared error is a fault
        return traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return None


def _try_growing(reader: Reader, files: list[bytes], report: Report) -> None:
    """Run a file grown to two sizes and compare the times."""
    seconds = []
    for data in files:
        start = time.process_time()
        if error := _run(reader, data, report):
            report.faults.append(Fault("error", error, data))
        seconds.append(time.process_time() - start)
        report.inputs += 1
    allowed = SUPERLINEAR * max(seconds[0], NEGLIGIBLE_S / 8) * len(files[1]) / max(len(files[0]), 1)
    if seconds[1] > max(allowed, NEGLIGIBLE_S):
        detail = f"{seconds[0]:.3f} s for {len(files[0])} bytes, but {seconds[1]:.3f} s for {len(files[1])}"
        report.faults.append(Fault("time", detail, files[1]))


def _raise_timeout(*_: object) -> None:
    raise _TimeoutError
