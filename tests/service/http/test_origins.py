"""Tests of the Host and Origin checks, CORS, HEAD requests, and the path prefix of a proxy."""

import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands
from starlette.testclient import WebSocketDenialResponse

from service.app import create_app
from service.http.origins import host_name, is_own_name
from service.settings import Settings

from ..exchange import problem_of, refusal_of

ELSEWHERE = "https://elsewhere.example"
CHANGES = (
    "/models/steady/rollback",
    "/models/steady/versions/0123/promote",
    "/jobs/1/cancel",
    "/jobs/1/retry",
    "/jobs",
    "/datasets",
    "/forecast/hands",
)
READS = (
    "/",
    "/docs",
    "/healthz",
    "/readyz",
    "/models",
    "/joints",
    "/openapi.json",
    "/nothing",
    "/models/hands-thirty/example",
)
TRUSTED = "https://studio.example"
HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def client(bundles):
    settings = Settings(bundles=bundles, hosts=(), cors_origins=(TRUSTED,))
    with TestClient(create_app(settings), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def prefixed(bundles):
    with TestClient(create_app(Settings(bundles=bundles, hosts=(), root_path="/chiron")), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "127.0.0.1", "[::1]:8000", "LocalHost"]
)
def test_loopback_hosts_are_accepted(client, host):
    assert client.get("/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", [None, HERE, TRUSTED])
def test_a_websocket_of_own_pages_of_trusted_ones_or_of_no_page_may_be_opened(client, origin):
    host = {"host": "127.0.0.1:8000"}  # the test client's own is testserver
    refusal_of(client, "/nothing", "not-found", headers=host | ({"origin": origin} if origin else {}))


def test_a_websocket_of_another_sites_page_or_host_is_refused(client):
    host = {"host": "127.0.0.1:8000"}
    assert ELSEWHERE in refusal_of(client, "/nothing", "forbidden", headers={**host, "origin": ELSEWHERE})["detail"]
    refusal_of(client, "/nothing", "forbidden", headers={"host": "evil.example"})


def test_the_problem_of_a_websocket_has_the_prefix(prefixed):
    host = {"host": "127.0.0.1:8000"}
    for path in ("/nothing", "/chiron/nothing"):
        with pytest.raises(WebSocketDenialResponse) as refused, prefixed.websocket_connect(path, headers=host):
            pass
        assert refused.value.json()["type"] == "/chiron/problems/not-found"


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "127.0.0.1:8000", ""])
def test_an_origin_that_is_none_is_refused(client, origin):
    problem_of(client.post("/forecast/hands", json={}, headers={"origin": origin}), "forbidden")


def test_an_unexpected_error_under_a_prefix_has_the_id_of_its_request(bundles, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("service.tasks.hands.prepare.prepare_usual", broken)
    app = create_app(Settings(bundles=bundles, hosts=(), root_path="/chiron"))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        body = {"fps": 30, "past": moving_hands(30, hands=2).tolist()}
        response = client.post("/chiron/forecast/hands", json=body, headers={"x-request-id": "mine-1"})
    problem = response.json()
    assert response.headers["x-request-id"] == "mine-1"
    assert problem["instance"] == "urn:chiron:request:mine-1"
    assert problem["type"] == "/chiron/problems/internal"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1"]
)
def test_other_hosts_are_refused_for_any_method(client, host):
    for method in ("GET", "POST"):
        assert (
            "CHIRON_HOSTS"
            in problem_of(client.request(method, "/models", headers={"host": host}), "forbidden")["detail"]
        )


def test_the_accepted_hosts_are_a_setting(bundles):
    app = create_app(Settings(bundles=bundles, hosts=("chiron.example",)))
    with TestClient(app, base_url="http://chiron.example") as client:
        assert client.get("/healthz").status_code == 200
        problem_of(client.get("/healthz", headers={"host": "localhost"}), "forbidden")


def test_any_host_is_accepted_if_there_are_keys(bundles):
    with TestClient(
        create_app(Settings(bundles=bundles, hosts=(), api_keys=("key",))), base_url="http://gpu-7.lan"
    ) as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": ELSEWHERE},
        {"origin": "null"},
        {"origin": ELSEWHERE, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:9000", "sec-fetch-site": "same-site"},
    ],
)
def test_a_change_from_a_page_of_another_site_is_refused(client, path, headers):
    problem_of(client.post(path, headers=headers), "forbidden")


@pytest.mark.parametrize(
    "headers", [{}, {"origin": HERE, "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": TRUSTED}]
)
def test_programs_own_pages_and_trusted_origins_are_accepted(client, headers):
    assert (
        client.post(
            "/forecast/hands", json={"fps": 30, "past": moving_hands(30, hands=2).tolist()}, headers=headers
        ).status_code
        == 200
    )


def test_a_preflight_request_needs_no_key(bundles):
    settings = Settings(bundles=bundles, api_keys=("key",), cors_origins=(TRUSTED,))
    with TestClient(create_app(settings), base_url=HERE) as client:
        preflight_headers = {
            "origin": TRUSTED,
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-api-key,content-type",
        }
        preflight = client.options("/forecast/hands", headers=preflight_headers)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == TRUSTED
        refused = client.post("/forecast/hands", headers={"origin": TRUSTED})
        problem_of(refused, "unauthorized")
        assert refused.headers["access-control-allow-origin"] == TRUSTED  # lets the page read the problem
        assert client.options("/forecast/hands", headers={**preflight_headers, "origin": ELSEWHERE}).status_code == 400


def test_no_page_may_read_an_answer_by_default(bundles):
    with TestClient(create_app(Settings(bundles=bundles, hosts=())), base_url=HERE) as client:
        assert "access-control-allow-origin" not in client.get("/models", headers={"origin": TRUSTED}).headers


@pytest.mark.parametrize("path", READS)
def test_head_answers_like_get_without_a_body(client, path):
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("start", ["/chiron", ""])
def test_all_links_have_the_prefix_of_the_proxy(prefixed, start):
    assert prefixed.get(f"{start}/models").status_code == 200
    assert prefixed.get(f"{start}/nothing").json()["type"] == "/chiron/problems/not-found"
    assert prefixed.get(f"{start}/openapi.json").json()["servers"] == [{"url": "/chiron"}]
    job = prefixed.post(f"{start}/jobs", json={"kind": "train", "run": "hands-eqmotion", "steps": 1})
    assert job.headers["location"] == f"/chiron/jobs/{job.json()['id']}"


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_pages_have_relative_links_only(client, page):
    text = client.get(page).text
    assert not [start for start in ('href="/', "fetch('/", "ask('/", "ask(`/", "send('/", "send(`/") if start in text]


def test_paths_with_a_prefix_need_the_same_keys(bundles):
    settings = Settings(bundles=bundles, root_path="/chiron", api_keys=("key",))
    with TestClient(create_app(settings), base_url=HERE) as client:
        for path in ("/chiron/models", "/models", "/chiron/forecast/hands"):
            assert client.get(path).status_code == 401
        assert client.get("/chiron/healthz").status_code == 200


@pytest.mark.parametrize(
    ("host", "name"), [("a.b:80", "a.b"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("A", "a"), ("", "")]
)
def test_the_port_is_removed_from_a_host(host, name):
    assert host_name(host) == name


def test_only_loopback_names_are_own_names():
    assert is_own_name("localhost")
    assert is_own_name("127.8.8.8")
    assert not is_own_name("0.0.0.0")
    assert not is_own_name("example.org")
