"""Memory of a server that is sent large scans: at rest, at its peak, and once they are answered.

    OMP_NUM_THREADS=1 python -m benchmarks.uploads                  about 40 s; --as NAME names the results

The server is a subprocess with the shipped bundles and a process for each core that decodes. Small scans come first, so that all processes
run and have imported what they need. Memory is the proportional set size of the server and all its processes.
"""

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.landmarks import NOISE_M, ply
from benchmarks.overload import get, memory_mb, server
from benchmarks.serving import ask
from benchmarks.timing import machine
from models.scans.files import read_scan

RESULTS = Path(__file__).parent / "results" / "uploads.json"
LOADS = {"5,000,000 points, 3 times": (5_000_000, 3, 1), "1,000,000 points, 20 times, 4 at a time": (1_000_000, 20, 4)}
SETTLING_S, WEIGHING_S = 1.0, 0.02


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as", dest="name", default="now", help="key in the file of results")
    name = parser.parse_args().name
    with tempfile.TemporaryDirectory() as state, server(Path("bundles"), Path(state)) as (process, port):
        small = get(port, "/models/face-se3unet/example")
        points = read_scan(small, ".ply", max_bytes=len(small), max_points=len(small)).points
        send(port, small, times=16, at_once=4)
        rows = [("at rest", memory_mb(process.pid), memory_mb(process.pid))]
        for load, (count, times, at_once) in LOADS.items():
            body = dense(points, count)
            with peak_mb(process.pid) as peak:
                send(port, body, times, at_once)
            time.sleep(SETTLING_S)
            rows.append((load, peak[0], memory_mb(process.pid)))
    print("| scans | peak, MB | afterwards, MB |\n|---|---|---|")
    print("\n".join(f"| {load} | {most:.0f} | {after:.0f} |" for load, most, after in rows))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    report = {load: {"peak_mb": round(most), "after_mb": round(after)} for load, most, after in rows}
    RESULTS.write_text(json.dumps({**results, name: {"machine": machine(), **report}}, indent=1) + "\n")


def dense(points: np.ndarray, count: int) -> bytes:
    """Return a binary PLY of as many points, which are those of a scan moved by noise."""
    rng = np.random.default_rng(0)
    noise = NOISE_M * rng.standard_normal((count, 3))
    return ply((points[rng.integers(len(points), size=count)] + noise).astype("<f4"))


def send(port: int, body: bytes, times: int, at_once: int) -> None:
    """Send a scan, `at_once` at a time; raise ValueError unless every answer is a 200."""

    def one(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        ask(connection, "POST", "/landmarks/face?units=m", body, {"content-type": "model/ply"})

    with ThreadPoolExecutor(at_once) as clients:
        list(clients.map(one, range(times)))


@contextmanager
def peak_mb(pid: int) -> Iterator[list[float]]:
    """Yield a list with the largest memory so far of a process and its descendants, in MB, while the block runs."""
    peak, done = [0.0], threading.Event()

    def weigh() -> None:
        while not done.wait(WEIGHING_S):
            peak[0] = max(peak[0], memory_mb(pid))

    thread = threading.Thread(target=weigh)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
