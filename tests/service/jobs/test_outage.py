"""Tests of the log lines of outages."""

import logging

from service.jobs.outage import Outage


def test_the_start_each_change_and_the_end_of_an_outage_are_logged(caplog):
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("chiron.test"), "the database")
    outage.end()
    for reason in ("refused", "refused", "refused", "no route", "no route"):
        outage.report(OSError(reason))
    outage.end()
    outage.end()
    outage.report(OSError("no route"))
    assert caplog.messages == ["refused", "no route", "the database works again", "no route"]
