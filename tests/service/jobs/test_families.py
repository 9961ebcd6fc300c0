"""Tests of sweeps in the job table: the children of a job, and what each state of one means for the other."""

import pytest

from models.contract.spec import SweepSpec
from service.jobs.datasets import DatasetTable
from service.jobs.delivery import Deliveries
from service.jobs.records import Job, UnknownJob, WrongState

SPEC = SweepSpec(run="r", steps=5, grid={"layers": (1, 2), "seed": (0, 1)})


@pytest.fixture
def sweep(table) -> Job:
    job, new = table.submit(SPEC, "cpu", "a key", [(cell, "cpu") for cell in SPEC.cells()])
    assert new
    return job


def end(table, job: str, state="succeeded") -> None:
    lease = table.claim(job, "w")
    table.finish(lease, state, error={"type": "E", "detail": "d"} if state == "failed" else None)


def states(table, sweep: Job) -> list[str]:
    return [child.state for child in table.children(sweep.id)]


def test_a_sweep_waits_for_its_trainings_which_are_sent_in_the_order_of_the_grid(table, engine, sweep):
    assert (sweep.state, sweep.lease_until, sweep.sent_at) == ("running", None, None)
    children = table.children(sweep.id)
    assert [(child.spec["network"]["layers"], child.spec["seeds"]) for child in children] == [
        (1, [0]), (1, [1]), (2, [0]), (2, [1]),
    ]  # fmt: skip
    assert all(child.spec["publish"] is False and child.spec["steps"] == 5 for child in children)
    assert [message.job for message in Deliveries(engine).take("cpu", None, 9)] == [child.id for child in children]
    assert table.claim(sweep.id, "w") is None, "expected no worker to get a sweep that waits"
    assert table.expire() == []


def test_a_repeated_request_adds_no_trainings(table, sweep):
    again, new = table.submit(SPEC, "cpu", "a key", [(cell, "cpu") for cell in SPEC.cells()])
    assert (again.id, new) == (sweep.id, False)
    assert len(table.jobs()) == 5


def test_jobs_can_be_listed_by_parent(table, sweep):
    children = table.children(sweep.id)
    assert [job.id for job in table.jobs(parent=sweep.id)] == [child.id for child in reversed(children)]
    assert [job.id for job in table.jobs(parent="none")] == [sweep.id]
    assert [job.id for job in table.jobs(parent=sweep.id, limit=2, after=children[2].id)] == [
        child.id for child in (children[1], children[0])
    ]


def test_the_progress_of_a_sweep_is_that_of_its_trainings_and_a_worker_gets_it_once_they_have_ended(table, sweep):
    table.settle()
    assert table.get(sweep.id).progress == {"stage": "trainings", "step": 0, "steps": 4}
    events = table.get(sweep.id).events
    table.settle()
    assert table.get(sweep.id).events == events, "expected nothing to be written while nothing changes"
    first, *others = table.children(sweep.id)
    end(table, first.id, "failed")
    table.claim(others[0].id, "w")
    table.settle()
    progress = table.get(sweep.id).progress
    assert (progress["step"], progress["steps"]) == (1, 4)
    assert progress["eta_s"] >= 0
    table.cancel(others[2].id)
    for child in others[:2]:
        end(table, child.id)
    table.settle()
    row = table.get(sweep.id)
    assert (row.state, row.sent_at, row.progress["step"]) == ("queued", None, 4)
    lease = table.claim(sweep.id, "w")
    assert lease is not None
    table.finish(lease, "succeeded")


def test_a_cancel_of_a_sweep_cancels_its_trainings(table, sweep):
    first = table.children(sweep.id)[0]
    lease = table.claim(first.id, "w")
    assert table.cancel(sweep.id).state == "cancelling"
    assert states(table, sweep) == ["cancelling", "cancelled", "cancelled", "cancelled"]
    table.settle()
    assert table.get(sweep.id).state == "cancelling"
    table.finish(lease, "cancelled")
    table.settle()
    assert table.get(sweep.id).state == "cancelled"


def test_a_retry_of_a_sweep_repeats_only_what_did_not_succeed(table, sweep):
    first = table.children(sweep.id)[0]
    end(table, first.id)
    table.cancel(sweep.id)
    table.settle()
    row = table.retry(sweep.id)
    assert (row.state, row.lease_until, row.finished_at) == ("running", None, None)
    assert states(table, sweep) == ["succeeded", "queued", "queued", "queued"]
    for child in table.children(sweep.id)[1:]:
        end(table, child.id)
    table.settle()
    end(table, sweep.id, "failed")
    assert table.retry(sweep.id).state == "queued", "expected the comparison alone to be repeated"


def test_a_sweep_is_removed_with_its_trainings_and_they_not_before_it_has_ended(table, sweep):
    children = table.children(sweep.id)
    end(table, children[0].id)
    with pytest.raises(WrongState, match="belongs to sweep"):
        table.remove(children[0].id)
    assert table.removable() == []
    table.cancel(sweep.id)
    table.settle()
    assert len(table.removable()) == 5
    table.retry(children[1].id)
    with pytest.raises(WrongState, match="is queued; cancel it first"):
        table.remove(sweep.id)
    table.cancel(children[1].id)
    assert table.remove(children[3].id) == [children[3].id]
    assert set(table.remove(sweep.id)) == {sweep.id, *(child.id for child in children[:3])}
    with pytest.raises(UnknownJob):
        table.get(children[0].id)
    assert table.jobs() == []


def test_an_evaluation_without_a_job_measures_no_cell_of_a_sweep(table, sweep):
    end(table, table.children(sweep.id)[0].id)
    assert table.trained("r", 0) == []


def test_a_data_set_of_a_sweep_is_in_use(table, engine, tmp_path):
    datasets = DatasetTable(engine, table)
    end(table, datasets.register("own", tmp_path, "folder").id)
    spec = SweepSpec(run="r", dataset="own", grid={"layers": (1,)})
    table.submit(spec, "cpu", None, [(cell, "cpu") for cell in spec.cells()])
    with pytest.raises(WrongState, match="is used by the"):
        datasets.remove("own")
