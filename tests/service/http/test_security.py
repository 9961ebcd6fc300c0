"""Tests of API keys: authentication, scopes, key files, and the addresses that need keys."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.keys import KeyRing, add_key, read_keys, revoke_key
from service.http.security import UnsafeBind, check_bind, is_open, key_ring, scope_of
from service.settings import Settings

from ..exchange import problem_of, refusal_of

KEYS = f"first-key, sha256:{hashlib.sha256(b'second-key').hexdigest()}"


@pytest.fixture(scope="module")
def guarded(bundles):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHIRON_API_KEYS", KEYS)
        app = create_app(Settings(bundles=bundles, host="0.0.0.0"))
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def keyed(bundles, tmp_path_factory):
    """Return a client of a server with a key file, the file, and a key for each scope."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    secrets = {scope: add_key(path, scope, (scope,)) for scope in ("infer", "jobs", "models", "admin")}
    with TestClient(create_app(Settings(bundles=bundles, keys_file=path))) as client:
        yield client, path, secrets


@pytest.fixture(autouse=True)
def no_reload_interval(monkeypatch):
    monkeypatch.setattr("service.http.keys.RELOAD_S", -1.0)


@pytest.mark.parametrize("key", ["first-key", "second-key"])
def test_a_key_is_accepted_in_either_header(guarded, key):
    assert guarded.get("/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
    assert guarded.get("/models", headers={"authorization": f"bearer  {key}"}).status_code == 200
    assert guarded.get("/models", headers={"x-api-key": key}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "third-key"},
        {"authorization": "Basic first-key"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer third-key", "x-api-key": "first-key"},
        {"x-api-key": KEYS.split(", ")[1]},
    ],
)
def test_a_request_without_a_valid_key_is_refused(guarded, headers):
    for path in ("/models", "/metrics", "/nothing", "/forecast/hands", "/landmarks/face", "/landmarks"):
        response = guarded.get(path, headers=headers)
        problem_of(response, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"


def test_a_websocket_needs_a_key_in_a_header_or_for_browsers_in_a_subprotocol(keyed):
    client, _, secrets = keyed
    refusal_of(client, "/nothing", "unauthorized")
    refusal_of(client, "/nothing", "unauthorized", subprotocols=["chiron", "chiron.key.wrong"])
    refusal_of(client, "/forecast/nothing", "forbidden", headers={"x-api-key": secrets["jobs"]})
    refusal_of(client, "/forecast/nothing", "not-found", headers={"authorization": f"Bearer {secrets['infer']}"})
    refusal_of(client, "/forecast/nothing", "not-found", subprotocols=["chiron", f"chiron.key.{secrets['infer']}"])


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/", "/docs", "/openapi.json", "/problems/unauthorized", "/web/index.html"]
)
def test_health_and_pages_need_no_key(guarded, path):
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_a_public_address_needs_a_key(host, tmp_path):
    settings = Settings(host=host, keys_file=tmp_path / "keys.json")
    with pytest.raises(UnsafeBind, match="CHIRON_API_KEYS"):
        create_app(settings)
    add_key(settings.keys, "somebody", ("infer",))
    check_bind(settings, key_ring(settings))
    check_bind(settings, key_ring(Settings(host=host, api_keys=("key",))))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_a_loopback_address_needs_no_key(host, tmp_path):
    check_bind(Settings(host=host), KeyRing(tmp_path / "keys.json"))


def test_the_default_address_is_loopback():
    assert Settings().host == "127.0.0.1"


@pytest.mark.parametrize("key", ["sha256:12", "sha256:" + "g" * 64])
def test_a_malformed_key_hash_is_refused(key):
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        Settings(api_keys=(key,))


