"""Faults of a deployment by Docker Compose, and their effects on requests and jobs in seconds, bytes and exit codes.

    docker compose build && python -m benchmarks.compose [--compose "docker compose"] [NAME ...]

Run it in the checkout, on a machine where the ports are free; CHIRON_DATA must name a folder with data. It starts the stack without
building, as a separate project, and removes the project with its volumes at the end. All parts take about fifteen minutes of two cores.
"""

import argparse
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

API, PROMETHEUS = "http://127.0.0.1:8000", "http://127.0.0.1:9090"
KEYS = "first,second"  # Prometheus uses the first of several
KEY = "second"
SERVICES = ("api", "worker", "prometheus")  # and the services that these depend on
SHORT = {"kind": "train", "run": "hands-eqmotion", "steps": 6, "validate_every": 3, "checkpoint_every": 1}
LONG = SHORT | {"steps": 60, "validate_every": 60, "publish": False}
FINISHED = ("succeeded", "failed", "cancelled")
TOGETHER = 20  # concurrent requests that need a database which does not answer
LOG_S = 10.0  # period over which the growth of logs is measured


class Deployment:
    """A stack that `docker compose` runs."""

    def __init__(self, compose: str) -> None:
        self.compose = shlex.split(compose)

    def attempt(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Compose."""
        environment = {
            "COMPOSE_PROJECT_NAME": "chiron-faults",
            "COMPOSE_PROFILES": "metrics",
            "COMPOSE_PROGRESS": "plain",
            **os.environ,
            "CHIRON_API_KEYS": KEYS,
            **variables,
        }
        return subprocess.run([*self.compose, *arguments], check=False, capture_output=True, text=True, env=environment)

    def run(self, *arguments: str, **variables: str) -> str:
        """Run a command of Compose that must succeed, and return its output."""
        result = self.attempt(*arguments, **variables)
        assert result.returncode == 0, f"{arguments} ended with {result.returncode}: {result.stderr[-2000:]}"
        return result.stdout

    def seconds(self, *arguments: str) -> float:
        """Run a command of Compose and return its duration in seconds."""
        began = time.monotonic()
        self.run(*arguments)
        return time.monotonic() - began

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return Compose's description of the container of each service, stopped or not."""
        text = self.run("ps", "--all", "--format", "json")
        rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        return {row["Service"]: row for row in rows}

    def log(self, service: str) -> str:
        return self.run("logs", "--no-color", "--no-log-prefix", service)

    def log_growth(self, service: str) -> str:
        """Describe the growth of a service's log in bytes and lines a second."""
        before = self.log(service)
        time.sleep(LOG_S)
        new = self.log(service)[len(before) :]
        assert "Traceback" not in new, new[-2000:]
        return f"{len(new) / LOG_S:.0f} bytes and {new.count(chr(10)) / LOG_S:.1f} lines a second"

    def stop(self, service: str) -> str:
        """Stop a service; describe the duration and its exit code."""
        seconds = self.seconds("stop", service)
        return f"{seconds:.1f} s, exit code {self.containers()[service]['ExitCode']}"


def ask(path: str, body: Any = None, method: str | None = None, url: str = API) -> tuple[int, float, Any]:
    """Return status, seconds and content of an answer; status 0 if there was none."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    request = Request(url + path, data, {"content-type": kind, "x-api-key": KEY}, method=method)
    began = time.monotonic()
    try:
        with urlopen(request, timeout=120) as answer:
            status, content, media = answer.status, answer.read(), answer.headers.get("content-type", "")
    except HTTPError as refused:
        status, content, media = refused.code, refused.read(), refused.headers.get("content-type", "")
    except (OSError, HTTPException):
        return 0, time.monotonic() - began, None
    seconds = time.monotonic() - began
    return status, seconds, json.loads(content) if "json" in media else content


def until(holds: Callable[[], Any], limit_s: float = 600) -> float:
    """Wait until `holds` returns a true value; return the seconds until then."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < limit_s, f"expected the condition within {limit_s:g} s"
        time.sleep(0.2)
    return time.monotonic() - began


def submit(spec: dict[str, Any]) -> str:
    status, _, job = ask("/jobs", spec)
    assert status == 202, job
    return job["id"]


def job_is(job: str, holds: Callable[[dict[str, Any]], Any]) -> Callable[[], bool]:
    """Return a condition on a job for `until`."""

    def condition() -> bool:
        status, _, info = ask(f"/jobs/{job}")
        assert status != 200 or info["state"] not in ("failed", "cancelled"), info
        return status == 200 and bool(holds(info))

    return condition


def finished(job: str) -> str:
    """Wait until a job has ended; describe its state."""
    until(job_is(job, lambda info: info["state"] in FINISHED))
    info = ask(f"/jobs/{job}")[2]
    return f"{info['state']} in attempt {info['attempt']}"


def running(spec: dict[str, Any]) -> str:
    """Submit a training, wait for its third step, and return the job's id."""
    job = submit(spec)
    until(job_is(job, lambda info: (info["progress"] or {}).get("step", 0) >= 3))
    return job


def report(fault: str, effect: object) -> None:
    print(f"| {fault} | {effect} |", flush=True)


def requests(unused: Deployment) -> None:
    """Request forecasts and landmarks, and the state of the API in Prometheus."""
    status, _, ready = ask("/readyz")
    report("GET /readyz", f"{status}, {ready['status']}, {len(ready['models'])} models")
    hands, scan = ask("/models/hands-eqmotion/example")[2], ask("/models/face-se3unet/example")[2]
    for path, body in (("/forecast/hands", hands), ("/landmarks/face?filename=scan.ply", scan)):
        ask(path, body)  # the first one may start a process
        status, seconds, _ = ask(path, body)
        report(f"POST {path}", f"{status} in {seconds * 1e3:.0f} ms")
    seconds = until(
        lambda: [t["health"] for t in ask("/api/v1/targets", url=PROMETHEUS)[2]["data"]["activeTargets"]] == ["up"]
    )
    report("Prometheus has scraped the API", f"after {seconds:.0f} s")


def training(unused: Deployment) -> None:
    """Train, promote and serve a version."""
    began = time.monotonic()
    number = submit(SHORT)
    end = finished(number)
    report(f"a training of {SHORT['steps']} steps", f"{end}, {time.monotonic() - began:.0f} s")
    result = ask(f"/jobs/{number}")[2]["result"]
    promote = f"/models/{result['model']}/versions/{result['version']}/promote"
    status, seconds, _ = ask(promote, {}, "POST")
    served = ask("/forecast/hands", ask("/models/hands-eqmotion/example")[2])[2]["model"]["version"]
    report("its promotion", f"{status} in {seconds:.1f} s; served: {served == result['version']}")


def losses(stack: Deployment) -> None:
    """Kill the worker, restart Redis, and restart PostgreSQL, each during a training."""
    number = running(LONG)
    stack.run("kill", "worker")
    stack.run("start", "worker")
    report("worker killed in a training", finished(number))
    for service in ("redis", "postgres"):
        number = running(LONG)
        stack.run("restart", service)
        report(f"{service} restarted in a training", finished(number))


def paused(stack: Deployment) -> None:
    """Pause PostgreSQL; check that requests are answered, and that API and worker can be stopped."""
    stack.run("pause", "postgres")
    status, seconds, _ = ask("/jobs")
    report("PostgreSQL paused: GET /jobs", f"{status} after {seconds:.1f} s")
    for path in ("/metrics", "/readyz", "/models", "/jobs"):
        status, seconds, content = ask(path)
        state = f", {content['status']}" if path == "/readyz" else ""
        report(f"then GET {path}", f"{status} after {seconds:.2f} s{state}")
    report("the API logs", stack.log_growth("api"))
    stack.run("unpause", "postgres")
    report("PostgreSQL goes on: GET /jobs is 200", f"after {until(lambda: ask('/jobs')[0] == 200):.1f} s")
    stack.run("pause", "postgres")
    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(pool.map(lambda _: ask("/jobs"), range(TOGETHER)))
    longest = max(seconds for _, seconds, _ in answers)
    report(f"paused: {TOGETHER} GET /jobs at a time", f"{sorted({a[0] for a in answers})} within {longest:.1f} s")
    stack.run("unpause", "postgres")
    until(lambda: ask("/jobs")[0] == 200)
    stack.run("pause", "postgres")
    with ThreadPoolExecutor(TOGETHER) as pool:
        pending = [pool.submit(ask, "/jobs") for _ in range(TOGETHER)]
        time.sleep(1)
        report(f"paused, {TOGETHER} GET /jobs open: the API stops", stack.stop("api"))
        report("their answers", sorted({answer.result()[0] for answer in pending}))
    report("paused: the worker stops", stack.stop("worker"))
    stack.run("unpause", "postgres")
    stack.run("start", "api", "worker")
    until(lambda: ask("/jobs")[0] == 200 and ask("/workers")[2]["workers"])


def frozen_broker(stack: Deployment) -> None:
    """Pause Redis; check that jobs are accepted, and that API and worker can be stopped."""
    stack.run("pause", "redis")
    spec = SHORT | {"publish": False}
    for request in ("Redis paused: POST /jobs", "the next one"):
        status, seconds, number = ask("/jobs", spec)
        report(request, f"{status} after {seconds:.1f} s")
    report("the API stops", stack.stop("api"))
    report("the worker stops", stack.stop("worker"))
    stack.run("unpause", "redis")
    stack.run("start", "api", "worker")
    until(lambda: ask("/jobs")[0] == 200)
    report("Redis goes on: the job", finished(number["id"]))


def export(stack: Deployment) -> None:
    """Stop the worker while it exports a bundle."""
    number = submit(SHORT | {"seeds": [1]})
    request = Request(f"{API}/jobs/{number}/events", headers={"x-api-key": KEY})
    with urlopen(request, timeout=600) as events:
        next(line for line in events if b"exporting the bundle" in line)
    seconds = stack.stop("worker")
    info = ask(f"/jobs/{number}")[2]
    report(
        "worker stopped while it exports a bundle", f"{seconds}; the job: {info['state']}, attempt {info['attempt']}"
    )
    stack.run("start", "worker")


def without_database(stack: Deployment) -> None:
    """Stop PostgreSQL, and start a worker without it."""
    stack.run("stop", "worker", "postgres")
    report("PostgreSQL stopped: the API logs", stack.log_growth("api"))
    lines = len(stack.log("worker").splitlines())
    stack.run("up", "-d", "--no-build", "--no-deps", "--no-recreate", "worker")  # `start` would start PostgreSQL, too
    until(lambda: "waiting for the database" in "\n".join(stack.log("worker").splitlines()[lines:]))
    report("a worker started without it logs", stack.log_growth("worker"))
    starts = "\n".join(stack.log("worker").splitlines()[lines:]).count("waiting for the database")
    report("how often it says that it waits", starts)
    report("and it stops", stack.stop("worker"))
    stack.run("start", "postgres")
    stack.run("start", "worker")
    report(
        "PostgreSQL started: a worker is connected",
        f"after {until(lambda: (ask('/workers')[2] or {}).get('workers')):.0f} s",
    )


def data(stack: Deployment) -> None:
    """Start a worker whose data folder is missing, or empty."""
    new = ("up", "-d", "--no-build", "--no-deps", "worker")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        empty = os.path.join(folder, "empty")
        os.mkdir(empty)
        result = stack.attempt(*new, CHIRON_DATA=os.path.join(folder, "none"))
        refusal = (
            result.stderr.strip().splitlines()[-1] if result.returncode else "not refused: the engine has created it"
        )
        report("a data folder that does not exist", refusal)
        stack.run(*new, CHIRON_DATA=empty)
        until(lambda: any(worker["problem"] for worker in ask("/workers")[2]["workers"]))
        report("an empty one: GET /workers", next(w["problem"] for w in ask("/workers")[2]["workers"] if w["problem"]))
        seconds = until(lambda: stack.containers()["worker"]["Health"] == "unhealthy")
        report("and the worker is unhealthy", f"after {seconds:.0f} s")
    stack.run(*new)


def stops(stack: Deployment) -> None:
    """Stop API and worker without a fault."""
    until(lambda: [worker["problem"] for worker in ask("/workers")[2]["workers"]] == [None])
    for service in ("api", "worker"):
        report(f"a clean stop: {service}", stack.stop(service))


PARTS = (requests, training, losses, paused, frozen_broker, export, without_database, data, stops)


def main() -> None:
    """Start the stack, run the named parts, or all, and remove the stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compose", default="docker compose", help="the command of Compose")
    parser.add_argument("parts", nargs="*", metavar="NAME", help=", ".join(part.__name__ for part in PARTS))
    options = parser.parse_args()
    stack = Deployment(options.compose)
    print("| fault | effect |\n|---|---|")
    try:
        report("up", f"{stack.seconds('up', '-d', '--no-build', '--wait', *SERVICES):.0f} s")
        for part in PARTS:
            if not options.parts or part.__name__ in options.parts:
                part(stack)
    finally:
        stack.run("down", "--volumes")


if __name__ == "__main__":
    main()
