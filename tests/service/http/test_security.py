"""Keys: who is let in, and where the service listens without any."""

import hashlib

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.security import UnsafeBind, check_bind, digest
from service.settings import Settings

from ..exchange import problem_of

KEYS = f"first-key, sha256:{hashlib.sha256(b'second-key').hexdigest()}"


@pytest.fixture(scope="module")
def guarded(bundles):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHIRON_API_KEYS", KEYS)
        app = create_app(Settings(bundles=bundles, host="0.0.0.0"))
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("key", ["first-key", "second-key"])
def test_a_key_opens_by_either_header(guarded, key):
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
def test_nothing_else_opens(guarded, headers):
    for path in ("/models", "/metrics", "/nothing", "/forecast/hands", "/landmarks/face", "/landmarks"):
        response = guarded.get(path, headers=headers)
        problem_of(response, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/docs", "/openapi.json", "/problems/unauthorized"])
def test_health_and_pages_are_open(guarded, path):
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_without_keys_the_service_listens_to_this_machine_only(host):
    with pytest.raises(UnsafeBind, match="CHIRON_API_KEYS"):
        create_app(Settings(host=host))
    check_bind(Settings(host=host, api_keys=("key",)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_this_machine_needs_no_key(host):
    check_bind(Settings(host=host))


def test_the_default_is_this_machine():
    assert Settings().host == "127.0.0.1"


def test_a_key_may_be_given_as_its_hash():
    assert digest("key") == digest("sha256:" + hashlib.sha256(b"key").hexdigest())
