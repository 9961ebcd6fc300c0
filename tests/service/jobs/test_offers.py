"""Tests of the names of runs and tables that workers publish."""

from concurrent.futures import ThreadPoolExecutor

from service.jobs import offers
from service.jobs.database import open_database
from service.jobs.offers import OfferTable


def test_names_are_stored_by_kind_until_no_worker_has_offered_them_for_a_month(engine, monkeypatch):
    table = OfferTable(engine)
    assert table.names("run") == []
    table.publish("run", ["b", "a"])
    table.publish("table", ["hands"])
    table.publish("run", ["b", "c"])
    assert table.names("run") == ["a", "b", "c"]
    assert table.names("table") == ["hands"]
    monkeypatch.setattr(offers, "KEEP_S", -1)
    table.publish("run", ["c"])
    assert table.names("run") == ["c"]


def test_workers_that_start_at_once_publish_the_same_names(postgres):
    """Each of two inserts of one row waits for the other's transaction, and must not fail when that has ended."""
    engine = open_database(postgres.url)
    names = [f"run-{number}" for number in range(50)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: OfferTable(engine).publish("run", names), range(12)))
    assert OfferTable(engine).names("run") == sorted(names)
    engine.dispose()
