"""Memory and failed requests of a server whose model is swapped 50 times under load.

    OMP_NUM_THREADS=1 python -m benchmarks.swaps [bundle] [swaps]

Two versions of the bundle are promoted in turn over HTTP while clients send its example. The server is a subprocess. Its memory is
compared between the tenth swap, when the allocator has reached its size, and the end.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import ask
from benchmarks.timing import machine
from models.contract.bundle import Bundle, read_bundle, write_bundle
from service.http.server import bind
from service.registry.versions import Lineage, Versions

RESULTS = Path(__file__).parent / "results" / "swaps.json"
CLIENTS, SETTLING_SWAPS, START_S = 2, 10, 120.0
PATHS = {
    "hand-forecast": "/forecast/hands",
    "pose-lift": "/poses/lift",
    "pose-forecast": "/forecast/poses",
    "action-recognition": "/actions/recognize",
}
LINEAGE = Lineage(
    job="j", attempt=1, run="benchmark", seed=0, data="none", data_sha256="0" * 64, git_commit="none", created_at=0.0
)  # fmt: skip


@dataclass
class Load:
    """Clients that repeat one request until `over` is set."""

    port: int
    path: str
    body: bytes
    over: threading.Event = field(default_factory=threading.Event)
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def client(self) -> None:
        """Send requests over one connection; record the seconds or the error of each."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        while not self.over.is_set():
            start = time.perf_counter()
            try:
                ask(connection, "POST", self.path, self.body, {"content-type": "application/json"})
                self.seconds.append(time.perf_counter() - start)
            except (ValueError, OSError) as error:
                self.failures.append(str(error))


def main() -> None:
    """Measure, print the figures, and save them with a description of the machine."""
    source = read_bundle(Path(sys.argv[1] if len(sys.argv) > 1 else "bundles/hands-eqmotion"))
    swaps = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    name = source.meta.name
    with tempfile.TemporaryDirectory(prefix="chiron-") as folder, server(Path(folder), source) as (port, pid):
        versions = [publish(Path(folder), source, title) for title in ("first", "second")]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        example = ask(connection, "GET", f"/models/{name}/example")
        load = Load(port, PATHS[source.meta.task.kind], example)
        clients = [threading.Thread(target=load.client) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        memory = [resident_mb(pid)]
        for swap in range(swaps):
            ask(connection, "POST", f"/models/{name}/versions/{versions[swap % 2]}/promote")
            memory.append(resident_mb(pid))
        load.over.set()
        for client in clients:
            client.join()
        memory.append(resident_mb(pid))
    seconds = sorted(load.seconds)
    results = {
        "machine": machine(),
        "bundle": name,
        "swaps": swaps,
        "requests": len(seconds),
        "failures": load.failures,
        "p50_ms": 1000 * seconds[len(seconds) // 2],
        "p99_ms": 1000 * seconds[int(0.99 * len(seconds))],
        "memory_mb": memory,
        "growth_mb": memory[-1] - memory[min(SETTLING_SWAPS, swaps)],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{swaps} swaps under {len(seconds)} requests, of which {len(load.failures)} failed")
    print(f"request p50 {results['p50_ms']:.1f} ms, p99 {results['p99_ms']:.1f} ms")
    print(f"memory at the start, after {SETTLING_SWAPS} swaps and at the end:", end=" ")
    print(", ".join(f"{memory[index]:.1f} MB" for index in (0, min(SETTLING_SWAPS, swaps), -1)))


def publish(folder: Path, source: Bundle, title: str) -> str:
    """Publish a version with the weights of `source` and another title; return the version."""
    inputs, outputs = source.example()
    extra = {"title.txt": title.encode()}
    meta = source.meta.model_copy(update={"title": title, "files": {}})
    bundle = write_bundle(folder / title / source.meta.name, meta, source.model.read_bytes(), inputs, outputs, extra)
    versions = Versions(folder / "state" / "models")
    versions.publish(versions.stage(bundle, LINEAGE), bundle.meta.version)
    return bundle.meta.version


@contextmanager
def server(folder: Path, source: Bundle) -> Iterator[tuple[int, int]]:
    """Run a server with only this bundle; yield its port and process id."""
    shutil.copytree(source.folder, folder / "bundles" / source.meta.name)
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--bundles", str(folder / "bundles")]
    environment = {**os.environ, "CHIRON_STATE": str(folder / "state")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/readyz")
                break
            except (OSError, ValueError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "log").read_text()[-2000:]) from None
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
