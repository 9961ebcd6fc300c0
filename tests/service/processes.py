"""Subprocesses of the service in a temporary folder: the API, workers, and the broker that the API starts."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from redis import Redis
from redis.exceptions import RedisError
from waiting import PATIENCE_S, get, post, until

from service.jobs.database import open_database
from service.jobs.table import JobTable
from service.settings import Settings


class Process:
    """A command of the service in its own process group, with its output in a file."""

    def __init__(self, folder: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.log = Path(tempfile.mkstemp(prefix=f"{arguments[0]}-", suffix=".log", dir=folder)[1])
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", *arguments],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the process and its children, as if the machine had lost power."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Send SIGTERM and wait."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


class Stack:
    """The processes that share one state folder."""

    def __init__(self, folder: Path, data: Path, bundles: Path, **more: str) -> None:
        self.folder, self.state = folder, folder / "state"
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CHIRON_STATE": str(self.state),
            "CHIRON_DATA": str(data),
            "CHIRON_BUNDLES": str(bundles),
            "CHIRON_LEASE_S": "10",  # a busy machine renews a lease late
            "CHIRON_RECONCILE_S": "0.3",
            **more,
        }
        self.processes: list[Process] = []
        self.url = ""

    def api(self) -> Process:
        """Start an API, wait until it is ready, and set `url` to its address."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = self._begin(["serve", "--port", str(port)])
        self.url = url = f"http://127.0.0.1:{port}"

        def ready() -> bool | None:
            assert process.process.poll() is None, process.log.read_text()
            try:
                return True if get(f"{url}/readyz").status_code == 200 else None
            except httpx2.TransportError:
                return None

        until("a ready API", ready)
        return process

    def worker(self, **more: str) -> Process:
        """Start a worker, with `more` environment variables, and wait until it is connected."""
        before = {worker["name"] for worker in self.get("/workers")["workers"]}
        process = self._begin(["worker", "--device", "cpu"], **more)

        def connected() -> bool | None:
            assert process.process.poll() is None, process.log.read_text()
            now = {worker["name"] for worker in self.get("/workers")["workers"]}
            return True if now - before and "ready." in process.log.read_text() else None

        until("a connected worker", connected)
        return process

    def redis(self) -> Redis:
        return Redis(unix_socket_path=str(self.state / "redis" / "redis.sock"))

    def table(self) -> JobTable:
        """Open the job table without the API."""
        return JobTable(open_database(Settings(state=self.state).database), lease_s=10)

    def get(self, path: str) -> Any:
        response = get(self.url + path)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: dict | None = None, **headers: str) -> Any:
        response = post(self.url + path, json=body, headers=headers)
        assert response.status_code in (200, 202), response.text
        return response.json()

    def submit(self, **spec: Any) -> str:
        return self.post("/jobs", spec)["id"]

    def job(self, job: str) -> Any:
        return self.get(f"/jobs/{job}")

    def ended(self, job: str) -> Any:
        """Wait until a job has ended; return it."""

        def over() -> Any:
            status = self.job(job)
            return status if status["state"] in ("succeeded", "failed", "cancelled") else None

        return until(f"the end of job {job}", over)

    def reached(self, job: str, step: int) -> None:
        """Wait until a job has reached `step`."""

        def has_reached() -> bool | None:
            status = self.job(job)
            assert status["state"] in ("queued", "running"), status
            return True if (status["progress"] or {}).get("step", 0) >= step else None

        until(f"job {job} to reach step {step}", has_reached)

    def history(self, job: str) -> list[dict[str, float]]:
        """Download the learning curve of a training job."""
        names = [a["name"] for a in self.get(f"/jobs/{job}/artifacts")["artifacts"]]
        (name,) = [name for name in names if name.endswith("history.jsonl")]
        text = get(f"{self.url}/jobs/{job}/artifacts/{name}").text
        return [json.loads(line) for line in text.splitlines()]

    def _begin(self, arguments: list[str], **more: str) -> Process:
        process = Process(self.folder, arguments, {**self.environment, **more})
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Stop all processes, workers first; the broker ends with the API that owns it."""
        for process in reversed(self.processes):
            process.stop()
        pid = _server_pid(self.state)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError("expected the embedded broker to end with the API that owns it")


def _server_pid(state: Path) -> int | None:
    try:
        with Redis(unix_socket_path=str(state / "redis" / "redis.sock"), socket_timeout=2) as redis:
            return int(redis.info("server")["process_id"])
    except (RedisError, OSError):
        return None


@contextmanager
def stack(data: Path, bundles: Path, **more: str) -> Iterator[Stack]:
    """Run a stack in a folder with a short path, since the length of a socket's path is limited."""
    with tempfile.TemporaryDirectory(prefix="chiron-", dir="/tmp") as folder:
        running = Stack(Path(folder), data, bundles, **more)
        try:
            yield running
        finally:
            running.close()
