"""Chiron beside other servers of the same ONNX graph, under load: requests a second, latencies and CPU time.

    OMP_NUM_THREADS=1 python -m benchmarks.peers [bundle] [--rounds 3] [--seconds 4] [--clients 8]

It needs wrk, a package of most distributions. Peers get environments of their own, with pinned versions, in --environments; they take about
500 MB. In each round the servers are started one after another, in random order, and stopped. Just before each measurement the bare graph
runs on two threads, so that a ratio compares figures of the same moment. wrk shares the processor with the server: no ratio reaches 1.
Measure on a quiet machine.
"""

import argparse
import json
import os
import random
import socket
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from benchmarks.peers.catalogue import SERVERS, environment, peers
from benchmarks.peers.load import Load, bare, load, serving, wait_for
from benchmarks.timing import machine
from models.contract.bundle import read_bundle
from training.engine.benchmark import markdown

RESULTS = Path(__file__).parents[1] / "results"
THREADS, WARM_UP_S, BARE_S = 2, 1.0, 1.0
Cell = tuple[str, str]  # the server and the form of its requests


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, default=Path("bundles/hands-eqmotion"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "chiron-peers")
    parser.add_argument("--only", nargs="*", help="names of servers")
    chosen = parser.parse_args()
    bundle = read_bundle(chosen.bundle)
    inputs, _ = bundle.example()
    raw: dict[Cell, list[tuple[float, float]]] = defaultdict(list)
    loads: dict[Cell, list[Load]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        compared = [
            one for one in peers(bundle, inputs["past"][0], port, work) if not chosen.only or one.name in chosen.only
        ]
        pythons = {peer.name: environment(peer, chosen.environments) for peer in compared}
        for number in range(chosen.rounds):
            for peer in random.Random(number).sample(compared, len(compared)):
                own = {
                    "GRAPH": str(bundle.model.resolve()),
                    "PORT": str(port),
                    "PYTHONPATH": os.pathsep.join([str(SERVERS), os.environ.get("PYTHONPATH", "")]),
                }
                with serving([pythons[peer.name], *peer.arguments], own, work / "log") as group:
                    for form, ask in peer.asks.items():
                        wait_for(url, ask, work / "log")
                        load(url, ask, group, chosen.clients, WARM_UP_S, work)
                        raw[peer.name, form].append(bare(bundle.model, inputs, THREADS, BARE_S))
                        loads[peer.name, form].append(load(url, ask, group, chosen.clients, chosen.seconds, work))
                        print(f"round {number + 1}, {peer.name}, {form}: {loads[peer.name, form][-1]}", flush=True)
    summary = {cell: summarised(loads[cell], raw[cell]) for cell in loads}
    text = table(summary)
    print(text)
    setting = {
        "machine": machine(), "cpus": os.cpu_count(), "bundle": bundle.meta.name, "version": bundle.meta.version,
        "clients": chosen.clients, "rounds": chosen.rounds, "seconds": chosen.seconds,
        "packages": {peer.name: list(peer.packages) for peer in compared},
    }  # fmt: skip
    rows = [{"server": server, "form": form, **figures} for (server, form), figures in summary.items()]
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"peers-{bundle.meta.name}.json"
    target.write_text(json.dumps({**setting, "rows": rows}, indent=1) + "\n")


def summarised(loads: list[Load], raw: list[tuple[float, float]]) -> dict[str, float]:
    """Return medians over the rounds; ratios are of the same round, to the bare graph."""
    pairs = list(zip(loads, raw, strict=True))
    return {
        "per_second": statistics.median(one.per_second for one in loads),
        "of_bare": statistics.median(one.per_second / per_second for one, (per_second, _) in pairs),
        "p50_ms": statistics.median(one.p50_ms for one in loads),
        "p99_ms": statistics.median(one.p99_ms for one in loads),
        "cpu_ms": statistics.median(one.cpu_ms for one in loads),
        "fixed_ms": statistics.median(one.cpu_ms - ms for one, (_, ms) in pairs),
        "cpu_of_bare": statistics.median(one.cpu_ms / ms for one, (_, ms) in pairs),
        "failed": sum(one.failed for one in loads),
    }


def table(summary: Mapping[Cell, Mapping[str, float]]) -> str:
    """Return the comparison in Markdown, the fastest first."""
    rows = [
        (
            *(server, form, f"{row['per_second']:.0f}", f"{row['of_bare']:.2f}"),
            *(f"{row['p50_ms']:.0f} / {row['p99_ms']:.0f}", f"{row['cpu_ms']:.2f}", f"{row['fixed_ms']:.2f}"),
            *(f"{row['cpu_of_bare']:.2f}", f"{row['failed']:.0f}"),
        )
        for (server, form), row in sorted(summary.items(), key=lambda item: -item[1]["per_second"])
    ]
    header = ("server", "form", "requests/s", "of bare", "p50 / p99, ms", "CPU ms a request", "beyond the graph")
    return markdown((*header, "CPU of bare", "failed"), rows)


if __name__ == "__main__":
    main()