@pytest.mark.parametrize(
    ("method", "path", "required"),
    [
        ("POST", "/forecast/hands", "infer"),
        ("POST", "/landmarks/face", "infer"),
        ("POST", "/poses/lift", "infer"),
        ("POST", "/actions/recognize", "infer"),
        ("POST", "/jobs", "jobs"),
        ("GET", "/jobs", "jobs"),
        ("GET", "/workers", "jobs"),
        ("POST", "/datasets", "jobs"),
        ("POST", "/models/steady/versions/0123/promote", "models"),
        ("POST", "/models/steady/rollback", "models"),
    ],
)
def test_a_scope_permits_only_its_own_paths(keyed, method, path, required):
    client, _, secrets = keyed
    for scope, secret in secrets.items():
        response = client.request(method, path, headers={"x-api-key": secret})
        if scope in (required, "admin"):
            assert response.status_code not in (401, 403)
        else:
            assert f"the scope '{required}'" in problem_of(response, "forbidden")["detail"]


def test_every_key_may_read_descriptions_and_metrics(keyed):
    client, _, secrets = keyed
    for secret in secrets.values():
        for path in ("/models", "/joints", "/landmarks", "/metrics"):
            assert client.get(path, headers={"x-api-key": secret}).status_code == 200


def test_every_route_that_writes_needs_a_scope():
    app = create_app(Settings())
    paths = app.openapi()["paths"]
    writing = [(method.upper(), path) for path, methods in paths.items() for method in methods if method != "get"]
    assert writing
    for method, path in writing:
        assert not is_open(path)
        assert scope_of(method, path) in ("infer", "jobs", "models"), (
            f"expected a scope for {method} {path} in service/http/security.py"
        )


def test_a_running_server_notices_added_revoked_and_expired_keys(keyed):
    client, path, _ = keyed
    secret = add_key(path, "late", ("infer",), timedelta(days=1))
    assert client.get("/models", headers={"x-api-key": secret}).status_code == 200
    revoke_key(path, "late")
    assert (
        "'late' is revoked"
        in problem_of(client.get("/models", headers={"x-api-key": secret}), "unauthorized")["detail"]
    )
    expired = add_key(path, "late", ("infer",), timedelta(seconds=-1))
    assert (
        "'late' is expired"
        in problem_of(client.get("/models", headers={"x-api-key": expired}), "unauthorized")["detail"]
    )


def test_the_first_key_protects_a_running_server_even_if_its_file_is_deleted(bundles, tmp_path):
    path = tmp_path / "keys.json"
    with TestClient(create_app(Settings(bundles=bundles, keys_file=path))) as client:
        assert client.get("/models").status_code == 200
        secret = add_key(path, "first", ("admin",))
        problem_of(client.get("/models"), "unauthorized")
        assert client.get("/models", headers={"x-api-key": secret}).status_code == 200
        path.unlink()
        problem_of(client.get("/models"), "unauthorized")


def test_a_running_server_ignores_a_damaged_key_file(keyed):
    client, path, secrets = keyed
    before = path.read_bytes()
    path.write_bytes(b"{")
    assert client.get("/models", headers={"x-api-key": secrets["infer"]}).status_code == 200
    path.write_bytes(before)


def test_a_key_file_contains_no_secrets(keyed):
    _, path, secrets = keyed
    text = path.read_text()
    assert not any(secret in text or secret.removeprefix("chiron_") in text for secret in secrets.values())
    assert path.stat().st_mode & 0o077 == 0
    assert {key.name for key in read_keys(path)} >= set(secrets)


def test_a_key_is_logged_by_name_and_never_by_value(keyed, caplog):
    client, _, secrets = keyed
    with caplog.at_level("INFO", logger="chiron"):
        client.get("/models", headers={"x-api-key": secrets["models"]})
    fields = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [line["key"] for line in fields if line["path"] == "/models"] == ["models"]
    assert secrets["models"] not in caplog.text + str(fields)


def test_openapi_documents_keys_and_their_errors(keyed):
    client, _, _ = keyed
    document = client.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert "403" in operation["responses"], f"{method} {path}"
            if not is_open(path):
                assert {"401", "429"} <= set(operation["responses"]), f"{method} {path}"
                assert {"bearer": []} in operation["security"]


def test_a_valid_key_is_valid_until_it_expires():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ring = key_ring(Settings(api_keys=("key",)))
    key = ring.find("key")
    assert key is not None
    assert key.state(now) == "valid"
    assert key.model_copy(update={"expires": now}).state(now) == "expired"
