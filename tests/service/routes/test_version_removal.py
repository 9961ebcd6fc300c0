"""Tests of the removal of versions over HTTP, from a folder and from an object store."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models.contract.bundle import MODEL
from service.app import create_app
from service.registry import objects
from service.settings import Settings

from ..exchange import problem_of
from ..places import KINDS, NAME, Place


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path / "state")


@pytest.fixture
def memory(tmp_path) -> Place:
    return Place.of("memory://registry", tmp_path / "state")


@pytest.fixture
def client(bundles, place, tmp_path):
    shutil.copytree(bundles / NAME, tmp_path / "bundles" / NAME)
    settings = Settings(bundles=tmp_path / "bundles", state=tmp_path / "api", registry=place.where)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_only_an_unused_version_can_be_removed(client, place):
    first, second, third = (place.publish(modes) for modes in (2, 3, 4))
    for version in (first, second):
        assert client.post(f"/models/{NAME}/versions/{version}/promote").status_code == 200
    assert client.delete(f"/models/{NAME}/versions/{third}").status_code == 204
    problem_of(client.delete(f"/models/{NAME}/versions/{third}"), "unknown-version")
    problem_of(client.post(f"/models/{NAME}/versions/{third}/promote"), "unknown-version")
    for version in (first, second):
        detail = problem_of(client.delete(f"/models/{NAME}/versions/{version}"), "wrong-state")["detail"]
        assert "is the current version or its predecessor" in detail
    listed = [version["version"] for version in client.get(f"/models/{NAME}").json()["versions"]]
    assert {first, second} <= set(listed)
    assert third not in listed
    problem_of(client.delete("/models/none/versions/abc"), "unknown-version")


def test_an_object_store_keeps_shared_and_recent_files(memory, monkeypatch):
    first, second = memory.publish(2), memory.publish(3)
    shared, own, other = (
        memory.content(first, "lineage.json"),
        memory.content(first, MODEL),
        memory.content(second, MODEL),
    )
    assert shared == memory.content(second, "lineage.json")
    versions = memory.versions()
    assert versions.folder(NAME, first) is not None
    assert versions.remove(NAME, first)
    memory.object(own)  # a recent file may belong to a version that is about to be published
    assert first not in [version for _, version, _ in versions.copies()]
    monkeypatch.setattr(objects, "SETTLED_S", -1.0)
    third = memory.publish(4)
    own = memory.content(third, MODEL)
    assert versions.remove(NAME, third)
    with pytest.raises(FileNotFoundError):
        memory.object(own)
    for path in (shared, other):
        memory.object(path)


def test_an_unused_local_copy_is_removed_and_downloaded_again_when_needed(memory):
    version = memory.publish(2)
    versions = memory.versions("another machine")
    folder = versions.folder(NAME, version)
    assert isinstance(folder, Path)
    assert versions.copies() == [(NAME, version, folder)]
    assert versions.remove_copy(NAME, version)
    assert not versions.remove_copy(NAME, version)
    assert versions.copies() == []
    assert versions.folder(NAME, version) == folder
