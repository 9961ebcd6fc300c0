"""Tests of the plans of all queries on a PostgreSQL of this test: none reads a whole table that grows, and the migration keeps jobs."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, event

from models.contract.spec import TrainSpec
from service.jobs.database import open_database, reading, writing
from service.jobs.datasets import DatasetTable
from service.jobs.delivery import Deliveries
from service.jobs.records import Message, Position, State
from service.jobs.table import JobTable
from service.jobs.workers import WorkerTable

from .test_database import downgrade

QUEUED, FINISHED, KEYS = 20_000, 200, 20_000
GROWING = {"jobs", "job_events", "submissions"}  # workers, offers and datasets have some tens of rows
FILL = f"""
insert into jobs (id, kind, spec, queue, state, created_at, sent_at, finished_at, attempt, losses, events)
select md5(n::text), case when mod(n, 5) = 0 then 'evaluate' else 'train' end, '{{"kind": "train", "run": "r", "seeds": [0], "job": null}}',
  'cpu', case when n <= {QUEUED} then 'queued' else 'succeeded' end, n, n, n, 0, 0, 1
from generate_series(1, {QUEUED + FINISHED}) n;
insert into job_events select id, 1, created_at, 'state', '{{}}' from jobs;
insert into submissions select 'key' || n, '', md5(n::text), extract(epoch from now()) from generate_series(1, {KEYS}) n
"""


@pytest.fixture(scope="module")
def filled(postgres) -> Iterator[Engine]:
    """Yield a database with many queued jobs, some finished ones, and a day of idempotency keys."""
    engine = open_database(postgres.url)
    for statement in FILL.split(";\n"):  # one at a time: each has to end within the database's timeout
        with writing(engine) as connection:
            connection.exec_driver_sql(statement)
    vacuum(engine)
    yield engine
    engine.dispose()


def vacuum(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("vacuum analyze")


def plans(engine: Engine, action: Callable[[], object]) -> dict[str, dict[str, Any]]:
    """Return the plan of each statement of an action, by its text; the action also runs."""
    statements: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if re.match("select|update|delete", statement, re.IGNORECASE):
            statements[statement] = parameters

    event.listen(engine, "before_cursor_execute", note)
    try:
        action()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    with reading(engine) as connection:
        explained = {
            text: connection.exec_driver_sql(f"explain (format json) {text}", parameters).scalar_one()
            for text, parameters in statements.items()
        }
    return {text: (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"] for text, plan in explained.items()}


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from steps(inner)


def read_whole(engine: Engine, action: Callable[[], object]) -> list[str]:
    """Return the statements of an action that read a growing table in full, or sort more than a thousand rows."""
    return [
        text
        for text, plan in plans(engine, action).items()
        for step in steps(plan)
        if (step["Node Type"] == "Seq Scan" and step["Relation Name"] in GROWING)
        or (step["Node Type"] == "Sort" and step["Plan Rows"] > 1000)
    ]


def actions(engine: Engine) -> dict[str, Callable[[], object]]:
    """Return all that API, workers and reconciler ask of the tables, except the metrics, which count all rows."""
    jobs, deliveries = JobTable(engine, lease_s=60), Deliveries(engine)
    place = str(Position(QUEUED / 2.0, "0" * 32))

    def life() -> None:
        job, _ = jobs.submit(TrainSpec(run="q"), "cpu", "key of a life")
        deliveries.withdraw([Message.of(job)])
        deliveries.take("cpu", None, 9)
        lease = jobs.claim(job.id, "w")
        assert lease
        jobs.renew(lease)
        jobs.report(lease, ("progress", {"step": 1}))
        jobs.events(job.id)
        jobs.release(lease)
        jobs.cancel(job.id)
        jobs.retry(job.id)
        jobs.cancel(job.id)
        jobs.remove(job.id)

    states: tuple[State | None, ...] = (None, "queued")
    pages: dict[str, Callable[[], object]] = {
        f"a page, state {state}, kind {kind}, after {after}": partial(jobs.jobs, state=state, kind=kind, after=after)
        for state in states
        for kind in (None, "train", "benchmark")
        for after in (None, place)
    }
    return pages | {
        "a life": life,
        "lost workers": jobs.expire,
        "waiting queues": deliveries.waiting,
        "missing jobs": lambda: deliveries.take("cpu", 100.0, 9),
        "connected workers": WorkerTable(engine, lease_s=60).workers,
        "the latest training": lambda: jobs.trained("r", 0),
        "removable jobs": jobs.removable,
        "data sets": DatasetTable(engine, jobs).datasets,
    }


def test_no_query_reads_a_whole_table_that_grows(filled):
    assert {name: read for name, action in actions(filled).items() if (read := read_whole(filled, action))} == {}


def test_a_query_without_its_index_is_found(filled):
    with writing(filled) as connection:
        connection.exec_driver_sql("drop index jobs_by_delivery")
    try:
        assert read_whole(filled, actions(filled)["missing jobs"]) != []
    finally:
        with writing(filled) as connection:
            connection.exec_driver_sql("create index jobs_by_delivery on jobs (state, queue, sent_at, created_at)")


def test_an_existing_database_gets_the_indexes_and_keeps_its_jobs(filled, postgres):
    with writing(filled) as connection:
        before = connection.exec_driver_sql("select count(*), sum(created_at) from jobs").one()
        downgrade(connection, "0003")
    again = open_database(postgres.url)
    with reading(again) as connection:
        assert connection.exec_driver_sql("select count(*), sum(created_at) from jobs").one() == before
    vacuum(again)
    assert read_whole(again, actions(again)["missing jobs"]) == []
    again.dispose()
