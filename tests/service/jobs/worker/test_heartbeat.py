"""Tests of the heartbeat: reports wait for the job table, and a job is killed only if it neither stops nor writes a checkpoint."""

import os
import signal
import threading

import pytest
from waiting import PATIENCE_S

from models.contract.spec import TrainSpec
from service.jobs.database import StoreUnavailable
from service.jobs.records import Lease, LostLease
from service.jobs.table import JobTable
from service.jobs.worker import heartbeat as module
from service.jobs.worker.heartbeat import GRACE_S, Heartbeat


@pytest.fixture
def lease(table: JobTable) -> Lease:
    job, _ = table.submit(TrainSpec(run="r"), "cpu")
    lease = table.claim(job.id, "me")
    assert lease is not None
    return lease


@pytest.fixture
def kills(monkeypatch) -> "Kills":
    kills = Kills()
    monkeypatch.setattr(os, "kill", kills)
    return kills


class Kills:
    """A stub for os.kill that records signals."""

    def __init__(self) -> None:
        self.happened = threading.Event()
        self.signals: list[int] = []

    def __call__(self, pid: int, number: int) -> None:
        self.signals.append(number)
        self.happened.set()


class Beats:
    """A heartbeat whose beats can be awaited."""

    def __init__(self, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count, self._changed = 0, threading.Condition()
        late = heartbeat._kill_if_late

        def counted(reason: module.StopReason) -> None:
            late(reason)
            with self._changed:
                self._count += 1
                self._changed.notify_all()

        monkeypatch.setattr(heartbeat, "_kill_if_late", counted)

    def wait(self, count: int) -> None:
        """Wait for `count` more beats."""
        with self._changed:
            until = self._count + count
            assert self._changed.wait_for(lambda: self._count >= until, PATIENCE_S)


def texts(table: JobTable, job: str) -> list[str]:
    return [event.data["text"] for event in table.events(job) if event.kind == "log"]


def test_reports_are_sent_in_order_with_the_last_progress(table, lease):
    heartbeat = Heartbeat(table, lease, lease_s=60)
    heartbeat.log("one")
    heartbeat.metrics({"score": 1.0})
    heartbeat.log("two")
    for step in (1, 2):
        heartbeat.progress({"step": step})
    heartbeat.beat()
    assert [event.kind for event in table.events(lease.job)][2:] == ["log", "metrics", "log", "progress"]
    assert (table.get(lease.job).progress, table.get(lease.job).metrics) == ({"step": 2}, {"score": 1.0})


def test_failed_reports_are_sent_with_the_next_beat(table, lease, monkeypatch):
    heartbeat = Heartbeat(table, lease, lease_s=60)
    report = table.report

    def fail(*_: object) -> None:
        raise StoreUnavailable("no space for a log line")

    monkeypatch.setattr(table, "report", fail)
    heartbeat.log("one")
    heartbeat.metrics({"score": 1.0})
    heartbeat.progress({"step": 1})
    for _ in range(3):
        heartbeat.beat()
    assert (heartbeat.stop_reason, texts(table, lease.job)) == (None, [])
    heartbeat.log("two")
    monkeypatch.setattr(table, "report", report)
    heartbeat.beat()
    assert texts(table, lease.job) == ["one", "two"]
    assert (table.get(lease.job).progress, table.get(lease.job).metrics) == ({"step": 1}, {"score": 1.0})


def test_the_start_and_end_of_an_outage_are_reported(table, lease, monkeypatch):
    outages: list[bool] = []
    ended = threading.Event()

    def note(begins: bool) -> None:
        outages.append(begins)
        if not begins:
            ended.set()

    renew, failures = table.renew, iter([True, True, True])

    def fail_thrice(lease: Lease) -> str:
        if next(failures, False):
            raise StoreUnavailable("away")
        return renew(lease)

    monkeypatch.setattr(table, "renew", fail_thrice)
    monkeypatch.setattr(module, "INTERVAL_S", 0.01)
    with Heartbeat(table, lease, lease_s=60, on_outage=note) as heartbeat:
        assert ended.wait(PATIENCE_S)
    assert outages == [True, False]
    assert heartbeat.stop_reason is None


def test_a_lease_that_another_worker_holds_is_lost(table, lease):
    table.cancel(lease.job)
    table.release(lease)
    with pytest.raises(LostLease):
        Heartbeat(table, lease, lease_s=60).beat()


def test_a_cancelled_job_that_does_not_stop_is_killed_after_its_end_is_recorded(table, lease, kills, monkeypatch):
    monkeypatch.setitem(GRACE_S, "cancelled", 0.0)
    recorded: list[str] = []
    with Heartbeat(table, lease, lease_s=0.5, on_kill=recorded.append):
        table.cancel(lease.job)
        assert kills.happened.wait(PATIENCE_S)
    assert kills.signals[0] == signal.SIGKILL
    assert recorded[0] == "cancelled"


def test_a_job_is_not_killed_while_it_writes_a_checkpoint(table, lease, kills, monkeypatch):
    monkeypatch.setitem(GRACE_S, "cancelled", 0.0)
    monkeypatch.setattr(module, "INTERVAL_S", 0.01)
    heartbeat = Heartbeat(table, lease, lease_s=60)
    beats = Beats(heartbeat, monkeypatch)
    with heartbeat:
        heartbeat.activity("writing last.ckpt")
        table.cancel(lease.job)
        beats.wait(5)
        assert not kills.happened.is_set(), "expected no kill during the write"
        heartbeat.activity(None)
        assert kills.happened.wait(PATIENCE_S)


def test_a_cancelled_job_is_killed_if_a_write_hangs(table, lease, kills, monkeypatch):
    monkeypatch.setitem(GRACE_S, "cancelled", 0.0)
    monkeypatch.setattr(module, "ACTIVITY_GRACE_S", 0.0)
    with Heartbeat(table, lease, lease_s=0.5) as heartbeat:
        heartbeat.activity("writing last.ckpt")
        table.cancel(lease.job)
        assert kills.happened.wait(PATIENCE_S)


def test_a_job_with_long_steps_gets_more_time_to_stop(table, lease, kills, monkeypatch):
    monkeypatch.setitem(GRACE_S, "cancelled", 0.0)
    monkeypatch.setattr(module, "INTERVAL_S", 0.01)
    clock = iter([100.0, 103.0])
    heartbeat = Heartbeat(table, lease, lease_s=60)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    heartbeat.should_stop()
    heartbeat.should_stop()  # a step of three seconds
    monkeypatch.setattr(module.time, "monotonic", lambda: 200.0)
    table.cancel(lease.job)
    beats = Beats(heartbeat, monkeypatch)
    with heartbeat:
        beats.wait(3)
        monkeypatch.setattr(module.time, "monotonic", lambda: 200.0 + 3 * module.GRACE_STEPS - 0.1)
        beats.wait(3)
        assert not kills.happened.is_set()
        monkeypatch.setattr(module.time, "monotonic", lambda: 200.0 + 3 * module.GRACE_STEPS)
        assert kills.happened.wait(PATIENCE_S)


def test_a_worker_that_shuts_down_releases_its_job_unless_the_job_is_cancelled(table, lease):
    heartbeat = Heartbeat(table, lease, lease_s=60, shutting_down=lambda: True)
    heartbeat.beat()
    assert heartbeat.stop_reason == "released"
    table.cancel(lease.job)
    heartbeat.beat()
    assert heartbeat.stop_reason == "cancelled"
