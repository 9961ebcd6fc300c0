"""Latency and CPU of streams of hand forecasts at 90 Hz, for 1, 8 and 32 sessions against a real server process.

    OMP_NUM_THREADS=1 python -m benchmarks.stream [bundle ...]

Each session sends a frame of two hands as raw floats every 1/90 s, whether or not it was answered, and gets a forecast 50 ms ahead. A
latency is the time from sending a frame to the arrival of its forecast, in this process, which shares the processor with the server.
Measure on a quiet machine: `load` and `server_cpus` of a row say how quiet it was.
"""

import asyncio
import http.client
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks.serving import cpu_seconds, server
from benchmarks.timing import machine
from models.contract.bundle import read_bundle
from models.contract.cpus import usable_cpus
from models.contract.task import HandForecast
from service.tasks.hands.stream.messages import HEADER
from service.tasks.hands.stream.socket import PATH

RESULTS = Path(__file__).parent / "results" / "stream.json"
FPS, AHEAD_S = 90, 0.05
SESSIONS = (1, 8, 32)
WARM_UP_S, SECONDS = 2.0, 8.0  # the first second has no forecasts


def main() -> None:
    """Measure, print a table, and save it with a description of the machine and of its load."""
    folders = [
        Path(folder)
        for folder in sys.argv[1:] or ("bundles/hands-damped", "bundles/hands-forecast", "bundles/hands-eqmotion")
    ]
    results: dict[str, Any] = {"machine": machine(), "cpus": usable_cpus(), "fps": FPS, "seconds": SECONDS, "rows": []}
    print(
        "| model | sessions | load | p50 ms | p99 ms | forecasts a second | skipped | refused | server CPUs | CPU ms a forecast |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for folder in folders:
        bundle = read_bundle(folder)
        frames = at_rate(bundle.example()[0]["past"][0], bundle.meta.task)
        with server(folder.parent) as port:
            for sessions in SESSIONS:
                load = os.getloadavg()[0]  # of the last minute, before this row
                row = asyncio.run(measure(port, bundle.meta.name, sessions, frames))
                name = {"model": bundle.meta.name, "version": bundle.meta.version, "sessions": sessions}
                results["rows"].append({**name, "load": load, **row})
                figures = (load, *row.values())
                print(
                    "|", " | ".join([bundle.meta.name, str(sessions), *(f"{x:.3g}" for x in figures)]), "|", flush=True
                )
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def at_rate(past: Float[np.ndarray, "frames nodes 3"], task: Any) -> Float[np.ndarray, "new_frames nodes 3"]:
    """Return a clip of two hands at FPS, to be played to and fro."""
    assert isinstance(task, HandForecast), "expected a bundle that forecasts hands"
    pair = past if past.shape[1] == 42 else np.concatenate([past - [0.3, 0, 0], past], axis=1)
    places = np.arange(0, len(pair) - 1, task.fps / FPS)
    left, weight = places.astype(int), (places % 1)[:, None, None]
    clip = (1 - weight) * pair[left] + weight * pair[left + 1]
    return np.concatenate([clip, clip[-2:0:-1]])


async def measure(
    port: int, model: str, sessions: int, frames: Float[np.ndarray, "frames nodes 3"]
) -> dict[str, float]:
    """Return the latencies of so many sessions, and the CPU time of the server."""
    begin = time.perf_counter() + 0.5
    talks = [asyncio.create_task(talk(port, model, frames, begin + i / sessions / FPS)) for i in range(sessions)]
    await asyncio.sleep(begin + WARM_UP_S - time.perf_counter())
    before, start = await asyncio.to_thread(cpu_of_server, port), time.perf_counter()
    await asyncio.sleep(SECONDS)
    used, elapsed = await asyncio.to_thread(cpu_of_server, port) - before, time.perf_counter() - start
    answers = [answer for task in talks for answer in await task if start <= answer[0] < start + elapsed]
    latencies = np.array([latency for _, latency, _ in answers if not math.isnan(latency)])
    assert len(latencies), "expected forecasts, got none"
    skipped = sum(skipped for _, _, skipped in answers)
    return {
        "p50_ms": 1000 * float(np.percentile(latencies, 50)),
        "p99_ms": 1000 * float(np.percentile(latencies, 99)),
        "forecasts_a_second_and_session": len(latencies) / elapsed / sessions,
        "skipped_share": skipped / (skipped + len(answers)),
        "refused_share": 1 - len(latencies) / len(answers),
        "server_cpus": used / elapsed,
        "cpu_ms_a_forecast": 1000 * used / len(latencies),
    }


def cpu_of_server(port: int) -> float:
    """Return the CPU seconds that the server has used; over a new connection, because it closes those that are idle for 5 s."""
    return cpu_seconds(http.client.HTTPConnection("127.0.0.1", port))


async def talk(
    port: int, model: str, frames: Float[np.ndarray, "frames nodes 3"], begin: float
) -> list[tuple[float, float, int]]:
    """Stream until the measurement ends; return the time of each answer, its latency in seconds, and the frames skipped before it.

    The latency of a frame that was refused is NaN.
    """
    sent: list[float] = []
    answers: list[tuple[float, float, int]] = []

    async def send(stream: ClientConnection) -> None:
        for number in range(int((WARM_UP_S + SECONDS + 1) * FPS)):
            await asyncio.sleep(begin + number / FPS - time.perf_counter())
            points = frames[number % len(frames)].astype("<f4").tobytes()
            sent.append(time.perf_counter())
            await stream.send(HEADER.pack(number, 0, math.nan) + points)

    async with connect(f"ws://127.0.0.1:{port}{PATH}", compression=None) as stream:
        await stream.send(json.dumps({"fps": FPS, "model": model, "form": "raw", "at": [AHEAD_S]}))
        assert json.loads(await stream.recv())["kind"] == "ready"
        sending = asyncio.create_task(send(stream))
        sending.add_done_callback(lambda _: asyncio.ensure_future(stream.close()))
        try:
            async for message in stream:
                now = time.perf_counter()
                if isinstance(message, bytes):
                    number, skipped, _ = HEADER.unpack_from(message)
                    answers.append((now, now - sent[number], skipped))
                elif json.loads(message)["kind"] == "problem":  # not begun before the deadline
                    answers.append((now, math.nan, 0))
        except ConnectionClosed:
            pass
        await sending
    return answers


if __name__ == "__main__":
    main()
