"""Fault injection for jobs: killed processes, cancellations, slow child processes, and a full disk.

    CHIRON_DATA=... python -m benchmarks.job_faults [kills] [cancels] [slow-children] [full-disk]

All parts take about eight minutes on two cores. The full disk needs root to mount a file system.

kills: Two workers get 100 short trainings of the shipped forecaster. Every other one is cancelled; five seeds remain, ten times each.
Meanwhile workers are killed five times, the broker is emptied and killed, and the API is killed. cancels: Jobs of every kind are cancelled
and timed. slow-children: A worker whose child processes take 20 s to start runs three jobs. full-disk: A job writes its checkpoints to a
disk of 2 MB.
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
FINISHED = ("succeeded", "failed", "cancelled")
CHILD_SLEEPS_S = 20
CHILD_START = f"""
import sys, time
if any("billiard.spawn" in argument for argument in sys.orig_argv):  # a child process of a worker
    time.sleep({CHILD_SLEEPS_S})
"""


class Stack:
    """An API, its broker and two workers in a folder."""

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

    def start(self, *command: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a command of the service, with `more` environment variables, in its own process group."""
        command = (sys.executable, "-m", "service", *command)
        environment = self.environment | more
        return subprocess.Popen(command, env=environment, start_new_session=True, stdout=self.log, stderr=self.log)

    def request(self, path: str, body: dict[str, Any] | None = None, method: str = "GET") -> Any:
        """Return the answer, or None for an error status; retry while the API is down or answers 503."""
        data = None if body is None else json.dumps(body).encode()
        while True:
            message = Request(
                f"http://127.0.0.1:{self.port}{path}", data, {"content-type": "application/json"}, method=method
            )
            try:
                with urlopen(message, timeout=30) as answer:
                    content = answer.read()
                    return json.loads(content) if answer.headers["content-type"] == "application/json" else content
            except HTTPError as error:
                if error.code != 503:
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
        while not holds(job_info := self.request(f"/jobs/{job}")):
            time.sleep(0.2)
        return job_info

    def history(self, job: str) -> bytes | None:
        files = self.request(f"/jobs/{job}/artifacts")["artifacts"]
        return next((self.request(each["url"]) for each in files if each["name"].endswith("history.jsonl")), None)

    def close(self) -> None:
        for process in (*self.workers, self.api):
            process.terminate()
            process.wait()


def kills(stack: Stack) -> None:
    """Submit 100 jobs, cancel half of them, and kill workers, the broker and the API meanwhile."""
    start = time.monotonic()
    jobs = [stack.request("/jobs", SPEC | {"seeds": [number % SEEDS]}, "POST")["id"] for number in range(JOBS)]
    faults = [*[lambda n=n: stack.kill_worker(n % 2) for n in range(KILLS)], stack.kill_broker, stack.kill_api]
    for number, job in enumerate(jobs[::2]):
        stack.request(f"/jobs/{job}/cancel", method="POST")
        if number % 7 == 6 and faults:
            time.sleep(4)
            faults.pop(number % len(faults))()
    while faults:
        time.sleep(4)
        faults.pop()()
    final = {job: stack.wait(job, lambda info: info["state"] in FINISHED) for job in jobs}
    states = Counter(info["state"] for info in final.values())
    curves: dict[int, set[bytes | None]] = {}
    for job, info in final.items():
        if info["state"] == "succeeded":
            curves.setdefault(info["spec"]["seeds"][0], set()).add(stack.history(job))
    attempts = Counter(info["attempt"] for info in final.values() if info["state"] == "succeeded")
    print(
        f"{JOBS} jobs in {time.monotonic() - start:.0f} s: {dict(states)}; attempts of succeeded jobs: {dict(attempts)}"
    )
    print(
        f"different curves per seed: {max(len(curve) for curve in curves.values())} (expected 1), seeds: {len(curves)}"
    )
    assert sum(states.values()) == JOBS
    assert states["failed"] == 0
    assert all(final[job]["state"] == "succeeded" for job in jobs[1::2])
    assert all(len(curve) == 1 and None not in curve for curve in curves.values())


