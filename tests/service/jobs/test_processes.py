"""Tests of jobs with subprocesses: training, promotion under load, and interruptions of every kind.

A training takes a dozen steps of the shipped forecaster. After an interruption, its curve must equal that of an uninterrupted job, digit by
digit.
"""

import itertools
import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hand_motion import moving_hands
from waiting import PATIENCE_S, post, until

from models.contract.cpus import usable_cpus
from models.contract.spec import BenchmarkSpec, TrainSpec
from service.jobs.delivery import Deliveries
from service.jobs.offers import OfferTable
from service.jobs.queue.celery_app import TASK, Sender, celery_app
from service.jobs.records import Message
from service.settings import Settings

from ..processes import Stack, stack

pytestmark = pytest.mark.long(165)

BUNDLE = Path(__file__).resolve().parents[3] / "bundles/hands-eqmotion"
SOURCES = ["leap", "tzionas"]  # of the synthetic hands
STEPS = 40  # of a job: a second or two, so that what interrupts it arrives before its end
SPEC = {
    "kind": "train",
    "run": "hands-eqmotion",
    "sources": SOURCES,
    "steps": STEPS,
    "validate_every": STEPS // 2,
    "checkpoint_every": 2,
}
UNPUBLISHED = {**SPEC, "publish": False}
HANDS = {"fps": 30, "model": "hands-eqmotion", "past": moving_hands(30, hands=2).tolist()}


@pytest.fixture(scope="module")
def running(hands_folder, tmp_path_factory):
    shutil.copytree(BUNDLE, (bundles := tmp_path_factory.mktemp("bundles")) / BUNDLE.name)
    # one process for many jobs, unless it is killed: torch is imported once
    with stack(hands_folder, bundles, CHIRON_RESEND_S="2", CHIRON_JOBS_A_PROCESS="20") as running:
        running.api()
        yield running


@pytest.fixture(scope="module")
def uninterrupted(running: Stack) -> list[dict[str, float]]:
    """Return the curve of an uninterrupted job, the first of the first worker."""
    running.worker()
    job = running.submit(**UNPUBLISHED)
    assert running.ended(job)["state"] == "succeeded"
    return running.history(job)


class Load:
    """Threads that send requests until they are stopped, and record the answers."""

    def __init__(self, urls: list[str]) -> None:
        self.answers: list[tuple[str, int, str]] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(url,)) for url in urls]
        for thread in self._threads:
            thread.start()

    def _run(self, url: str) -> None:
        with httpx2.Client(timeout=PATIENCE_S, verify=False) as client:
            while not self._over.is_set():
                answer = client.post(f"{url}/forecast/hands", json=HANDS)
                version = answer.json()["model"]["version"] if answer.status_code == 200 else ""
                self.answers.append((url, answer.status_code, version))

    def versions(self, url: str) -> list[str]:
        return [version for at, _, version in list(self.answers) if at == url]

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def events_of(running: Stack, job: str, last: str = "0") -> list[tuple[int, str, dict[str, Any]]]:
    """Return the events of a job from its stream, up to the end of the stream."""
    events: list[tuple[int, str, dict[str, Any]]] = []
    url = f"{running.url}/jobs/{job}/events"
    with httpx2.stream("GET", url, headers={"last-event-id": last}, timeout=PATIENCE_S, verify=False) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        field: dict[str, str] = {}
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                field[name] = value
            elif "id" in field:
                events.append((int(field["id"]), field["event"], json.loads(field["data"])))
                field = {}
    return events


