"""The cost of gRPC beside HTTP for the tensors of the Open Inference Protocol: CPU of a call, import, memory and disk.

    OMP_NUM_THREADS=1 python -m benchmarks.grpc_cost [bundle] [--rounds 7] [--calls 500] [--clients 8]

Minimal servers (`benchmarks/peers/servers/transports.py`) answer messages of the size of the bundle's example with zeros, without a model.
They run in an environment of pinned packages, which takes 160 MB. The service answers the same request over HTTP with its model. All run at
once, and are called in turns, in another order in each round. CPU time is that of the server's processes. Three minutes.
"""

import argparse
import contextlib
import datetime
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.catalogue import SERVERS, Peer, environment
from benchmarks.peers.load import cpu_seconds, serving
from benchmarks.timing import machine
from models.contract.bundle import read_bundle
from training.engine.benchmark import markdown

RESULTS = Path(__file__).parent / "results" / "grpc-cost.json"
PACKAGES = (
    "grpcio==1.85.3", "protobuf==7.36.2", "tritonclient==2.69.0", "packaging==26.3", "uvicorn[standard]==0.54.0",
    "msgspec==0.23.0", "numpy==2.4.6",
)  # fmt: skip
SERVICE = "Chiron"
CELLS = (("grpc", "octets"), ("http", "octets"), ("grpc", "tensors"), ("http", "tensors"), (SERVICE, "tensors"))
WARM_UP_CALLS = 50
ADDED = """
import json, time
from importlib.metadata import distribution
import msgspec, numpy, uvicorn, uvloop
import uvicorn.protocols.http.httptools_impl
def resident(): return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))
cpu, memory = time.process_time(), resident()
import grpc.aio
from tritonclient.grpc import service_pb2
imported = {"import_ms": 1000 * (time.process_time() - cpu), "memory_mb": resident() - memory}
size = lambda name: sum(file.locate().stat().st_size for file in distribution(name).files if file.locate().is_file()) / 1e6
print(json.dumps({**imported, "grpcio_mb": size("grpcio"), "protobuf_mb": size("protobuf")}))
"""
Cell = tuple[str, str]  # the transport, or the service, and the form of its messages


@dataclass(frozen=True)
class Running:
    """A server that runs: its process group and its port."""

    group: int
    port: int


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, default=Path("bundles/hands-forecast"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=500, help="of each client in a round")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "chiron-peers")
    chosen = parser.parse_args()
    python = environment(Peer("gRPC", PACKAGES, (), {}), chosen.environments)
    spent = measured(python, chosen.bundle, CELLS, chosen.rounds, chosen.clients, chosen.calls)
    inputs, outputs = read_bundle(chosen.bundle).example()
    result = {
        "date": datetime.date.today().isoformat(), "machine": machine(), "cpus": os.cpu_count(), "bundle": chosen.bundle.name,
        "packages": PACKAGES, "clients": chosen.clients, "rounds": chosen.rounds, "calls": chosen.calls,
        "request_bytes": sum(array.nbytes for array in inputs.values()), "answer_bytes": sum(array.nbytes for array in outputs.values()),
        "rows": summarised(spent), "grpc_added": added(python, chosen.rounds),
    }  # fmt: skip
    print(table(result["rows"]))
    print(result["grpc_added"])
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def measured(
    python: Path, bundle: Path, cells: Sequence[Cell], rounds: int, clients: int, calls: int
) -> dict[Cell, list[float]]:
    """Return the CPU ms of a call at each server in each round; `python` runs the minimal servers and the clients."""
    spent: dict[Cell, list[float]] = {cell: [] for cell in cells}
    own = {"EXAMPLE": str((bundle / "example.npz").resolve()), "MODEL": bundle.name}
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers: dict[Cell, Running] = {}
        for number, cell in enumerate(cells):
            port = free_port()
            command = (
                [sys.executable, "-m", "service", "serve", "--port", str(port), "--bundles", str(bundle.parent)]
                if cell[0] == SERVICE
                else [python, SERVERS / "transports.py", *cell]
            )
            group = stack.enter_context(serving(command, {**own, "PORT": str(port)}, work / f"{number}.log"))
            servers[cell] = Running(group, port)

        def call(cell: Cell, count: int) -> None:
            transport = "http" if cell[0] == SERVICE else cell[0]
            command = [python, SERVERS / "callers.py", transport, cell[1], str(clients), str(count)]
            subprocess.run(command, env={**os.environ, **own, "PORT": str(servers[cell].port)}, check=True)

        for number in range(rounds):
            for cell in random.Random(number).sample(cells, len(cells)):
                call(cell, WARM_UP_CALLS)
                before = cpu_seconds(servers[cell].group)
                call(cell, calls)
                # each client makes one call before those that it counts
                spent[cell].append(1000 * (cpu_seconds(servers[cell].group) - before) / (clients * (calls + 1)))
    return spent


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def added(python: Path, times: int) -> dict[str, float]:
    """Return what gRPC adds to a process that has uvicorn: CPU ms of the import, MB of memory, and MB of packages on disk; medians."""
    runs = [
        json.loads(subprocess.run([python, "-c", ADDED], capture_output=True, text=True, check=True).stdout)
        for _ in range(times + 1)
    ][1:]  # the first run reads from the disk
    return {name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]}


def summarised(spent: Mapping[Cell, Sequence[float]]) -> list[dict[str, object]]:
    """Return medians over the rounds; ratios are of the same round, to the minimal HTTP server of the same form, with their range."""
    rows = []
    for (server, form), times in spent.items():
        ratios = sorted(time / http for time, http in zip(times, spent["http", form], strict=True))
        row: dict[str, object] = {"server": server, "form": form, "cpu_ms": round(statistics.median(times), 3)}
        low, middle, high = (round(ratio, 2) for ratio in (ratios[0], statistics.median(ratios), ratios[-1]))
        rows.append({**row, "of_http": middle, "of_http_range": [low, high]})
    return rows


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the comparison in Markdown, in order of forms and CPU time."""
    ordered = sorted(rows, key=lambda row: (row["form"], row["cpu_ms"]))
    header = ("server", "form", "CPU ms a call", "of HTTP", "range")
    return markdown(header, [tuple(map(str, row.values())) for row in ordered])


if __name__ == "__main__":
    main()
