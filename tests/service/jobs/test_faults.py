"""Faults of real processes: children that start slowly or not at all, and databases that are away, frozen, damaged or newer."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import PATIENCE_S, get, until

from service.jobs.database import open_database, writing
from service.settings import Settings

from ..processes import Process, Stack, stack

UNTRAINED = {"kind": "evaluate", "run": "hands-eqmotion"}  # ends as soon as a worker has it: nothing was trained
CHILD_START = """
import os, sys, time
if any("billiard.spawn" in argument for argument in sys.orig_argv):  # a child process of a worker
    time.sleep(float(os.environ.get("TEST_CHILD_SLEEPS_S", "0")))
    if os.environ.get("TEST_CHILD_EXITS"):
        os._exit(1)
"""


@pytest.fixture(scope="module")
def api(hands_folder, bundles, tmp_path_factory) -> Iterator[Stack]:
    """Start an API; child processes of its workers can be told to start slowly, or not at all."""
    hook = tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(CHILD_START)
    path = os.pathsep.join(filter(None, [str(hook), os.environ.get("PYTHONPATH")]))
    with stack(hands_folder, bundles, PYTHONPATH=path) as running:
        running.api()
        yield running


def test_a_worker_whose_child_processes_start_slowly_runs_job_after_job_and_logs_only_json(api: Stack):
    """Celery's own limit is 4 s, after which it kills a child that has not reported, for ever."""
    worker = api.worker(TEST_CHILD_SLEEPS_S="6")
    jobs = [api.submit(**UNTRAINED) for _ in range(2)]
    for job in jobs:
        assert "no job has trained hands-eqmotion" in api.ended(job)["error"]["detail"]
    worker.stop()
    lines = worker.log.read_text().splitlines()
    assert len(lines) > 4
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(json.loads(line)), line


def test_child_processes_that_fail_to_start_are_visible(api: Stack):
    worker = api.worker(TEST_CHILD_EXITS="1")
    until("starts fail", lambda: True if api.get("/workers")["workers"][0]["failed_starts"] > 1 else None)
    job = api.submit(**UNTRAINED)
    assert "can start a process for it" in api.job(job)["detail"]
    assert 'chiron_worker_failed_starts{queue="cpu"} 0.0' not in get(f"{api.url}/metrics").text
    api.post(f"/jobs/{job}/cancel")
    worker.stop()


def test_a_worker_without_data_says_so_and_the_health_check_fails(api: Stack, tmp_path):
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


def test_a_worker_without_its_database_waits_and_says_so_once(tmp_path):
    away = "postgresql+psycopg://chiron:chiron@127.0.0.1:1/none"
    worker = Process(tmp_path, ["worker", "--device", "cpu"], environment_of(tmp_path, CHIRON_DATABASE_URL=away))
    until("it waits", lambda: True if "waiting for the database" in worker.log.read_text() else None)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(3)  # three more attempts
    worker.stop()
    assert worker.process.returncode == 0
    text = worker.log.read_text()
    assert text.count("waiting for the database") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize("fault", ["a newer table", "a damaged file"])
def test_a_database_that_cannot_be_used_ends_a_worker_with_one_sentence(tmp_path, fault):
    settings = Settings(state=tmp_path)
    if fault == "a newer table":
        engine = open_database(settings.database)
        with writing(engine) as connection:
            connection.exec_driver_sql("update alembic_version set version_num = '9999'")
        engine.dispose()
    else:
        (tmp_path / "jobs.db").write_bytes(b"no database at all" * 1000)
    command = [sys.executable, "-m", "service", "worker", "--device", "cpu"]
    done = subprocess.run(command, env=environment_of(tmp_path), capture_output=True, text=True)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert "job table is newer" in lines[0] if fault == "a newer table" else "job table is damaged" in lines[0]


def postgres_binaries() -> Path | None:
    """Return the folder of a PostgreSQL server's binaries, or None."""
    candidates = [Path(path).resolve().parent for name in ("initdb",) if (path := shutil.which(name))]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


class Postgres:
    """A PostgreSQL server of its own that can be frozen, as `docker pause` does."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        import pwd

        options: dict = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = folder / "data"
        initialise = [binaries / "initdb", "-D", data, "-U", "chiron", "--auth", "trust", "-N"]
        subprocess.run(initialise, check=True, capture_output=True, cwd=folder, **options)
        server = [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        self.process = subprocess.Popen(
            server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=folder, **options
        )
        self.url = f"postgresql+psycopg://chiron@/postgres?host={folder}"

    def signal(self, number: int) -> None:
        """Send a signal to the server and all its backends."""
        for pid in self._pids():
            os.kill(pid, number)

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_S)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    if (binaries := postgres_binaries()) is None:
        pytest.skip("no PostgreSQL server is installed")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="chiron-pg-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder), binaries)
        try:
            yield server
        finally:
            server.close()


def test_a_database_that_stops_answering_is_a_503_and_stops_neither_api_nor_worker(postgres, hands_folder, bundles):
    with stack(hands_folder, bundles, CHIRON_DATABASE_URL=postgres.url, CHIRON_LEASE_S="15") as running:
        running.api()
        until("the jobs work", lambda: True if get(f"{running.url}/jobs").status_code == 200 else None)
        worker = running.worker()
        postgres.signal(signal.SIGSTOP)
        answer = get(f"{running.url}/jobs")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/jobs-unavailable")
        assert get(f"{running.url}/readyz").status_code == 200
        worker.stop()
        assert worker.process.returncode == 0
        postgres.signal(signal.SIGCONT)
        until("the jobs work again", lambda: True if get(f"{running.url}/jobs").status_code == 200 else None)
        postgres.signal(signal.SIGSTOP)
        running.processes[0].stop()
        assert "Traceback" not in running.processes[0].log.read_text()