def test_a_version_is_trained_and_promoted_under_load_without_failed_requests(running: Stack, uninterrupted):
    first = running.url
    running.api()
    second = running.url
    job = running.submit(**SPEC, seeds=[1])
    events = events_of(running, job)
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [data["state"] for _, kind, data in events if kind == "state"] == ["queued", "running", "succeeded"]
    assert [data["step"] for _, kind, data in events if kind == "metrics"] == [STEPS // 2, STEPS]
    assert any("exporting" in data["text"] for _, kind, data in events if kind == "log")
    steps = [data["step"] for _, kind, data in events if kind == "progress"]
    assert steps == sorted(steps)
    assert steps[-1] == STEPS
    assert events_of(running, job, last=str(events[3][0])) == events[4:], (
        "expected the stream to resume after the last event"
    )

    version = running.job(job)["result"]["version"]
    model = running.get("/models/hands-eqmotion")
    shipped = model["version"]
    (trained, own) = model["versions"]
    assert (trained["version"], trained["serving"], own["version"], own["serving"]) == (version, False, shipped, True)
    assert trained["lineage"]["job"] == job
    assert len(trained["lineage"]["data_sha256"]) == 64
    assert trained["measurements"]

    load = Load([first, second])
    try:
        for url in (first, second):
            until("answers under load", lambda url=url: True if len(load.versions(url)) > 20 else None)
        promotion = running.post(f"/models/hands-eqmotion/versions/{version}/promote")
        assert promotion == {"name": "hands-eqmotion", "version": version, "before": shipped}
        assert post(f"{second}/forecast/hands", json=HANDS).json()["model"]["version"] == version
        for url in (first, second):
            until(
                "the promoted version at both servers",
                lambda url=url: True if load.versions(url)[-1] == version else None,
            )
        running.post(f"/models/hands-eqmotion/versions/{version}/rollback")
        for url in (first, second):
            until(
                "the shipped version at both servers",
                lambda url=url: True if load.versions(url)[-1] == shipped else None,
            )
    finally:
        load.stop()
    assert {status for _, status, _ in load.answers} == {200}
    for url in (first, second):
        changes = [version for version, _ in itertools.groupby(load.versions(url))]
        assert changes == [shipped, version, shipped], "expected one of the two versions for every request"
    running.processes[-1].stop()
    running.url = first


def test_a_job_resumes_after_its_worker_is_killed(running: Stack, uninterrupted):
    job = running.submit(**UNPUBLISHED)
    running.reached(job, 4)
    for worker in running.processes[1:]:
        worker.kill()
    assert "runs on" in running.job(job)["detail"] or "no worker" in running.job(job)["detail"]
    until("a queued job", lambda: True if running.job(job)["state"] == "queued" else None)
    assert "no worker of queue cpu is connected" in until(
        "a job without a worker", lambda: d if "no worker" in (d := running.job(job)["detail"]) else None
    )
    running.worker()
    ended = running.ended(job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert running.history(job) == uninterrupted
    began = [e for _, kind, e in events_of(running, job) if kind == "log" and "from step" in e["text"]]
    assert int(began[1]["text"].rpartition(" ")[2]) >= 2, "expected the job to resume from a checkpoint"


def test_jobs_survive_a_kill_of_worker_api_and_broker_at_once(running: Stack, uninterrupted):
    job, queued = running.submit(**UNPUBLISHED), running.submit(**UNPUBLISHED, seeds=[0])
    running.reached(job, 4)
    with running.redis() as redis:
        server = int(redis.info("server")["process_id"])  # pyright: ignore[reportIndexIssue] - redis' stub
    for process in running.processes:
        process.kill()
    os.kill(server, signal.SIGKILL)
    running.processes.clear()
    running.api()
    running.worker()
    for each, attempts in ((job, 2), (queued, 1)):
        ended = running.ended(each)
        assert (ended["state"], ended["attempt"]) == ("succeeded", attempts)
        assert running.history(each) == uninterrupted


@pytest.mark.parametrize("outage", ["short", "until the job has ended"])
def test_jobs_survive_a_kill_of_api_and_broker_and_an_emptied_broker(running: Stack, uninterrupted, outage):
    job, queued = running.submit(**UNPUBLISHED), running.submit(**UNPUBLISHED, seeds=[0])
    running.reached(job, 2)
    with running.redis() as redis:
        redis.flushall()
        server = int(redis.info("server")["process_id"])  # pyright: ignore[reportIndexIssue] - redis' stub
    running.processes[0].kill()
    os.kill(server, signal.SIGKILL)
    running.processes.pop(0)
    if outage == "until the job has ended":  # its worker cannot acknowledge it
        table = running.table()
        until("the end of the job", lambda: True if table.get(job).state == "succeeded" else None)
    running.api()
    running.processes.insert(0, running.processes.pop())
    for each in (job, queued):
        ended = running.ended(each)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
        assert running.history(each) == uninterrupted


def test_a_job_that_is_delivered_repeatedly_runs_once(running: Stack, uninterrupted):
    second = running.worker()
    job = running.submit(**UNPUBLISHED)
    sender = Sender(Settings(state=running.state))
    (row,) = running.table().jobs(limit=1)
    for _ in range(6):
        assert sender.send([Message.of(row)])
    sender.close()
    ended = running.ended(job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert running.history(job) == uninterrupted
    second.stop()


@pytest.mark.skipif(usable_cpus() < 2, reason="needs two usable CPUs, which count as devices")
def test_a_training_on_two_devices_has_the_curve_of_one_device(running: Stack, uninterrupted):
    job = running.submit(**UNPUBLISHED, devices=2)
    assert running.job(job)["queue"] == "cpu.2"
    ended = running.ended(job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1), ended["error"]
    for two, one in zip(running.history(job), uninterrupted, strict=True):
        assert two == pytest.approx(one, rel=1e-3)
    several = running.submit(**UNPUBLISHED, devices=16, device="cuda")
    assert "no worker of queue gpu.16 is connected" in running.job(several)["detail"]
    running.post(f"/jobs/{several}/cancel")


def test_poison_messages_and_failing_jobs_do_not_stop_the_worker(running: Stack, uninterrupted):
    app = celery_app(Settings(state=running.state))
    with app.connection_for_write() as connection:
        for poison in (["no-such-job"], [], ["too", "many", 1], [{"a": [None]}], ["../../etc"]):
            app.send_task(TASK, args=poison, queue="cpu", connection=connection)
        producer = connection.Producer()
        producer.publish(b"\x80\x04N.", content_type="application/x-python-serialize", routing_key="cpu")
        producer.publish({"no": "task"}, serializer="json", routing_key="cpu")
    app.close()
    with running.redis() as redis:
        redis.lpush(
            "cpu",
            b"\xff",
            b"no json",
            b"[]",
            b"{}",
            b'{"properties": 1}',
            b'{"properties": {"delivery_info": 3}, "body": "?"}',
        )
    names = until("names of runs", lambda: OfferTable(running.table()._engine).names("run") or None)
    assert "hands-eqmotion" in names
    architectures = until("architectures", lambda: running.get("/workers")["offers"]["architecture"] or None)
    assert {"EqMotion", "LSTM"} < set(architectures)
    for spec in ({"kind": "train", "run": "no-such-run"}, {"kind": "benchmark", "table": "no-such-table"}):
        assert post(f"{running.url}/jobs", json=spec).status_code == 422
    specs = (TrainSpec(run="no-such-run"), BenchmarkSpec(table="no-such-table"))  # as if submitted by another version
    others = [running.table().submit(spec, "cpu")[0] for spec in specs]
    Deliveries(running.table()._engine).withdraw([Message.of(job) for job in others])  # the reconciler sends them
    unknown, table = (job.id for job in others)
    good = running.submit(**UNPUBLISHED)
    ended = running.ended(unknown)
    assert ended["state"] == "failed"
    assert ended["error"]["type"] == "UnknownRun"
    assert "there are" in ended["error"]["detail"]
    assert ended["error"]["lines"][-1].startswith("training.catalogue.UnknownRun")
    assert "no table 'no-such-table'" in running.ended(table)["error"]["detail"]
    assert running.ended(good)["state"] == "succeeded"


def test_a_cancelled_job_keeps_its_checkpoint_and_resumes_when_it_is_retried(running: Stack, uninterrupted):
    job = running.submit(**UNPUBLISHED)
    running.reached(job, 3)
    assert running.post(f"/jobs/{job}/cancel")["state"] in ("cancelling", "cancelled")
    cancelled = running.ended(job)
    assert cancelled["state"] == "cancelled"
    at = cancelled["progress"]["step"]
    assert 3 <= at < STEPS
    names = [a["name"] for a in running.get(f"/jobs/{job}/artifacts")["artifacts"]]
    assert any(name.endswith("last.ckpt") for name in names)
    running.post(f"/jobs/{job}/retry")
    assert running.ended(job)["state"] == "succeeded"
    assert running.history(job) == uninterrupted
    began = [e for _, kind, e in events_of(running, job) if kind == "log" and "from step" in e["text"]]
    assert began[1]["text"].endswith((f"from step {at}", f"from step {at + 1}"))  # a step may end after the last report


def test_a_worker_that_is_stopped_releases_its_job(running: Stack, uninterrupted):
    job = running.submit(**UNPUBLISHED)
    running.reached(job, 3)
    for worker in running.processes[1:]:
        worker.stop()
    waiting = running.job(job)
    assert waiting["state"] == "queued"
    assert running.get("/workers")["workers"] == []
    running.worker()
    ended = running.ended(job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert running.history(job) == uninterrupted
