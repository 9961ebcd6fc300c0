"""Tests of faults with subprocesses: child processes that start slowly or fail, and unreachable, frozen or damaged databases."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import get, until

from service.jobs.database import open_database, writing
from service.settings import Settings

from ..processes import Process, Stack, stack

pytestmark = pytest.mark.long(90)

UNTRAINED = {"kind": "evaluate", "run": "hands-eqmotion"}  # fails at once, since nothing is trained
CHILD_START = """
import os, sys, time
if any("billiard.spawn" in argument for argument in sys.orig_argv):  # a child process of a worker
    time.sleep(float(os.environ.get("TEST_CHILD_SLEEPS_S", "0")))
    if os.environ.get("TEST_CHILD_EXITS"):
        os._exit(1)
"""


@pytest.fixture(scope="module")
def api(hands_folder, bundles, tmp_path_factory) -> Iterator[Stack]:
    """Start an API whose workers' child processes can be made to start slowly or to fail."""
    hook = tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(CHILD_START)
    path = os.pathsep.join(filter(None, [str(hook), os.environ.get("PYTHONPATH")]))
    with stack(hands_folder, bundles, PYTHONPATH=path) as running:
        running.api()
        yield running


def test_a_worker_with_slowly_starting_child_processes_runs_its_jobs_and_logs_only_json(api: Stack):
    """Celery's own limit of 4 s would kill every child process."""
    worker = api.worker(TEST_CHILD_SLEEPS_S="6")
    jobs = [api.submit(**UNTRAINED) for _ in range(2)]
    for job in jobs:
        assert "no job has trained hands-eqmotion" in api.ended(job)["error"]["detail"]
    worker.stop()
    lines = worker.log.read_text().splitlines()
    assert len(lines) > 4
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(json.loads(line)), line


def test_failed_starts_of_child_processes_are_reported(api: Stack):
    worker = api.worker(TEST_CHILD_EXITS="1")
    # On a busy machine a beat can be late, and the worker is then missing from one answer.
    until("failed starts", lambda: any(each["failed_starts"] > 1 for each in api.get("/workers")["workers"]) or None)
    job = api.submit(**UNTRAINED)
    assert "can start a process for it" in api.job(job)["detail"]
    assert 'chiron_worker_failed_starts{queue="cpu"} 0.0' not in get(f"{api.url}/metrics").text
    api.post(f"/jobs/{job}/cancel")
    worker.stop()


def test_a_worker_without_data_reports_a_problem_and_fails_its_health_check(api: Stack, tmp_path):
    worker = api.worker(CHIRON_DATA=str(tmp_path / "none"))
    (listed,) = until(
        "the problem is reported", lambda: [w for w in api.get("/workers")["workers"] if w["problem"]] or None
    )
    assert listed["problem"] == f"there is no data folder {tmp_path / 'none'}; set CHIRON_DATA to its path"
    health = subprocess.run(
        [sys.executable, "-m", "service.jobs.worker.health"], env=api.environment, capture_output=True, text=True
    )
    assert (health.returncode, "there is no data folder" in health.stderr) == (1, True)
    worker.stop()
    health = subprocess.run(
        [sys.executable, "-m", "service.jobs.worker.health"], env=api.environment, capture_output=True, text=True
    )
    assert (health.returncode, "no worker of this host is registered" in health.stderr) == (1, True)


# --- databases ---


def environment_of(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "CHIRON_STATE": str(folder), "OMP_NUM_THREADS": "1", **more}


def test_a_worker_waits_for_its_database_and_logs_one_line(tmp_path):
    unreachable = "postgresql+psycopg://chiron:chiron@127.0.0.1:1/none"
    worker = Process(tmp_path, ["worker", "--device", "cpu"], environment_of(tmp_path, CHIRON_DATABASE_URL=unreachable))
    until("a waiting worker", lambda: True if "waiting for the database" in worker.log.read_text() else None)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(3)  # lets it try three more times
    worker.stop()
    assert worker.process.returncode == 0
    text = worker.log.read_text()
    assert text.count("waiting for the database") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize("fault", ["a newer table", "a damaged file"])
def test_an_unusable_database_ends_a_worker_with_one_sentence(tmp_path, fault):
    settings = Settings(state=tmp_path)
    if fault == "a newer table":
        engine = open_database(settings.database)
        with writing(engine) as connection:
            connection.exec_driver_sql("update alembic_version set version_num = '9999'")
        engine.dispose()
    else:
        (tmp_path / "jobs.db").write_bytes(b"no database at all" * 1000)
    command = [sys.executable, "-m", "service", "worker", "--device", "cpu"]
    process = subprocess.run(command, env=environment_of(tmp_path), capture_output=True, text=True)
    assert process.returncode != 0
    lines = [line for line in process.stderr.splitlines() if line]
    assert len(lines) == 1, process.stderr
    assert "job table is newer" in lines[0] if fault == "a newer table" else "job table is damaged" in lines[0]


def test_api_and_worker_survive_a_database_that_stops_answering(postgres, hands_folder, bundles):
    with stack(hands_folder, bundles, CHIRON_DATABASE_URL=postgres.url, CHIRON_LEASE_S="15") as running:
        running.api()
        until("an answer of /jobs", lambda: True if get(f"{running.url}/jobs").status_code == 200 else None)
        worker = running.worker()
        postgres.signal(signal.SIGSTOP)
        answer = get(f"{running.url}/jobs")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/jobs-unavailable")
        assert get(f"{running.url}/readyz").status_code == 200
        worker.stop()
        assert worker.process.returncode == 0
        postgres.signal(signal.SIGCONT)
        until(
            "an answer of /jobs after the outage",
            lambda: True if get(f"{running.url}/jobs").status_code == 200 else None,
        )
        postgres.signal(signal.SIGSTOP)
        running.processes[0].stop()
        assert "Traceback" not in running.processes[0].log.read_text()