LONG = SPEC | {"steps": 100_000, "validate_every": 50_000, "checkpoint_every": 50_000}
CANCELLED = {
    "a training": LONG,
    "a training on two devices": LONG | {"devices": 2},
    "a table, before its first training": {"kind": "benchmark", "table": "hands"},
    "a table, in a training": {"kind": "benchmark", "table": "bodies"},
}
ROUNDS = 3
SETTLED_S = 4.0  # between the start of a job and its cancellation


def cancels(stack: Stack) -> None:
    """Time cancellations, from the request to the end of the job and to an idle worker."""
    for name, spec in CANCELLED.items():
        cancelled_s, idle_s = [], []
        for _ in range(ROUNDS):
            job = stack.request("/jobs", spec, "POST")["id"]
            in_training = "training" in name and "before" not in name
            stack.wait(
                job, lambda info, training=in_training: bool(info["progress"]) if training else bool(info["worker"])
            )
            time.sleep(SETTLED_S)
            start = time.monotonic()
            stack.request(f"/jobs/{job}/cancel", method="POST")
            state = stack.wait(job, lambda info: info["state"] in FINISHED)["state"]
            cancelled_s.append(time.monotonic() - start)
            while any(worker["job"] for worker in stack.request("/workers")["workers"]):
                time.sleep(0.05)
            idle_s.append(time.monotonic() - start)
            assert state == "cancelled"
        print(
            f"{name}: cancelled after at most {max(cancelled_s):.1f} s, worker idle after at most {max(idle_s):.1f} s"
        )
        assert max(cancelled_s) < 30, f"expected a cancellation within 30 s, got {max(cancelled_s):.1f} s"


def slow_children(stack: Stack) -> None:
    """Run three jobs on a worker that starts a new child process for each; starting one takes 20 s."""
    for worker in stack.workers:
        worker.terminate()
        worker.wait()
    hook = stack.state.parent / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(CHILD_START)
    path = os.pathsep.join(filter(None, [str(hook), os.environ.get("PYTHONPATH")]))
    worker = stack.start("worker", "--device", "cpu", PYTHONPATH=path, CHIRON_JOBS_A_PROCESS="1")
    start = time.monotonic()
    jobs = [stack.request("/jobs", SPEC | {"seeds": [seed]}, "POST")["id"] for seed in range(3)]
    final = [stack.wait(job, lambda info: info["state"] in FINISHED) for job in jobs]
    states = [info["state"] for info in final]
    seconds = time.monotonic() - start
    print(f"child processes that take {CHILD_SLEEPS_S} s to start: {states} in {seconds:.0f} s")
    assert states == ["succeeded"] * 3
    worker.terminate()
    worker.wait()
    stack.workers = [stack.start("worker", "--device", "cpu") for _ in range(2)]


def full_disk(stack: Stack) -> None:
    """Run a job whose folder is on a disk of 2 MB, and retry it after the disk has grown."""
    spec = SPEC | {"steps": 12, "validate_every": 6}
    expected = stack.history(
        stack.wait(stack.request("/jobs", spec, "POST")["id"], lambda info: info["state"] in FINISHED)["id"]
    )
    disk = stack.state / "jobs"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        job = stack.request("/jobs", spec, "POST")["id"]
        failed = stack.wait(job, lambda info: info["state"] in FINISHED)
        print(f"on a disk of 2 MB: {failed['state']}, {failed['detail'][:160]}")
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        stack.request(f"/jobs/{job}/retry", method="POST")
        again = stack.wait(job, lambda info: info["state"] in FINISHED)
        same = stack.history(job) == expected
        print(
            f"retried on 64 MB: {again['state']}, attempt {again['attempt']}, same curve as an undisturbed job: {same}"
        )
        assert (failed["state"], again["state"], same) == ("failed", "succeeded", True)
    finally:
        subprocess.run(["umount", disk], check=True)


def main() -> None:
    """Run the named parts, or all, in a temporary folder."""
    parts = {"kills": kills, "cancels": cancels, "slow-children": slow_children, "full-disk": full_disk}
    names = sys.argv[1:] or [name for name in parts if name != "full-disk" or os.geteuid() == 0]
    with tempfile.TemporaryDirectory(prefix="chiron-", dir="/tmp") as folder:
        stack = Stack(Path(folder))
        try:
            for name in names:
                parts[name](stack)
        finally:
            stack.close()
            stack.log.close()


if __name__ == "__main__":
    main()
