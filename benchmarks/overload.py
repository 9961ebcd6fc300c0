"""Load test of the service at three times its capacity: hands, faces, large JSON, uploads and stalled clients at once.

    python -m benchmarks.overload                      about 90 s; --seconds shortens the overload, --as NAME names the results

The server is a subprocess with the shipped bundles. Its capacity is measured first, with a few concurrent requests of each kind. Then
a mix of requests is sent at three times that rate, independently of the answers, while stalled clients send only half of their bodies.
Memory is the proportional set size of the server and all its processes.
"""

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving import ask
from benchmarks.timing import machine

RESULTS = Path(__file__).parent / "results" / "overload.json"
FACTOR, STALLED = 3, 16
TOGETHER = {
    "hands": 60,
    "faces": 16,
    "large JSON": 6,
    "uploads": 2,
}  # concurrent requests in the measurement of capacity
SHARES = {"hands": 70, "faces": 20, "large JSON": 8, "uploads": 2}  # per cent of the requests
LARGE_BYTES, UPLOAD_BYTES = 3_600_000, 8_000_000
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
    """Measurements of the overload: answers by status, times of accepted requests by kind, health checks and memory."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    healthz_s: list[float] = field(default_factory=list)
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
    with tempfile.TemporaryDirectory() as folder, server(options.bundles, Path(folder)) as (process, port):
        report = asyncio.run(measure(process.pid, port, options.seconds, options.rate))
    report |= {"machine": machine(), "load of the machine at the end": os.getloadavg()[0]}
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


async def measure(pid: int, port: int, seconds: float, rate: float | None) -> dict[str, Any]:
    """Measure the capacity, the overload and the recovery from it."""
    requests = messages(port)
    mix = random.Random(0).choices(list(SHARES), weights=list(SHARES.values()), k=100_000)
    for kind in requests:  # initialises what is initialised on first use
        await send(port, requests[kind])
    alone = statistics.median([(await send(port, requests["hands"]))[1] for _ in range(20)])
    rate = FACTOR * await capacity(port, requests) if rate is None else rate
    figures, end = Figures(), time.monotonic() + seconds
    idle_mb = memory_mb(pid)
    weighing = asyncio.create_task(weigh(pid, figures))
    with probing(port, figures):
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
        "healthz p99, s": round(percentile(figures.healthz_s, 99), 3),
        "healthz max, s": round(max(figures.healthz_s), 3),
        "memory idle, MB": round(idle_mb),
        "memory peak, MB": round(max(figures.memory_mb)),
        "recovery, s": round(recovery_s, 2),
    }


async def capacity(port: int, requests: dict[str, Message]) -> float:
    """Measure the capacity in requests of the mix per second, from the time of concurrent requests of each kind."""
    seconds = 0.0
    for kind, message in requests.items():
        start = time.monotonic()
        await asyncio.gather(*(send(port, message) for _ in range(TOGETHER[kind])))
        seconds += SHARES[kind] / 100 * (time.monotonic() - start) / TOGETHER[kind]
    return 1 / seconds


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
    """Request /healthz 20 times a second, one request at a time, and print the seconds of each."""
    while True:
        start = time.monotonic()
        with contextlib.suppress(OSError):
            get(port, "/healthz")
            print(time.monotonic() - start, flush=True)
        time.sleep(0.05)


@contextlib.contextmanager
def probing(port: int, figures: Figures):
    """Probe /healthz in a subprocess while the block runs."""
    command = [sys.executable, "-m", "benchmarks.overload", "--probe", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield
        process.terminate()
        figures.healthz_s += map(float, process.communicate()[0].split())


async def weigh(pid: int, figures: Figures) -> None:
    """Record the memory of the server's processes five times a second."""
    while True:
        figures.memory_mb.append(memory_mb(pid))
        await asyncio.sleep(0.2)


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
    return statistics.quantiles(values, n=100)[share - 1] if len(values) > 1 else values[0]


if __name__ == "__main__":
    main()
