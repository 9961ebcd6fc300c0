"""CPU time of a request for many clips, by model and format, beside as many single requests.

    OMP_NUM_THREADS=1 CHIRON_DEADLINE_S=60 python -m benchmarks.batch [clips]

The server is a subprocess. Its CPU time is that of all its processes, from /proc, and so this runs on Linux only. The clips are the
bundle's example, two hands of 30 frames, each turned by its own angle.
"""

import http.client
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np

from benchmarks.serving import ask, server
from benchmarks.timing import machine

RESULTS = Path(__file__).parent / "results" / "batch.json"
BUNDLES = Path("bundles")
MODELS = ("hands-forecast", "hands-damped")
CLIPS, SINGLES, ROUNDS = 1000, 100, 3
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    clips = int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS
    results: dict[str, Any] = {"machine": machine(), "clips": clips}
    print("| model | format | MB | one request: CPU s, s | as many single requests: CPU s, s |\n|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        for model in MODELS:
            Path(folder, model).symlink_to((BUNDLES / model).resolve())
        measure(Path(folder), clips, results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def measure(bundles: Path, clips: int, results: dict[str, Any]) -> None:
    """Measure all models in a folder of bundles, and print a row for each model and format."""
    with server(bundles) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for model in MODELS:
            connection.close()
            items = clips_of(json.loads(ask(connection, "GET", f"/models/{model}/example")), clips)
            for form in ("application/json", "application/msgpack"):
                many, each = measured(connection, form, items)
                size = len(encoded(form, {"items": items})) / 1e6
                results[f"{model} {form}"] = {"MB": size, "one_request": many, "single_requests": each}
                cells = (f"{cpu:.2f}, {wall:.2f}" for cpu, wall in (many, each))
                print(f"| {model} | {form} | {size:.0f} | {' | '.join(cells)} |", flush=True)


def measured(connection: http.client.HTTPConnection, form: str, items: list[dict]) -> tuple[list[float], list[float]]:
    """Return the median CPU seconds and seconds of one request for all items, and of as many single ones, of which SINGLES are sent."""
    headers = {"content-type": form, "accept": form}
    many, singles = encoded(form, {"items": items}), [encoded(form, item) for item in items[:SINGLES]]

    def batch() -> None:
        connection.close()  # the server ends one that was idle while the request was made
        answer = decoded(form, ask(connection, "POST", "/forecast/hands:batch", many, headers))
        if answer["failed"] or len(answer["answers"]) != len(items):
            raise ValueError(f"expected {len(items)} answers, got {answer['failed'][:1]} and others")

    def one_by_one() -> None:
        connection.close()
        for body in singles:
            ask(connection, "POST", "/forecast/hands", body, headers)

    batch()  # starts the processes
    rounds = [(timed(batch), timed(one_by_one)) for _ in range(ROUNDS)]
    one, single = ([median(numbers) for numbers in zip(*kind, strict=True)] for kind in zip(*rounds, strict=True))
    return one, [number * len(items) / len(singles) for number in single]


def timed(function: Callable[[], None]) -> tuple[float, float]:
    """Return the CPU seconds of the server, the child of this process, and the seconds that a call takes."""
    (pid,) = children(os.getpid())
    cpu, begin = cpu_seconds(pid), time.perf_counter()
    function()
    return cpu_seconds(pid) - cpu, time.perf_counter() - begin


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and of its descendants that live."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(map(cpu_seconds, children(pid)))


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def clips_of(example: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the example `count` times, each turned about z by its own angle."""
    past = np.array([[[math.nan] * 3 if point is None else point for point in frame] for frame in example["past"]])
    items = []
    for angle in np.linspace(0, 2 * math.pi, count, endpoint=False):
        turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
        items.append({**example, "past": np.round(past @ turn.T, 6)})
    return items


def encoded(form: str, document: Any) -> bytes:
    """Return a request: arrays are lists in JSON, and raw floats with a shape in MessagePack."""
    if form == "application/json":
        return json.dumps(document, default=lambda array: array.tolist(), separators=(",", ":")).encode()
    return msgspec.msgpack.encode(packed(document))


def packed(value: Any) -> Any:
    """Return a document with raw floats and their shape in the place of `past`."""
    if isinstance(value, list):
        return [packed(item) for item in value]
    if "items" in value:
        return {"items": packed(value["items"])}
    return {**value, "past": value["past"].astype("<f4").tobytes(), "shape": value["past"].shape}


def decoded(form: str, content: bytes) -> Any:
    """Return an answer."""
    return (msgspec.json.decode if form == "application/json" else msgspec.msgpack.decode)(content)


if __name__ == "__main__":
    main()
