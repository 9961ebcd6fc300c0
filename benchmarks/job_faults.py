"""What becomes of jobs when everything about them fails: 100 jobs, half cancelled, while parts are killed; cancelling; and a full disk.

    CHIRON_DATA=... python -m benchmarks.job_faults        some seven minutes of two cores; the full disk wants root, for its mount

Two workers are given 100 short trainings of the shipped forecaster. Every other one is cancelled, so that five seeds are left, ten times
over; meanwhile workers are killed five times, the broker is emptied and killed, and the API is killed. Then jobs of every kind are
cancelled and timed. Then the checkpoints of one job go to a disk of 2 MB.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from redis import Redis

JOBS, SEEDS, KILLS = 100, 10, 5
SPEC = {
    "kind": "train",
    "run": "hands-eqmotion",
    "steps": 4,
    "validate_every": 4,
    "checkpoint_every": 1,
    "publish": False,
}
OVER = ("succeeded", "failed", "cancelled")


class Stack:
    """API, workers and broker in a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.state = folder / "state"
        self.environment = {
            **os.environ, "CHIRON_STATE": str(self.state), "CHIRON_LEASE_S": "3", "CHIRON_RECONCILE_S": "0.3",
            "CHIRON_RESEND_S": "3", "CHIRON_JOBS_A_PROCESS": "100", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.log = (folder / "log").open("w")
        self.api = self.start("serve", "--port", str(self.port))
        self.workers = [self.start("worker", "--device", "cpu") for _ in range(2)]

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-m", "service", *command)
        return subprocess.Popen(command, env=self.environment, start_new_session=True, stdout=self.log, stderr=self.log)

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "GET") -> Any:
        """The answer, asked again while the API is away; None for one that is refused."""
        data = None if body is None else json.dumps(body).encode()
        while True:
            request = Request(
                f"http://127.0.0.1:{self.port}{path}", data, {"content-type": "application/json"}, method=method
            )
            try:
                with urlopen(request, timeout=30) as answer:
                    content = answer.read()
                    return json.loads(content) if answer.headers["content-type"] == "application/json" else content
            except HTTPError as refused:
                if refused.code != 503:
                    return None
            except (URLError, OSError):
                pass
            time.sleep(0.2)

    def kill_worker(self, number: int) -> None:
        os.killpg(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait()
        self.workers[number] = self.start("worker", "--device", "cpu")

    def kill_broker(self) -> None:
        with Redis(unix_socket_path=str(self.state / "redis" / "redis.sock")) as redis:
            redis.flushall()
            server: Any = redis.info("server")
            os.kill(server["process_id"], signal.SIGKILL)

    def kill_api(self) -> None:
        self.api.kill()
        self.api.wait()
        self.api = self.start("serve", "--port", str(self.port))

    def wait(self, job: str, holds: Callable[[dict], bool]) -> Any:
        while not holds(found := self.ask(f"/jobs/{job}")):
            time.sleep(0.2)
        return found

    def history(self, job: str) -> bytes | None:
        found = self.ask(f"/jobs/{job}/artifacts")["artifacts"]
        return next((self.ask(each["url"]) for each in found if each["name"].endswith("history.jsonl")), None)

    def close(self) -> None:
        for process in (*self.workers, self.api):
            process.terminate()
            process.wait()


def hundred(stack: Stack) -> None:
    """100 jobs, half cancelled, and everything killed meanwhile."""
    began = time.monotonic()
    jobs = [stack.ask("/jobs", SPEC | {"seeds": [number % SEEDS]}, "POST")["id"] for number in range(JOBS)]
    faults = [*[lambda n=n: stack.kill_worker(n % 2) for n in range(KILLS)], stack.kill_broker, stack.kill_api]
    for number, job in enumerate(jobs[::2]):
        stack.ask(f"/jobs/{job}/cancel", method="POST")
        if number % 7 == 6 and faults:
            time.sleep(4)
            faults.pop(number % len(faults))()
    while faults:
        time.sleep(4)
        faults.pop()()
    final = {job: stack.wait(job, lambda found: found["state"] in OVER) for job in jobs}
    states = Counter(found["state"] for found in final.values())
    curves: dict[int, set[bytes | None]] = {}
    for job, found in final.items():
        if found["state"] == "succeeded":
            curves.setdefault(found["spec"]["seeds"][0], set()).add(stack.history(job))
    attempts = Counter(found["attempt"] for found in final.values() if found["state"] == "succeeded")
    print(
        f"{JOBS} jobs in {time.monotonic() - began:.0f} s: {dict(states)}; attempts of those that succeeded: {dict(attempts)}"
    )
    print(
        f"different curves of one seed: {max(len(found) for found in curves.values())} (1: all the same), seeds: {len(curves)}"
    )
    assert sum(states.values()) == JOBS
    assert states["failed"] == 0
    assert all(final[job]["state"] == "succeeded" for job in jobs[1::2])
    assert all(len(found) == 1 and None not in found for found in curves.values())


LONG = SPEC | {"steps": 100_000, "validate_every": 50_000, "checkpoint_every": 50_000}
CANCELLED = {
    "a training": LONG,
    "a training on two devices": LONG | {"devices": 2},
    "a table, before its first training": {"kind": "benchmark", "table": "hands"},
    "a table, in a training": {"kind": "benchmark", "table": "bodies"},
}
ROUNDS = 3
SETTLED_S = 4.0  # after it has begun, and so in the middle of whatever comes first


def cancels(stack: Stack) -> None:
    """Seconds from the request to the job's end, and to a worker that has nothing to do."""
    for name, spec in CANCELLED.items():
        took, free = [], []
        for _ in range(ROUNDS):
            job = stack.ask("/jobs", spec, "POST")["id"]
            in_training = "training" in name and "before" not in name
            stack.wait(
                job, lambda found, training=in_training: bool(found["progress"]) if training else bool(found["worker"])
            )
            time.sleep(SETTLED_S)
            began = time.monotonic()
            stack.ask(f"/jobs/{job}/cancel", method="POST")
            state = stack.wait(job, lambda found: found["state"] in OVER)["state"]
            took.append(time.monotonic() - began)
            while any(worker["job"] for worker in stack.ask("/workers")["workers"]):
                time.sleep(0.05)
            free.append(time.monotonic() - began)
            assert state == "cancelled"
        print(f"{name}: cancelled after {max(took):.1f} s at most, its worker free after {max(free):.1f} s")
        assert max(took) < 5


def full_disk(stack: Stack) -> None:
    """A job whose folder is on a disk of 2 MB, and again once that is larger."""
    spec = SPEC | {"steps": 12, "validate_every": 6}
    wanted = stack.history(
        stack.wait(stack.ask("/jobs", spec, "POST")["id"], lambda found: found["state"] in OVER)["id"]
    )
    disk = stack.state / "jobs"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        job = stack.ask("/jobs", spec, "POST")["id"]
        failed = stack.wait(job, lambda found: found["state"] in OVER)
        print(f"on a disk of 2 MB: {failed['state']}, {failed['detail'][:160]}")
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        stack.ask(f"/jobs/{job}/retry", method="POST")
        again = stack.wait(job, lambda found: found["state"] in OVER)
        same = stack.history(job) == wanted
        print(
            f"retried on one of 64 MB: {again['state']}, attempt {again['attempt']}, the curve of an undisturbed job: {same}"
        )
        assert (failed["state"], again["state"], same) == ("failed", "succeeded", True)
    finally:
        subprocess.run(["umount", disk], check=True)


def main() -> None:
    """Both, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="chiron-", dir="/tmp") as folder:
        stack = Stack(Path(folder))
        try:
            hundred(stack)
            cancels(stack)
            if os.geteuid() == 0:
                full_disk(stack)
        finally:
            stack.close()
            stack.log.close()


if __name__ == "__main__":
    main()
