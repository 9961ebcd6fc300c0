"""Tests of the log: the fields of a line, and values that are never logged."""

import json
import logging

import pytest

from service.telemetry.logs import JsonLines


def test_a_request_is_logged_as_one_line_of_json_without_its_query(client, caplog):
    with caplog.at_level(logging.INFO, "chiron.access"):
        response = client.get("/models?secret=swordfish", headers={"x-request-id": "abc-1"})
    assert response.headers["x-request-id"] == "abc-1"
    line = json.loads(JsonLines().format(caplog.records[-1]))
    assert (line["request_id"], line["method"], line["path"], line["status"]) == ("abc-1", "GET", "/models", 200)
    assert line["ms"] > 0
    assert line["bytes"] == len(response.content)
    assert "swordfish" not in str(line)


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", 'a"b'])
def test_an_unsafe_request_id_is_replaced(client, sent):
    replacement = client.get("/healthz", headers={"x-request-id": sent}).headers["x-request-id"]
    assert replacement != sent
    assert len(replacement) == 32


def test_an_exception_is_logged_on_one_line():
    try:
        raise ValueError("no")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed %s", ("here",), (type(error), error, None))
    line = json.loads(JsonLines().format(record))
    assert line["message"] == "failed here"
    assert "ValueError: no" in line["traceback"]
