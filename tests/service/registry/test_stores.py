"""Tests of stores of versions, in a folder and in an object store: publication, promotion, and lost connections."""

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem

from models.contract.bundle import MODEL, BadBundle, read_bundle
from service.registry import objects as version_objects
from service.registry.local import StoreAway
from service.registry.objects import ObjectStore
from service.registry.versions import LINEAGE as LINEAGE_FILE
from service.registry.versions import Lineage, NotCurrent, Versions

from ..places import KINDS, LINEAGE, NAME, OBJECTS, Place, corrupt, cut


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path)


@pytest.fixture(params=OBJECTS)
def objects(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path)


@pytest.fixture
def memory(tmp_path) -> Place:
    return Place.of("memory://registry", tmp_path)


def chosen(versions: Versions, name: str = "m") -> list[str]:
    """List the promoted versions in order, the current one last."""
    current = versions.current(name)
    assert current is not None
    return [*(step.version for step in current.history), current.version]


# --- publication ---


def test_every_machine_sees_a_published_version_and_publication_is_idempotent(place):
    version = place.publish(2)
    for machine in ("worker", "api", "another"):
        versions = place.versions(machine)
        (published,) = versions.versions(NAME)
        assert (published.name, published.version, published.lineage) == (NAME, version, LINEAGE)
        folder = versions.folder(NAME, version)
        assert folder is not None
        assert read_bundle(folder).meta == published.meta
        before = folder.stat().st_ino
        assert place.publish(2, at=9.0, machine=machine) == version
        assert versions.folder(NAME, version) == folder
        assert folder.stat().st_ino == before
        assert versions.versions(NAME)[0].lineage == LINEAGE, "expected the lineage of the first publication"
        assert [path.name for path in folder.parent.iterdir()] == [version], "expected no partial copy"
        assert all(path.stat().st_mode & 0o222 == 0 for path in folder.iterdir())
    assert place.versions().folder(NAME, "another") is None
    assert place.versions().folder("nothing", version) is None


def test_the_first_of_two_publications_of_one_version_wins(place):
    (first, version), (second, _) = (place.stage(2, at, machine) for at, machine in ((1.0, "a"), (2.0, "b")))
    assert place.versions("c").versions(NAME) == [], "expected a staged version to be unpublished"
    place.versions("b").publish(second, version)
    place.versions("a").publish(first, version)
    for machine in "abc":
        (published,) = place.versions(machine).versions(NAME)
        assert published.lineage is not None
        assert published.lineage.created_at == 2.0
        folder = place.versions(machine).folder(NAME, version)
        assert folder is not None
        assert Lineage.model_validate_json((folder / LINEAGE_FILE).read_bytes()).created_at == 2.0


def test_an_incomplete_bundle_is_not_staged(place, bundles, tmp_path):
    folder = shutil.copytree(bundles / NAME, tmp_path / NAME)
    bundle = read_bundle(folder)
    corrupt(folder, MODEL)
    with pytest.raises(BadBundle, match="checksum"):
        place.versions().stage(bundle, LINEAGE)
    assert place.versions().published() in ({}, {NAME: []})
    assert list(tmp_path.glob("**/.staging-*")) == []


