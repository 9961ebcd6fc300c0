"""Tests of the page's files: types, caching, what a browser may load, keys, and that an installation has all of them."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.routes.page import WEB
from service.settings import Settings

from ..exchange import problem_of

ROOT = Path(__file__).parents[3]
SWAGGER = "/web/vendor/swagger/swagger-ui-5.35.0.min.js"
THREE = "/web/vendor/three-0.187.0.min.js"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/web/docs.js", "text/javascript"),
        (SWAGGER, "text/javascript"),
        ("/web/app.js", "text/javascript"),
        ("/web/style.css", "text/css"),
        ("/web/samples/hands.json", "application/json"),
        ("/web/samples/face.ply.gz", "application/octet-stream"),
        (THREE, "text/javascript"),
    ],
)
def test_files_have_their_types_and_no_browser_guesses_others(client, path, media_type):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in answer.headers


def test_a_name_with_a_version_is_kept_and_any_other_is_checked(client):
    assert client.get(THREE).headers["cache-control"] == "public, max-age=31536000, immutable"
    page = client.get("/web/app.js")
    assert page.headers["cache-control"] == "no-cache"
    again = client.get("/web/app.js", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_may_load_nothing_from_elsewhere(client, path):
    policy = client.get(path).headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http:" not in policy
    assert "https:" not in policy


@pytest.mark.parametrize("path", ["/web/", "/web/nothing.js", "/web/../app.py", "/web/%2e%2e/app.py"])
def test_what_is_no_file_of_the_page_is_a_problem(client, path):
    problem_of(client.get(path), "not-found")


def test_files_of_the_page_need_no_key(bundles):
    with TestClient(create_app(Settings(bundles=bundles, api_keys=("key",)))) as guarded:
        assert guarded.get("/web/app.js").status_code == 200
        assert guarded.get("/webs").status_code == 401


def test_an_installation_has_every_file_of_the_page():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["service"]
    packaged = {path for pattern in patterns for path in (ROOT / "service").glob(pattern)}
    assert {path for path in WEB.rglob("*") if path.is_file()} - packaged == set()


def test_vendored_files_have_the_version_that_npm_locks_and_a_licence():
    folder = WEB / "vendor/swagger"
    version = json.loads((folder / "package.json").read_text())["devDependencies"]["swagger-ui-dist"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]["node_modules/swagger-ui-dist"]
    assert locked["version"] == version
    assert {path.name for path in folder.glob("swagger-ui-*")} == {
        f"swagger-ui-{version}.min.{kind}" for kind in ("js", "css")
    }
    assert "Apache License" in (folder / "LICENSE.txt").read_text()
    assert "service/web/vendor/swagger" in (ROOT / "NOTICE").read_text()


def test_modules_import_only_what_is_there():
    for module in [*WEB.glob("*.js"), *WEB.glob("*.html")]:
        for named in re.findall(r"(?:from|import\(|src=|href=)\s*['\"]([^'\"]+\.(?:js|css))['\"]", module.read_text()):
            if not named.startswith(("http", "${")):
                assert (module.parent / named.removeprefix("web/")).is_file(), f"{module.name} names {named}"
