"""Tests of the object store: refused contents, and local copies."""

import hashlib
import json

import pytest
from fsspec.core import url_to_fs

from models.contract.bundle import META, MODEL, BadBundle, read_bundle
from service.registry import objects as version_objects
from service.registry.local import StoreAway
from service.registry.versions import LINEAGE as LINEAGE_FILE

from ..places import KINDS, NAME, OBJECTS, Place, corrupt, cut


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path)


@pytest.fixture(params=OBJECTS)
def objects(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path)


@pytest.fixture
def memory(tmp_path) -> Place:
    return Place.of("memory://registry", tmp_path)


def test_a_version_is_downloaded_completely_or_not_at_all(memory, monkeypatch):
    version = memory.publish(2)
    with monkeypatch.context() as patched:
        cut(patched, "cat_file", after=3)
        with pytest.raises(StoreAway):
            memory.versions("api").folder(NAME, version)
    assert list((memory.state / "api").glob("**/*.onnx")) == []
    assert list((memory.state / "api").glob("**/.staging-*")) == []
    monkeypatch.setattr(version_objects, "PIECE_BYTES", 100)
    folder = memory.versions("api").folder(NAME, version)
    assert folder is not None
    assert read_bundle(folder).meta.version == version
    cut(monkeypatch)
    assert memory.versions("api").folder(NAME, version) == folder, "expected the local copy without a connection"


def flip_one_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip_one_bit, "checksum differs"),
        (lambda content: content[:-1], "expected .* bytes in the store, got"),
        (lambda content: content + b"0", "expected .* bytes in the store, got"),
        (lambda content: b"", "got 0"),
    ],
)
@pytest.mark.parametrize("file", [MODEL, META, LINEAGE_FILE])
def test_changed_content_is_refused(objects, file, change, message):
    version = objects.publish(2)
    path = objects.content(version, file)
    objects.put(path, change(objects.object(path)))
    with pytest.raises(BadBundle, match=message):
        objects.versions("api").folder(NAME, version)
    assert list((objects.state / "api").glob("**/versions/*")) == []
    if file == META:
        assert objects.versions("api").versions(NAME)[0].meta is None


def test_missing_content_is_refused(objects):
    version = objects.publish(2)
    files, root = url_to_fs(objects.where)
    files.rm_file(f"{root}/{objects.content(version, MODEL)}")
    with pytest.raises(BadBundle, match="there is no"):
        objects.versions("api").folder(NAME, version)


SHA256 = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b" " * (version_objects.MAX_SMALL_BYTES + 1),
        *(
            json.dumps({"files": {name: {"sha256": SHA256, "bytes": 1}}}).encode()
            for name in ("../x", "/x", "a/b", "a\\b", "..", ".", ".x", "", "a\0", "a\n", "a" * 101)
        ),
        json.dumps({"files": {"x": {"sha256": f"../{SHA256}"[:64], "bytes": 1}}}).encode(),
        json.dumps({"files": {"x": {"sha256": SHA256, "bytes": -1}}}).encode(),
        json.dumps({"files": {"x": {"sha256": SHA256, "bytes": version_objects.MAX_VERSION_BYTES + 1}}}).encode(),
        json.dumps({"files": {}, "more": 1}).encode(),
    ],
)
def test_an_invalid_manifest_is_refused(objects, manifest):
    objects.put(f"files/{SHA256}", b"x")
    objects.put(f"versions/{NAME}.abc.json", manifest)
    with pytest.raises(BadBundle):
        objects.versions("api").folder(NAME, "abc")
    assert objects.versions("api").versions(NAME)[0].meta is None
    assert [path for path in objects.state.rglob("*") if path.is_file()] == []


def test_a_changed_local_copy_is_fetched_again(memory):
    version = memory.publish(2)
    api = memory.versions("api")
    folder = api.folder(NAME, version)
    assert folder is not None
    (folder / MODEL).chmod(0o644)
    corrupt(folder, MODEL)
    assert api.folder(NAME, version) == folder
    assert read_bundle(folder).meta.version == version


def test_other_objects_are_ignored(memory):
    version = memory.publish(2)
    for path in ("versions/README", "versions/.x.json", "choices/m.x.json", "choices/m.json", "versions/a/b.json"):
        memory.put(path, b"x")
    assert list(memory.versions("api").published()) == [NAME]
    assert memory.versions("api").choices() == {}
    assert memory.versions("api").folder(NAME, version) is not None
