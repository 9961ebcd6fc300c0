"""Logging of outages."""

import logging

from service.jobs.outage import Outage


def test_an_outage_is_logged_when_it_begins_changes_and_ends(caplog):
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("chiron.test"), "the database")
    outage.end()
    for reason in ("refused", "refused", "refused", "no route", "no route"):
        outage.report(OSError(reason))
    outage.end()
    outage.end()
    outage.report(OSError("no route"))
    assert caplog.messages == ["refused", "no route", "the database works again", "no route"]
