"""Load test of the service at three times its capacity: hands, faces, large JSON, uploads and stalled clients at once.

    python -m benchmarks.overload                      about 90 s; --seconds shortens the overload, --as NAME names the results

The server is a subprocess with the shipped bundles. Its capacity is measured first: a mix of requests from 24 clients, each of which
waits for its answers. Then the same mix is sent at three times that rate, independently of the answers, while stalled clients send
only half of their bodies. Memory is the proportional set size of the server and all its processes.

Clients and server share the machine, as they would not in practice. The clients therefore run at a low priority (nice 10), so that the
benchmark measures the server and not how long the clients wait for a CPU. A subprocess at the server's priority probes /healthz. The
server's own figure beside it is the delay of its event loop, from /metrics.
"""

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving import ask
from benchmarks.timing import machine

RESULTS = Path(__file__).parent / "results" / "overload.json"
FACTOR, STALLED = 3, 16
NICENESS = 10  # of the clients
CLIENTS, CAPACITY_S = 24, 8.0  # of the measurement of capacity
SHARES = {"hands": 70, "faces": 20, "large JSON": 8, "uploads": 2}  # per cent of the requests
LARGE_BYTES, UPLOAD_BYTES = 3_600_000, 8_000_000
LIMIT_S = 0.25  # limit of /healthz
ANSWER_S = 120.0  # timeout of a client


@dataclass(frozen=True)
class Message:
    """The path, media type and body of a request."""

    path: str
    media: str
    body: bytes

    def head(self) -> bytes:
        """Return the request line and the headers of the only request on a connection."""
        lines = [f"POST {self.path} HTTP/1.1", "host: localhost", f"content-type: {self.media}"]
        return "\r\n".join([*lines, f"content-length: {len(self.body)}", "", ""]).encode()


@dataclass
class Figures:
    """Measurements of the overload: answers by status, times of accepted requests by kind, and memory."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)
    stalled: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the overload")
    parser.add_argument("--rate", type=float, help="requests a second; default: three times the capacity")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--as", dest="name", default="now", help="key in the file of results")
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe is not None:
        return probe(options.probe)
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        server(options.bundles, Path(folder)) as (process, port),
        probing(port) as probes,
    ):
        os.nice(NICENESS)
        report = asyncio.run(measure(process.pid, port, probes, options.seconds, options.rate))
    report |= {"machine": machine(), "load of the machine before": round(load, 1)}
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**results, options.name: report}, indent=1) + "\n")
    print("| figure | value |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in report.items() if not isinstance(value, dict)))
    for name in ("answers", "stalled clients", "accepted p99, s"):
        print(f"| {name} | {', '.join(f'{key}: {value}' for key, value in report[name].items())} |")


@contextlib.contextmanager
def server(bundles: Path, state: Path):
    """Run a service process on a free port while the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--bundles", str(bundles)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CHIRON_STATE": str(state),
        "CHIRON_MAX_CLIENT_CONNECTIONS": "100000",  # this process simulates many clients
    }
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                get(port, "/readyz")
                break
            time.sleep(0.1)
        yield process, port
    finally:
        process.terminate()
        process.wait(timeout=60)


def get(port: int, path: str) -> bytes:
    """Return the content at the path; raise OSError or ValueError unless the status is 200."""
    return ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "GET", path)


