"""Tests of the names of runs and tables that workers publish."""

from service.jobs import offers
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
