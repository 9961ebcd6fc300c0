"""Backup and restore, and an upgrade with two versions running, tried on PostgreSQL, Redis and a registry in a folder.

    OMP_NUM_THREADS=1 python -m benchmarks.upkeep backup
    OMP_NUM_THREADS=1 python -m benchmarks.upkeep upgrade COMMIT

`backup` copies a running service with the commands of docs/operations.md, destroys it, and restores it. `upgrade` starts the service as it
was at COMMIT, then this one beside it on the same stores: this one migrates the tables, and both must go on.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.postgres import Postgres, postgres_server
from benchmarks.proxies import free_port, program
from benchmarks.swaps import publish
from benchmarks.timing import machine
from models.contract.bundle import read_bundle

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "upkeep.json"
MODEL, START_S, RESEND_S, KEPT_S = "hands-damped", 180.0, 1.0, 6.0
JOB = {"kind": "train", "run": "hands-eqmotion"}


@dataclass(frozen=True)
class Installation:
    """The stores and folders of one installation of the service."""

    folder: Path
    postgres: Postgres
    redis_port: int

    @property
    def registry(self) -> Path:
        """Return the folder of the versions."""
        return self.folder / "state" / "models"

    @contextmanager
    def api(self, checkout: Path = CHECKOUT, name: str = "api") -> Iterator[httpx2.Client]:
        """Run the service of a checkout; yield a client once it is ready."""
        port = free_port()
        settings = {
            "CHIRON_DATABASE_URL": self.postgres.url,
            "CHIRON_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "CHIRON_STATE": str(self.folder / "state"),
            "CHIRON_BUNDLES": str(self.folder / "bundles"),
            "CHIRON_RESEND_S": str(RESEND_S),
            "PYTHONPATH": str(checkout),
        }
        command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
        with program(["env", "-C", str(checkout), *command], self.folder / f"{name}.log", **settings):
            client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
            end = time.monotonic() + START_S
            while True:
                try:
                    client.get("/readyz").raise_for_status()
                    break
                except httpx2.HTTPError:
                    if time.monotonic() > end:
                        raise TimeoutError((self.folder / f"{name}.log").read_text()[-2000:]) from None
                    time.sleep(0.1)
            yield client


@contextmanager
def installation() -> Iterator[Installation]:
    """Run the stores of an installation in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="chiron-upkeep-") as name, postgres_server() as postgres:
        folder, port = Path(name), free_port()
        shutil.copytree(CHECKOUT / "bundles" / MODEL, folder / "bundles" / MODEL)
        broker = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", name]
        with program(broker, folder / "redis.log"):
            yield Installation(folder, postgres, port)


def submit(client: httpx2.Client) -> str:
    """Submit a job; return its id."""
    answer = client.post("/jobs", json=JOB)
    answer.raise_for_status()
    return answer.json()["id"]


def jobs(client: httpx2.Client) -> dict[str, str]:
    """Return the state of each job by id."""
    return {job["id"]: job["state"] for job in client.get("/jobs").raise_for_status().json()["jobs"]}


def served(client: httpx2.Client) -> str:
    """Return the version that answers, after one forecast by it."""
    example = client.get(f"/models/{MODEL}/example").raise_for_status().json()
    client.post("/forecast/hands", json=example).raise_for_status()
    return client.get(f"/models/{MODEL}").raise_for_status().json()["version"]


def promote(client: httpx2.Client, version: str) -> None:
    """Promote a version of MODEL."""
    client.post(f"/models/{MODEL}/versions/{version}/promote").raise_for_status()


def backup() -> dict[str, Any]:
    """Copy a running installation, destroy it, restore it; return what took how long."""
    source = read_bundle(CHECKOUT / "bundles" / MODEL)
    with installation() as here:
        copy = here.folder / "copy"
        copy.mkdir()
        tools, socket_ = here.postgres.binaries, str(here.postgres.folder)
        login = ["-h", socket_, "-U", "chiron", "-d", "postgres"]
        with here.api() as client:
            promote(client, publish(here.folder, source, "trained"))
            ids = [submit(client) for _ in range(3)]
            client.post(f"/jobs/{ids[0]}/cancel").raise_for_status()
            before = jobs(client), served(client)
            start = time.perf_counter()
            dump = [str(tools / "pg_dump"), *login, "--format=custom", f"--file={copy / 'chiron.dump'}"]
            subprocess.run(dump, check=True)
            subprocess.run(["cp", "-a", str(here.registry), str(copy / "models")], check=True)
            copied_s = time.perf_counter() - start
            later = submit(client)
        subprocess.run(
            [
                str(tools / "psql"),
                *login,
                "-qc",
                "set client_min_messages = warning; drop schema public cascade; create schema public",
            ],
            check=True,
        )
        shutil.rmtree(here.folder / "state")
        subprocess.run(["redis-cli", "-p", str(here.redis_port), "flushall"], check=True, capture_output=True)
        start = time.perf_counter()
        subprocess.run([str(tools / "pg_restore"), *login, "--no-owner", str(copy / "chiron.dump")], check=True)
        (here.folder / "state").mkdir()
        subprocess.run(["cp", "-a", str(copy / "models"), str(here.registry)], check=True)
        restored_s = time.perf_counter() - start
        with here.api(name="restored") as client:
            after = jobs(client), served(client)
            assert after == before, f"expected {before}, got {after}"
            assert later not in after[0]
            time.sleep(KEPT_S)
            waiting = broker_length(here)
    return {
        "jobs": len(before[0]),
        "version": before[1],
        "copied_s": copied_s,
        "restored_s": restored_s,
        "jobs_in_the_broker_again": waiting,
    }


def broker_length(here: Installation) -> int:
    """Return the number of messages in the queue of CPUs."""
    asked = subprocess.run(["redis-cli", "-p", str(here.redis_port), "llen", "cpu"], check=True, capture_output=True)
    return int(asked.stdout)


def upgrade(commit: str) -> dict[str, Any]:
    """Run the service of a commit and this one on the same stores; return what each saw."""
    source = read_bundle(CHECKOUT / "bundles" / MODEL)
    with installation() as here:
        old = here.folder / "old"
        subprocess.run(["git", "-C", str(CHECKOUT), "worktree", "add", "--detach", str(old), commit], check=True)
        try:
            with here.api(old, "old") as former:
                first = submit(former)
                with here.api() as newer:
                    second, third = submit(newer), submit(former)
                    version = publish(here.folder, source, "trained")
                    promote(newer, version)
                    time.sleep(KEPT_S)
                    seen = {"old": (jobs(former), served(former)), "new": (jobs(newer), served(newer))}
                    assert seen["old"] == seen["new"], seen
                    assert set(seen["new"][0]) == {first, second, third}
                    former.post(f"/jobs/{second}/cancel").raise_for_status()
                    newer.post(f"/jobs/{third}/cancel").raise_for_status()
                    assert jobs(newer) == jobs(former)
                    states = sorted(jobs(newer).values())
        finally:
            subprocess.run(["git", "-C", str(CHECKOUT), "worktree", "remove", "--force", str(old)], check=True)
        short = subprocess.run(
            ["git", "-C", str(CHECKOUT), "rev-parse", "--short", commit], check=True, capture_output=True, text=True
        )
    return {"from": short.stdout.strip(), "jobs": states, "version": version}


def main() -> None:
    """Try what is named, print it, and keep it beside what was tried before."""
    what, *rest = sys.argv[1:] or ["backup"]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"machine": machine(), what: backup() if what == "backup" else upgrade(*rest)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results[what], indent=1))


if __name__ == "__main__":
    main()
