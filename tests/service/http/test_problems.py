"""Tests of Range requests: valid ranges, and problems for others."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.http import problems
from service.http.problems import FileDownload

from ..exchange import problem_of


@pytest.mark.parametrize(
    ("kind", "code"), [("wrong-shape", 1008), ("body-too-large", 1009), ("internal", 1011), ("overloaded", 1013)]
)
def test_a_problem_closes_a_websocket_with_its_code_and_a_reason_that_fits(kind, code):
    message = problems.closing(problems.Problem(kind, "äöü" * 100))
    assert (message["type"], message["code"]) == ("websocket.close", code)
    assert message["reason"].startswith(f"{kind}: äöü")
    assert 120 < len(message["reason"].encode()) <= 123


@pytest.fixture
def client(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    app = FastAPI()
    problems.install(app, {})

    @app.middleware("http")
    async def name_the_request(request, call_next):
        request.scope["request_id"] = "r"
        answer = await call_next(request)
        answer.headers["x-request-id"] = "r"
        return answer

    @app.get("/file")
    async def file() -> FileDownload:
        return FileDownload(tmp_path / "file", media_type="application/octet-stream")

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_range_of_a_file_is_served(client):
    answer = client.get("/file", headers={"range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")
    assert client.get("/file").content == b"0123456789"


@pytest.mark.parametrize("range_", ["bytes", "bytes=", "bytes=x-y", "lines=1-2", "bytes=5-2"])
def test_a_malformed_range_is_a_problem(client, range_):
    problem = problem_of(client.get("/file", headers={"range": range_}), "invalid-request")
    assert problem["detail"] == f"Range: expected bytes=FIRST-LAST within 10 bytes, got {range_!r}"


def test_a_range_beyond_the_file_is_a_problem(client):
    answer = client.get("/file", headers={"range": "bytes=20-30"})
    problem_of(answer, "range-not-satisfiable")
    assert answer.headers["content-range"] == "bytes */10"
