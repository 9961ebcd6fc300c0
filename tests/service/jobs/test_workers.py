"""Tests of worker registration and of the queue of a job."""

import pytest

from models.contract.spec import BenchmarkSpec, EvaluateSpec, TrainSpec
from service.jobs.workers import WorkerTable, queue_of, queues_of


def test_a_worker_is_listed_with_its_job_until_its_registration_expires(table, engine):
    workers = WorkerTable(engine, lease_s=60)
    workers.register("a", ("cpu",), "cpu")
    workers.register("b", ("gpu", "cpu"), "cuda")
    WorkerTable(engine, lease_s=-1).register("late", ("cpu",), "cpu")
    job = table.submit(TrainSpec(run="r"), "cpu")[0].id
    table.claim(job, "a")
    assert [(w.name, w.queues, w.job, w.stopping) for w in workers.workers()] == [
        ("a", ("cpu",), job, False),
        ("b", ("gpu", "cpu"), None, False),
    ]
    workers.request_stop("a")
    workers.register("a", ("cpu",), "cpu")
    assert [(w.name, w.stopping) for w in workers.workers()] == [("a", True), ("b", False)]
    workers.unregister("b")
    assert [w.name for w in workers.workers()] == ["a"]


def test_a_worker_reports_current_failed_starts_and_problems(engine):
    workers = WorkerTable(engine, lease_s=60)
    workers.register("a", ("cpu",), "cpu", failed_starts=2, problem="there is no data folder /data")
    (worker,) = workers.workers()
    assert (worker.failed_starts, worker.problem) == (2, "there is no data folder /data")
    workers.register("a", ("cpu",), "cpu")
    (worker,) = workers.workers()
    assert (worker.failed_starts, worker.problem) == (0, None)


@pytest.mark.parametrize(
    ("device", "devices", "connected", "expected"),
    [
        ("auto", 1, {}, "cpu"), ("auto", 1, {"cpu": 1}, "cpu"), ("auto", 1, {"cpu": 1, "gpu": 1}, "gpu"),
        ("cpu", 1, {"gpu": 1}, "cpu"), ("cuda", 1, {"cpu": 1}, "gpu"),
        ("auto", 2, {"gpu": 1}, "cpu.2"), ("auto", 2, {"cpu": 4, "gpu": 3}, "gpu.2"), ("auto", 1, {"gpu": 3}, "gpu"),
        ("cuda", 4, {"gpu": 3}, "gpu.4"), ("cpu", 2, {"gpu": 8}, "cpu.2"),
    ],
)  # fmt: skip
def test_a_job_goes_to_the_queue_of_its_devices(engine, device, devices, connected, expected):
    workers = WorkerTable(engine, lease_s=60)
    for kind, number in connected.items():
        workers.register(kind, queues_of(kind, number), kind)
    assert queue_of(TrainSpec(run="a", device=device, devices=devices), workers.workers()) == expected


def test_a_benchmark_and_an_evaluation_use_one_device(engine):
    assert [queue_of(spec, []) for spec in (BenchmarkSpec(table="a"), EvaluateSpec(run="a"))] == ["cpu", "cpu"]