def messages(port: int) -> dict[str, Message]:
    """Build a request of each kind from the examples of the bundles."""
    hands = json.loads(get(port, "/models/hands-eqmotion/example"))
    frames = itertools.cycle(hands["past"])
    longer = {
        **hands,
        "past": [next(frames) for _ in range(LARGE_BYTES * len(hands["past"]) // len(json.dumps(hands)))],
    }
    scan = get(port, "/models/face-se3unet/example")
    rows = scan.split(b"end_header\n")[1]
    upload = rows * (UPLOAD_BYTES // len(rows))
    return {
        "hands": Message("/forecast/hands", "application/json", json.dumps(hands).encode()),
        "large JSON": Message("/forecast/hands", "application/json", json.dumps(longer).encode()),
        "faces": Message("/landmarks/face?units=m", "model/ply", scan),
        "uploads": Message("/landmarks/face?format=xyz&units=m", "application/octet-stream", upload),
    }


async def measure(
    pid: int, port: int, probes: Sequence[tuple[float, float]], seconds: float, rate: float | None
) -> dict[str, Any]:
    """Measure the capacity, the overload and the recovery from it."""
    requests = messages(port)
    mix = random.Random(0).choices(list(SHARES), weights=list(SHARES.values()), k=100_000)
    for kind in requests:  # initialises what is initialised on first use
        await send(port, requests[kind])
    alone = statistics.median([(await send(port, requests["hands"]))[1] for _ in range(20)])
    rate = FACTOR * await capacity(port, requests, mix) if rate is None else rate
    figures, end = Figures(), time.monotonic() + seconds
    idle_mb = memory_mb(pid)
    weighing = asyncio.create_task(weigh(pid, figures))
    before = loop_delays(port)
    stalling = [asyncio.create_task(stall(port, requests["large JSON"], figures)) for _ in range(STALLED)]
    sent = []
    for number, kind in enumerate(mix):
        due = end - seconds + number / rate
        if due >= end:
            break
        await asyncio.sleep(due - time.monotonic())
        sent.append(asyncio.create_task(record(port, kind, requests[kind], figures)))
    for task in stalling:
        task.cancel()
    end_of_overload = time.monotonic()
    while (answer := await send(port, requests["hands"]))[0] != "200" or answer[1] > 4 * alone + 0.1:
        await asyncio.sleep(0.05)
    recovery_s = time.monotonic() - end_of_overload
    await asyncio.gather(*sent)
    weighing.cancel()
    healthz_s = [taken for began, taken in list(probes) if end - seconds <= began <= end_of_overload]
    accepted = figures.statuses["200"]
    return {
        "seconds": seconds,
        "sent a second": round(rate, 1),
        "sent": len(sent),
        "accepted, a second": round(accepted / seconds, 1),
        "share refused": round(1 - accepted / len(sent), 3),
        "answers": dict(figures.statuses),
        "stalled clients": dict(figures.stalled),
        "accepted p99, s": {kind: round(percentile(times, 99), 3) for kind, times in sorted(figures.seconds.items())},
        "slowest accepted, s": round(max(itertools.chain.from_iterable(figures.seconds.values())), 3),
        "healthz median, s": round(statistics.median(healthz_s), 3),
        "healthz p99, s": round(percentile(healthz_s, 99), 3),
        "healthz max, s": round(max(healthz_s), 3),
        "healthz over 0.25 s": f"{sum(taken > LIMIT_S for taken in healthz_s)} of {len(healthz_s)}",
        "event loop's delay": delays_between(before, loop_delays(port)),
        "memory idle, MB": round(idle_mb),
        "memory peak, MB": round(max(figures.memory_mb)),
        "recovery, s": round(recovery_s, 2),
    }


async def capacity(port: int, requests: dict[str, Message], kinds: Iterable[str]) -> float:
    """Measure the requests of the mix answered per second to CLIENTS that each wait for their answers."""
    end, answered, kinds = time.monotonic() + CAPACITY_S, 0, iter(kinds)

    async def client() -> None:
        nonlocal answered
        while time.monotonic() < end:
            status, _ = await send(port, requests[next(kinds)])
            answered += status == "200"

    start = time.monotonic()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answered / (time.monotonic() - start)


async def record(port: int, kind: str, message: Message, figures: Figures) -> None:
    """Send a request; record its status and, if it was accepted, its time."""
    status, seconds = await send(port, message)
    figures.statuses[status] += 1
    if status == "200":
        figures.seconds.setdefault(kind, []).append(seconds)


async def send(port: int, message: Message) -> tuple[str, float]:
    """Send a request; return the status or the error, and the seconds from the connection to the last byte."""
    start = time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(message.head() + message.body)
                status = await status_of(reader)
            finally:
                writer.close()
    except TimeoutError:
        status = f"no answer in {ANSWER_S:g} s"
    except (OSError, asyncio.IncompleteReadError) as error:
        status = type(error).__name__
    return status, time.monotonic() - start


async def status_of(reader: asyncio.StreamReader) -> str:
    """Read an answer; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    return head[9:12].decode()


async def stall(port: int, message: Message, figures: Figures) -> None:
    """Repeatedly send half of a body and wait for the server's timeout."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(message.head() + message.body[: len(message.body) // 2])
                figures.stalled[await status_of(reader)] += 1
            finally:
                writer.close()
        await asyncio.sleep(0.5)


def probe(port: int) -> None:
    """Request /healthz 20 times a second, one request at a time, and print the start and the seconds of each."""
    while True:
        start = time.monotonic()
        with contextlib.suppress(OSError):
            get(port, "/healthz")
            print(start, time.monotonic() - start, flush=True)
        time.sleep(0.05)


@contextlib.contextmanager
def probing(port: int):
    """Probe /healthz in a subprocess while the block runs; yield a growing list of the start and the seconds of each probe."""
    command = [sys.executable, "-m", "benchmarks.overload", "--probe", str(port)]
    probes: list[tuple[float, float]] = []

    def collect() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            began, taken = map(float, line.split())
            probes.append((began, taken))

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        reader = threading.Thread(target=collect)
        reader.start()
        try:
            yield probes
        finally:
            process.terminate()
            reader.join()


def loop_delays(port: int) -> dict[float, float]:
    """Return the cumulative counts of the event loop's delays by upper bound in seconds."""
    found = re.findall(r'^chiron_event_loop_lag_seconds_bucket{le="(.+?)"} (.+)$', get(port, "/metrics").decode(), re.M)
    return {float(bound): float(count) for bound, count in found}


def delays_between(before: dict[float, float], after: dict[float, float]) -> str:
    """Describe the delays between two readings: the bounds of the median, of 99 % and of all."""
    counts = {bound: count - before.get(bound, 0) for bound, count in sorted(after.items())}
    total = max(counts.values(), default=0)
    if not total:
        return "not measured"
    bounds = [next(bound for bound, count in counts.items() if count >= share * total) for share in (0.5, 0.99, 1)]
    return "half within {:g} s, 99 % within {:g} s, all within {:g} s".format(*bounds)


async def weigh(pid: int, figures: Figures) -> None:
    """Record the memory of the server's processes twice a second."""
    while True:
        figures.memory_mb.append(memory_mb(pid))
        await asyncio.sleep(0.5)


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process and of its descendants, in MB."""
    total, pids = 0, [pid]
    while pids:
        process = pids.pop()
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(rollup.split("\nPss:")[1].split()[0])
            for thread in Path(f"/proc/{process}/task").iterdir():
                pids += map(int, (thread / "children").read_text().split())
    return total / 1024


def percentile(values: list[float], share: int) -> float:
    """Return the value below which `share` per cent of the values are."""
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1] if len(values) > 1 else values[0]


if __name__ == "__main__":
    main()
