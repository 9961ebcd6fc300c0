"""A server process under load of wrk, and the bare graph on as many threads: requests a second, latencies, and CPU time."""

import contextlib
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.catalogue import Ask
from models.contract.runtime import onnxruntime

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
START_S = 60.0
SCRIPT = """
wrk.method = "POST"
wrk.body = io.open(os.getenv("WRK_BODY"), "rb"):read("*all")
for name, value in string.gmatch(os.getenv("WRK_HEADERS"), "([^\\n:]+):([^\\n]+)") do wrk.headers[name] = value end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.3f, "p99_ms": %.3f}\\n',
    summary.requests, summary.duration / 1e6, errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """The throughput, latency and CPU time of a server under load; `failed` counts answers that were no 2xx, and connections that broke."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # of all the server's processes, a request
    failed: int


@contextlib.contextmanager
def serving(command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run a server in a process group of its own while the block runs; yield the group, and end all of it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()


def wait_for(url: str, ask: Ask, log: Path) -> bytes:
    """Return the first good answer of a server that is starting. Raises TimeoutError with the end of its log after START_S."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            request = urllib.request.Request(url + ask.path, ask.body, dict(ask.headers))
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read()
        except (OSError, urllib.error.HTTPError) as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer from {url}{ask.path}: {error}\n{log.read_text()[-2000:]}") from error
            time.sleep(0.2)


def load(url: str, ask: Ask, group: int, clients: int, seconds: float, work: Path) -> Load:
    """Send a request again and again from as many clients as asked for, and measure. Raises ValueError if wrk fails."""
    script, body = work / "request.lua", work / "body"
    script.write_text(SCRIPT)
    body.write_bytes(ask.body)
    headers = "\n".join(f"{name}:{value}" for name, value in ask.headers.items())
    before = cpu_seconds(group)
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "-s", script, url + ask.path],
        env={**os.environ, "WRK_BODY": str(body), "WRK_HEADERS": headers},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    used = cpu_seconds(group) - before
    result = result_of(ran.stdout)
    return Load(
        result["requests"] / result["seconds"],
        result["p50_ms"],
        result["p99_ms"],
        1000 * used / max(1, result["requests"]),
        result["errors"],
    )


def result_of(output: str) -> dict[str, Any]:
    """Return the line that the script wrote at the end of wrk's output. Raises ValueError without one."""
    lines = [line.removeprefix("RESULT ") for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise ValueError(f"expected a line RESULT from wrk, got: {output[-500:]!r}")
    return json.loads(lines[-1])


def bare(model: Path, inputs: Mapping[str, np.ndarray], threads: int, seconds: float) -> tuple[float, float]:
    """Return how often a second the graph runs on so many threads, one call on each, and the CPU ms of a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    counts, end = [0] * threads, time.monotonic() + seconds

    def run(number: int) -> None:
        while time.monotonic() < end:
            session.run(None, dict(inputs))
            counts[number] += 1

    session.run(None, dict(inputs))
    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    begin, used = time.monotonic(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    total = sum(counts)
    return total / (time.monotonic() - begin), 1000 * (time.process_time() - used) / total


def cpu_seconds(group: int) -> float:
    """Return the CPU seconds of the processes of a group that are alive, and of their children that have ended."""
    total = 0.0
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    total += sum(map(int, fields[11:15])) * TICK_S
    return total
