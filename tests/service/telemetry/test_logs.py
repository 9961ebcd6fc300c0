"""Tests of the log: the fields of a line, and values that are never logged."""

import asyncio
import io
import json
import logging
import time

import pytest
from waiting import PATIENCE_S

from service.telemetry.logs import MOST_TOGETHER, JsonLines, Together, log_json_lines


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


def test_lines_of_requests_are_written_together_and_any_other_record_at_once(together):
    handler, written = together

    async def serve() -> None:
        for number in range(3):
            handler.handle(record_of("chiron.access", f"request {number}"))
        assert written.getvalue() == ""
        handler.handle(record_of("chiron.models", "refused"))
        assert messages(written) == ["request 0", "request 1", "request 2", "refused"]
        handler.handle(record_of("chiron.access", "request 3"))
        deadline = time.monotonic() + PATIENCE_S
        while len(messages(written)) < 5 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    asyncio.run(serve())
    assert messages(written)[4:] == ["request 3"]


def test_the_last_lines_are_written_when_the_log_is_closed_and_at_a_number(together):
    handler, written = together

    async def serve(count: int) -> None:
        for number in range(count):
            handler.handle(record_of("chiron.access", f"request {number}"))

    asyncio.run(serve(MOST_TOGETHER + 1))
    assert len(messages(written)) == MOST_TOGETHER
    handler.flush()  # as the library does at the end of a process
    assert len(messages(written)) == MOST_TOGETHER + 1


def test_a_line_outside_an_event_loop_is_written_at_once(together):
    handler, written = together
    handler.handle(record_of("chiron.access", "alone"))
    assert messages(written) == ["alone"]


def test_a_closed_stream_stops_nothing(together):
    handler, written = together
    written.close()
    handler.handle(record_of("chiron", "unheard"))


@pytest.mark.parametrize("requests", [True, False])
def test_requests_may_be_left_out_of_the_log(client, capsys, requests: bool):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        log_json_lines(requests=requests)
        assert client.get("/healthz").status_code == 200
        logging.getLogger("chiron").info("kept")
    finally:
        log_json_lines()
        root.handlers[:] = before
        root.setLevel(level)
    written = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert ("request" in written) is requests
    assert "kept" in written


@pytest.fixture
def together() -> tuple[Together, io.StringIO]:
    handler = Together()
    handler.setFormatter(JsonLines())
    handler.setStream(written := io.StringIO())
    return handler, written


def record_of(name: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, "", 0, message, (), None)


def messages(written: io.StringIO) -> list[str]:
    return [json.loads(line)["message"] for line in written.getvalue().splitlines()]
