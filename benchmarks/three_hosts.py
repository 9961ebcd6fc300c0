"""A cluster on one machine, with faults: a host is killed, a network is cut, versions are promoted and rolled back, all under load.

    CHIRON_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.three_hosts [--results FILE]

Takes about four minutes. Needs root, iproute2, nginx, PostgreSQL, Redis, and pip install s3fs 'moto[server]' (moto_server on the PATH).

Four hosts are network namespaces on a bridge. `one` and `two` each have an API and a worker, with a state folder of their own. `data` has
PostgreSQL, Redis and the registry in an S3 server. `edge` has nginx, which all requests go through. Clients send forecasts without
pause, and one asks for jobs. Every step prints a line with the requests that failed since the one before.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cluster import MODEL, Cluster, Load, ask, cluster, until, version_of
from benchmarks.timing import machine
from models.contract.bundle import read_bundle

SPEC = {
    "kind": "train", "run": MODEL, "steps": 6, "validate_every": 6, "checkpoint_every": 1, "publish": False, "device": "cpu",
}  # fmt: skip
FINISHED = ("succeeded", "failed", "cancelled")
CLIENTS, CUT_S = 3, 12.0


class Story:
    """The steps of the run: each prints what the clients saw meanwhile."""

    def __init__(self, cluster: Cluster, load: Load) -> None:
        self._cluster, self._load, self._begun = cluster, load, time.monotonic()
        self.steps: list[dict[str, Any]] = []

    def step(self, name: str, action: Callable[[], object], settle_s: float = 4.0) -> None:
        """Do something under load, and report."""
        begun = time.monotonic()
        noted = action()
        seconds = time.monotonic() - begun
        time.sleep(settle_s)
        step = {"at_s": round(begun - self._begun, 1), "step": name, "took_s": round(seconds, 1), **self._load.report()}
        if noted is not None:
            step["noted"] = noted
        self.steps.append(step)
        print(json.dumps(step), flush=True)


def tell(cluster: Cluster, load: Load) -> list[dict[str, Any]]:
    """Run the steps and return their reports."""
    story = Story(cluster, load)
    jobs: list[str] = []
    published: list[str] = []

    def submit(count: int) -> None:
        for _ in range(count):
            body = SPEC | {"seeds": [len(jobs)]}
            jobs.append(cluster.send("POST", "/jobs", body, **{"idempotency-key": f"job-{len(jobs)}"})["id"])

    def serves(version: str) -> float:
        """Wait until both APIs forecast with a version; return the seconds."""
        begun = time.monotonic()
        for name in ("one", "two"):
            address = f"{cluster.hosts[name].address}:8000"
            until(
                f"version {version} on {name}",
                lambda a=address: version_of(ask(a, "POST", "/forecast/hands", load.body)[2]) == version,
            )
        return round(time.monotonic() - begun, 1)

    def promote(version: str) -> dict[str, Any]:
        cluster.send("POST", f"/models/{MODEL}/versions/{version}/promote")
        return {"both_serve_it_after_s": serves(version)}

    def busy(name: str) -> str:
        """Wait until the worker of a host runs a job; return the job."""
        return until(
            f"a job on {name}",
            lambda: next(
                (w["job"] for w in cluster.get("/workers")["workers"] if w["name"].startswith(name) and w["job"]), None
            ),
        )

    def taken_over(job: str, attempt: int) -> dict[str, Any]:
        begun = time.monotonic()
        info = until(f"another attempt at {job}", lambda: (i := cluster.get(f"/jobs/{job}"))["attempt"] > attempt and i)
        return {"job_runs_again_after_s": round(time.monotonic() - begun, 1), "on": info["worker"]}

    def kill_one() -> dict[str, Any]:
        job = busy("one")
        attempt = cluster.get(f"/jobs/{job}")["attempt"]
        cluster.hosts["one"].kill()
        return taken_over(job, attempt)

    def restart_one() -> None:
        cluster.hosts["one"].join()
        cluster.start_host("one")
        cluster.ready("one")
        cluster.workers(2)

    def cut_two() -> dict[str, Any]:
        job = busy("two")
        attempt = cluster.get(f"/jobs/{job}")["attempt"]
        cluster.hosts["two"].cut()
        noted = taken_over(job, attempt)
        time.sleep(max(0.0, CUT_S - noted["job_runs_again_after_s"]))
        cluster.hosts["two"].join()
        cluster.workers(2)
        return noted

    def cut_data() -> None:
        cluster.data.cut()
        time.sleep(CUT_S)
        cluster.data.join()
        until("/jobs after the cut", lambda: cluster.get("/jobs") is not None)

    def finish() -> dict[str, Any]:
        final = [
            until(f"the end of {j}", lambda j=j: (i := cluster.get(f"/jobs/{j}"))["state"] in FINISHED and i)
            for j in jobs
        ]
        listed = {job["id"] for job in cluster.get("/jobs?limit=200")["jobs"]}
        return {
            "jobs": dict(Counter(info["state"] for info in final)),
            "attempts": dict(Counter(info["attempt"] for info in final)),
            "lost": sorted(set(jobs) - listed),
        }

    story.step("load only", lambda: None, settle_s=8.0)
    story.step("publish two versions to S3", lambda: published.extend(map(cluster.publish, ("first", "second"))))
    story.step("promote the first", lambda: promote(published[0]))
    story.step("submit four jobs", lambda: submit(4))
    story.step("kill host one", kill_one)
    story.step(
        "promote the second while one is dead",
        lambda: cluster.send("POST", f"/models/{MODEL}/versions/{published[1]}/promote") and None,
    )
    story.step("start host one again", restart_one)
    story.step("both serve the second", lambda: {"after_s": serves(published[1])})
    story.step("submit four more jobs", lambda: submit(4))
    story.step("cut the network of host two", cut_two)
    story.step("all eight jobs end", finish)
    story.step("cut the network of the databases", cut_data)
    story.step("submit two more jobs", lambda: submit(2))
    withdrawn = f"/models/{MODEL}/versions/{published[1]}/rollback"
    story.step(
        "roll back",
        lambda: cluster.send("POST", withdrawn) and {"both_after_s": serves(published[0])},
    )
    story.step("all ten jobs end", finish)
    return story.steps


def main() -> None:
    """Run the cluster and print its log, then a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="file to write as well")
    options = parser.parse_args()
    source = read_bundle(Path("bundles") / MODEL)
    begun = time.monotonic()
    with cluster(source) as running:
        _, _, example = ask(running.edge.address, "GET", f"/models/{MODEL}/example")
        load = Load(running.edge.address, example)
        plan = [("POST", "/forecast/hands", 0.05)] * CLIENTS + [("GET", "/jobs?limit=5", 0.5)]
        clients = [threading.Thread(target=load.client, args=each, daemon=True) for each in plan]
        for client in clients:
            client.start()
        try:
            steps = tell(running, load)
        except BaseException:  # raised again: the logs are printed first
            for log in sorted(running.folder.glob("*/*.log")):
                print(f"--- {log}\n{log.read_text()[-1500:]}", file=sys.stderr)
            raise
        finally:
            load.over.set()
            for client in clients:
                client.join()
    result = {
        "date": datetime.now(UTC).date().isoformat(), "machine": machine(), "load": round(os.getloadavg()[0], 1),
        "seconds": round(time.monotonic() - begun), "requests": dict(load.total), "steps": steps,
    }  # fmt: skip
    print(json.dumps({name: result[name] for name in ("seconds", "requests")}))
    if options.results is not None:
        options.results.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
