"""Cost of a long queue: an API with 100,000 queued jobs at rest, beside the same API with none.

    python -m benchmarks.queue_scale [--jobs N] [--seconds S] [--requests R] [--database URL] [--results FILE]

Takes about five minutes. Starts an API with the shipped models and its embedded broker, without workers. Prints JSON: the CPU of the API
and its broker in per cent of a core over S seconds at rest, and of requests the median duration and the API's CPU; each with an empty
queue, and with N jobs in the table and in the broker. At the end it empties the broker and waits until the API has sent all jobs again. An
empty PostgreSQL database can be named instead of SQLite.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import insert

from benchmarks.timing import machine
from models.contract.spec import TrainSpec
from service.jobs.database import open_database, writing
from service.jobs.queue.celery_app import PAGE, Sender
from service.jobs.records import Message
from service.jobs.schema import EVENTS, JOBS
from service.jobs.table import JobTable
from service.settings import Settings

SPEC = TrainSpec(run="hands-eqmotion", steps=40)
START_S, RESEND_S = 120.0, 5.0
TICKS = os.sysconf("SC_CLK_TCK")


class Api:
    """A running API in a folder, and its embedded broker."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, settings: Settings) -> None:
        self.process, self.port, self.settings = process, port, settings
        self.redis = Redis(unix_socket_path=str(settings.state / "redis" / "redis.sock"))

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of an answer. Raises RuntimeError for an error status."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(
            method, path, None if body is None else json.dumps(body), {"content-type": "application/json"}
        )
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"expected an answer of {method} {path}, got {answer.status}: {content[:200]!r}")
        return json.loads(content)

    def cpu_s(self) -> float:
        """Return the CPU seconds so far of the API, its children and the broker."""
        return sum(_cpu_s(pid) for pid in self._pids())

    def memory_mb(self) -> float:
        """Return the resident memory of the API process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _pids(self) -> Iterator[int]:
        pending = [self.process.pid]
        while pending:
            pid = pending.pop()
            yield pid
            for task in Path(f"/proc/{pid}/task").glob("*"):
                pending += map(int, (task / "children").read_text().split())


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def running(folder: Path, database: str | None) -> Iterator[Api]:
    """Start an API in a folder and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(state=folder, database_url=database)
    environment = {**os.environ, "CHIRON_STATE": str(folder), "CHIRON_RESEND_S": str(RESEND_S), "OMP_NUM_THREADS": "1"}
    if database is not None:
        environment["CHIRON_DATABASE_URL"] = database
    command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    api = Api(process, port, settings)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                api.request("GET", "/jobs")
                api.redis.ping()
                break
            except (OSError, RuntimeError, RedisError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield api
    finally:
        process.terminate()
        process.wait()


def fill(settings: Settings, count: int) -> None:
    """Insert queued jobs as `POST /jobs` does, and send them to the broker."""
    engine, sender = open_database(settings.database), Sender(settings)
    spec = SPEC.model_dump(mode="json")
    counts = {"kind": "train", "spec": spec, "queue": "cpu", "state": "queued", "attempt": 0, "losses": 0, "events": 1}
    for first in range(0, count, PAGE):
        messages = [Message(uuid.uuid4().hex, "cpu", time.time()) for _ in range(first, min(first + PAGE, count))]
        event = {"number": 1, "kind": "state", "data": {"state": "queued"}}
        with writing(engine) as connection:
            rows = [{**counts, "id": m.job, "created_at": m.sent_at, "sent_at": m.sent_at} for m in messages]
            connection.execute(insert(JOBS), rows)
            connection.execute(insert(EVENTS), [{**event, "job": m.job, "at": m.sent_at} for m in messages])
        if not sender.send(messages):
            raise RuntimeError("expected the broker to accept the jobs")
    sender.close()
    engine.dispose()


def repeated(api: Api, requests: int, call: Callable[[], object]) -> dict[str, float]:
    """Return the median duration of a call, and the API's CPU for one, in ms."""
    call()
    durations, cpu = [], api.cpu_s()
    for _ in range(requests):
        begun = time.perf_counter()
        call()
        durations.append(1e3 * (time.perf_counter() - begun))
    return {
        "median_ms": round(statistics.median(durations), 1),
        "cpu_ms": round(1e3 * (api.cpu_s() - cpu) / requests, 1),
    }


def measure(api: Api, seconds: float, requests: int) -> dict[str, Any]:
    """Measure an API at rest, and requests about jobs."""
    cpu, begun = api.cpu_s(), time.monotonic()
    time.sleep(seconds)
    idle = 100 * (api.cpu_s() - cpu) / (time.monotonic() - begun)
    listed = api.request("GET", "/jobs?limit=200")["jobs"]
    middle = f"{listed[0]['created_at'] / 2 + listed[-1]['created_at'] / 2!r}-{'0' * 32}" if listed else ""
    paths = {
        "GET /jobs": "/jobs",
        "GET /jobs?limit=200": "/jobs?limit=200",
        "GET /jobs?state=queued&kind=train": "/jobs?state=queued&kind=train",
        "GET /jobs?state=failed": "/jobs?state=failed",
        **({"GET /jobs?after=(middle)": f"/jobs?after={middle}"} if middle else {}),
    }
    answers = {name: repeated(api, requests, lambda p=path: api.request("GET", p)) for name, path in paths.items()}
    answers["POST /jobs"] = repeated(api, requests, lambda: api.request("POST", "/jobs", SPEC.model_dump(mode="json")))
    return {
        "idle CPU, % of a core": round(idle, 2),
        **answers,
        "API memory, MB": round(api.memory_mb()),
        "broker memory, MB": round(api.redis.info("memory")["used_memory"] / 1e6),  # pyright: ignore[reportIndexIssue] - a dict
    }


def resent(api: Api) -> dict[str, Any]:
    """Empty the broker, and wait until it has all queued jobs again."""
    engine = open_database(api.settings.database)
    jobs = JobTable(engine, lease_s=60).counts()["queued", "cpu"]
    engine.dispose()
    before = _length(api)
    api.redis.delete("cpu")
    begun, cpu = time.monotonic(), api.cpu_s()
    while _length(api) < jobs:
        time.sleep(1)
    seconds, used = time.monotonic() - begun, api.cpu_s() - cpu
    time.sleep(2 * RESEND_S)
    return {
        "queued jobs": jobs,
        "messages before": before,
        "messages sent again": _length(api),
        "seconds": round(seconds),
        "cpu_s": round(used, 1),
    }


def _length(api: Api) -> int:
    return int(api.redis.llen("cpu"))  # pyright: ignore[reportArgumentType] - an int


def main() -> None:
    """Parse the command line and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--database", help="URL of an empty PostgreSQL database")
    parser.add_argument("--results", type=Path, help="file to write as well")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="chiron-", dir="/tmp") as folder,
        running(Path(folder), options.database) as api,
    ):
        empty = measure(api, options.seconds, options.requests)
        fill(api.settings, options.jobs)
        time.sleep(2 * RESEND_S)
        full = measure(api, options.seconds, options.requests)
        lost = resent(api)
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "database": (options.database or "sqlite").partition(":")[0],
        "empty queue": empty,
        f"{options.jobs} queued jobs": full,
        "broker emptied": lost,
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if options.results is not None:
        options.results.write_text(text)


if __name__ == "__main__":
    main()