def test_a_full_disk_during_staging_leaves_no_files(place, monkeypatch):
    real, calls = shutil.copyfile, []

    def full(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("service.registry.versions.shutil.copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            place.publish(2)
    assert place.versions().versions(NAME) == []
    assert list(place.state.glob("**/.staging-*")) == []
    place.publish(2)
    assert len(place.versions().versions(NAME)) == 1


@pytest.mark.parametrize(("method", "after"), [("put_file", 0), ("put_file", 3), ("pipe_file", 0)])
def test_a_connection_lost_during_an_upload_publishes_nothing(memory, monkeypatch, method, after):
    with monkeypatch.context() as patched:
        cut(patched, method, after=after)
        with pytest.raises(StoreAway, match="ConnectionError: the connection is lost"):
            memory.publish(2)
    assert memory.versions("api").published() == {}
    version = memory.publish(2)
    assert memory.versions("api").folder(NAME, version) is not None


def test_publication_and_promotion_survive_a_lost_answer(memory, monkeypatch):
    for version in ("a", "b"):
        memory.versions().promote("m", version, None)
    with monkeypatch.context() as patched:
        cut(patched, "pipe_file", effective=True)
        memory.publish(2)
        assert memory.versions().promote("m", "c", None).version == "c"
        assert memory.versions().roll_back("m", "c").version == "b"
    assert len(memory.versions("api").versions(NAME)) == 1
    assert chosen(memory.versions("api")) == ["a", "b"]


# --- promotion ---


def test_rollbacks_undo_promotions_in_reverse_order(place):
    versions, elsewhere = place.versions("a"), place.versions("b")
    assert elsewhere.current("m") is None
    assert elsewhere.choices() == {}
    seen = []
    for version in ("a", "b", "b", "c"):
        versions.promote("m", version, before="shipped")
        seen.append(elsewhere.choices()["m"])
    assert seen[1] == seen[2], "expected promotion to be idempotent"
    assert len(set(seen)) == 3
    assert chosen(elsewhere) == ["shipped", "a", "b", "c"]
    for version, before in (("c", "b"), ("b", "a"), ("a", "shipped")):
        assert versions.before("m", version) == before
        assert elsewhere.roll_back("m", version).version == before
    with pytest.raises(NotCurrent, match="no version of m was served before shipped"):
        versions.roll_back("m", "shipped")
    with pytest.raises(NotCurrent, match="a is not the current version, shipped is"):
        versions.roll_back("m", "a")
    with pytest.raises(NotCurrent, match="x a is not the current version"):
        versions.roll_back("x", "a")


def test_the_loser_of_a_promotion_race_applies_its_change_after_the_winner(objects, monkeypatch):
    ours, theirs = objects.versions("a"), objects.versions("b")
    ours.promote("m", "a", None)
    create = ObjectStore._create

    def overtaken(store: ObjectStore, place: str, content: bytes) -> bool:
        monkeypatch.setattr(ObjectStore, "_create", create)
        theirs.promote("m", "theirs", None)
        return create(store, place, content)

    monkeypatch.setattr(ObjectStore, "_create", overtaken)
    ours.promote("m", "ours", None)
    assert chosen(theirs) == ["a", "theirs", "ours"]
    monkeypatch.setattr(ObjectStore, "_create", overtaken)
    with pytest.raises(NotCurrent, match="ours is not the current version, theirs is"):
        ours.roll_back("m", "ours")


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if not kind.startswith("memory")]
)  # the in-memory store has no lock
def test_concurrent_promotions_are_all_recorded(kind, tmp_path):
    place = Place.of(kind, tmp_path)
    versions = [f"v{i}" for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda version: place.versions(version).promote("m", version, None), versions))
    assert sorted(chosen(place.versions())) == sorted(versions)


def test_an_unreadable_promotion_record_is_refused(place):
    place.versions().promote("m", "a", None)
    if place.shared:
        place.put("choices/m.00000002.json", b'{"wrong": 1}')
    else:
        Path(place.where, "m", "current.json").write_text('{"wrong": 1}')
    for act in (place.versions().current, lambda name: place.versions().promote(name, "b", None)):
        with pytest.raises(BadBundle, match="choice of a version of m"):
            act("m")


# --- an unreachable store ---


@pytest.mark.parametrize(
    "act",
    [
        Versions.published,
        Versions.choices,
        lambda versions: versions.folder(NAME, "abc"),
        lambda versions: versions.current("m"),
        lambda versions: versions.promote("m", "b", None),
        lambda versions: versions.roll_back("m", "a"),
    ],
)
def test_an_unreachable_store_raises_and_promotions_are_remembered(
    memory, monkeypatch, act: Callable[[Versions], object]
):
    versions = memory.versions()
    assert versions.remembered() == {}
    current = versions.promote("m", "a", None)
    assert versions.current("m") == current
    cut(monkeypatch)
    with pytest.raises(StoreAway, match="ConnectionError: the connection is lost"):
        act(versions)
    assert memory.versions().remembered() == {"m": current}
    for remembered in (memory.state / "worker").rglob("current.json"):
        remembered.write_text("{")
    assert memory.versions().remembered() == {}
    assert Versions(f"{memory.where}-2", memory.state / "worker").remembered() == {}, (
        "expected no promotions of another store"
    )


class Silent(AsyncFileSystem):
    """A file system that never answers, like one behind a firewall that drops packets."""

    protocol = "silent"

    async def _ls(self, path, detail=True, **kwargs):
        await asyncio.sleep(3600)


def test_a_store_that_does_not_answer_times_out(tmp_path, monkeypatch):
    fsspec.register_implementation("silent", Silent, clobber=True)
    monkeypatch.setattr(version_objects, "ANSWER_S", 0.1)
    with pytest.raises(StoreAway, match="no answer in time"):
        Versions("silent://bucket", tmp_path).choices()


def test_a_url_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Protocol not known: nonsense"):
        Versions("nonsense://bucket", tmp_path)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_may_be_given_as_a_path_or_a_url(tmp_path, form):
    place = Place(form.format(tmp_path / "models"), tmp_path)
    version = place.publish(2)
    assert place.versions().folder(NAME, version) == tmp_path / "models" / NAME / "versions" / version
