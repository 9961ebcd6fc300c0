"""Where versions are kept: the same laws in a folder and in an object store, and what is refused of an object store.

CHIRON_TEST_REGISTRY=s3://bucket adds one more store, whose bucket is there, to those that the laws are tried on.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.memory import MemoryFileSystem

from models.contract.bundle import META, MODEL, BadBundle, read_bundle
from models.contract.task import HandForecast
from service.registry import objects as version_objects
from service.registry.local import StoreAway
from service.registry.objects import ObjectStore
from service.registry.versions import LINEAGE as LINEAGE_FILE
from service.registry.versions import Lineage, NotCurrent, Versions

from .conftest import make_hands
from .test_registry import spoil

NAME = "hands-thirty"
LINEAGE = Lineage(
    job="j", attempt=1, run="r", seed=0, data="d", data_sha256="0" * 64, git_commit="c", created_at=1.0
)  # fmt: skip
OBJECTS = ["memory://registry", *filter(None, [os.environ.get("CHIRON_TEST_REGISTRY")])]
KINDS = ["folder", *OBJECTS]


@dataclass(frozen=True)
class Place:
    """Where versions are, and a folder for what each machine has of its own."""

    where: str
    state: Path

    @classmethod
    def of(cls, kind: str, state: Path) -> "Place":
        return cls(str(state / "models") if kind == "folder" else f"{kind}/{uuid4().hex}", state)

    @property
    def shared(self) -> bool:
        return "://" in self.where

    def versions(self, machine: str = "worker") -> Versions:
        """As a process of another machine sees them."""
        return Versions(self.where, self.state / machine)

    def stage(self, modes: int, at: float = 1.0, machine: str = "worker") -> tuple[Path, str]:
        """Another bundle of the model, with so many modes, as a worker stages it, and its version."""
        with TemporaryDirectory() as folder:
            bundle = read_bundle(make_hands(Path(folder), NAME, HandForecast(past=30, future=30, fps=30, modes=modes)))
            staging = self.versions(machine).stage(bundle, LINEAGE.model_copy(update={"created_at": at}))
        return staging, bundle.meta.version

    def publish(self, modes: int, at: float = 1.0, machine: str = "worker") -> str:
        """Stage such a bundle and publish it; its version."""
        staging, version = self.stage(modes, at, machine)
        self.versions(machine).publish(staging, version)
        return version

    def content(self, version: str, file: str) -> str:
        """Where the content of a version's file is, below the URL."""
        return f"files/{json.loads(self.object(f'versions/{NAME}.{version}.json'))['files'][file]['sha256']}"

    def object(self, path: str) -> bytes:
        files, root = url_to_fs(self.where)
        return files.cat_file(f"{root}/{path}")

    def put(self, path: str, content: bytes) -> None:
        files, root = url_to_fs(self.where)
        files.pipe_file(f"{root}/{path}", content)

    def spoil(self, version: str) -> None:
        """Change one bit of a published model."""
        if self.shared:
            path = self.content(version, MODEL)
            content = bytearray(self.object(path))
            content[len(content) // 2] ^= 1
            self.put(path, bytes(content))
        else:
            folder = Path(self.where, NAME, "versions", version)
            (folder / MODEL).chmod(0o644)
            spoil(folder, MODEL)


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path)


@pytest.fixture(params=OBJECTS)
def objects(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path)


@pytest.fixture
def memory(tmp_path) -> Place:
    return Place.of("memory://registry", tmp_path)


def cut(monkeypatch: pytest.MonkeyPatch, *methods: str, after: int = 0, done: bool = False) -> None:
    """Have the file system in memory lose its connection: each method fails after so many calls, `done` or not."""
    for method in methods or ("ls", "info", "cat_file", "pipe_file", "put_file"):
        real, calls = getattr(MemoryFileSystem, method), []

        def fail(*args, real=real, calls=calls, **options):
            calls.append(1)
            if len(calls) <= after:
                return real(*args, **options)
            if done:
                real(*args, **options)
            raise ConnectionError("the cable was cut")

        monkeypatch.setattr(MemoryFileSystem, method, fail)


def chosen(versions: Versions, name: str = "m") -> list[str]:
    """What was served, one after the other, the current one last."""
    current = versions.current(name)
    assert current is not None
    return [*(step.version for step in current.history), current.version]


# --- publishing ---


def test_a_version_is_there_whole_for_every_machine_and_is_not_changed_by_publishing_it_again(place):
    version = place.publish(2)
    for machine in ("worker", "api", "another"):
        versions = place.versions(machine)
        (found,) = versions.versions(NAME)
        assert (found.name, found.version, found.lineage) == (NAME, version, LINEAGE)
        folder = versions.folder(NAME, version)
        assert folder is not None
        assert read_bundle(folder).meta == found.meta
        before = folder.stat().st_ino
        assert place.publish(2, at=9.0, machine=machine) == version
        assert versions.folder(NAME, version) == folder
        assert folder.stat().st_ino == before
        assert versions.versions(NAME)[0].lineage == LINEAGE, "the first one stays"
        assert [path.name for path in folder.parent.iterdir()] == [version], "nothing half done is left"
        assert all(path.stat().st_mode & 0o222 == 0 for path in folder.iterdir())
    assert place.versions().folder(NAME, "another") is None
    assert place.versions().folder("nothing", version) is None


def test_of_two_that_publish_the_same_version_one_does_whatever_the_order(place):
    (first, version), (second, _) = (place.stage(2, at, machine) for at, machine in ((1.0, "a"), (2.0, "b")))
    assert place.versions("c").versions(NAME) == [], "staged is not published"
    place.versions("b").publish(second, version)
    place.versions("a").publish(first, version)
    for machine in "abc":
        (found,) = place.versions(machine).versions(NAME)
        assert found.lineage is not None
        assert found.lineage.created_at == 2.0
        folder = place.versions(machine).folder(NAME, version)
        assert folder is not None
        assert Lineage.model_validate_json((folder / LINEAGE_FILE).read_bytes()).created_at == 2.0


def test_what_is_no_whole_bundle_is_not_staged(place, bundles, tmp_path):
    folder = shutil.copytree(bundles / NAME, tmp_path / NAME)
    bundle = read_bundle(folder)
    spoil(folder, MODEL)
    with pytest.raises(BadBundle, match="checksum"):
        place.versions().stage(bundle, LINEAGE)
    assert place.versions().published() in ({}, {NAME: []})
    assert list(tmp_path.glob("**/.staging-*")) == []


def test_a_disk_that_is_full_in_the_middle_of_staging_leaves_nothing(place, monkeypatch):
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
def test_a_connection_lost_in_the_middle_of_an_upload_publishes_nothing(memory, monkeypatch, method, after):
    with monkeypatch.context() as patched:
        cut(patched, method, after=after)
        with pytest.raises(StoreAway, match="ConnectionError: the cable was cut"):
            memory.publish(2)
    assert memory.versions("api").published() == {}
    version = memory.publish(2)
    assert memory.versions("api").folder(NAME, version) is not None


def test_an_answer_lost_is_no_publication_or_choice_lost(memory, monkeypatch):
    for version in ("a", "b"):
        memory.versions().promote("m", version, None)
    with monkeypatch.context() as patched:
        cut(patched, "pipe_file", done=True)
        memory.publish(2)
        assert memory.versions().promote("m", "c", None).version == "c"
        assert memory.versions().roll_back("m", "c").version == "b"
    assert len(memory.versions("api").versions(NAME)) == 1
    assert chosen(memory.versions("api")) == ["a", "b"]


# --- what was changed since ---


def test_a_version_is_downloaded_whole_or_not_at_all(memory, monkeypatch):
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
    assert memory.versions("api").folder(NAME, version) == folder, "what is here wants no connection"


def one_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_bit, "checksum differs"),
        (lambda content: content[:-1], "expected .* bytes in the store, got"),
        (lambda content: content + b"0", "expected .* bytes in the store, got"),
        (lambda content: b"", "got 0"),
    ],
)
@pytest.mark.parametrize("file", [MODEL, META, LINEAGE_FILE])
def test_content_that_is_not_what_was_published_is_refused(objects, file, change, message):
    version = objects.publish(2)
    path = objects.content(version, file)
    objects.put(path, change(objects.object(path)))
    with pytest.raises(BadBundle, match=message):
        objects.versions("api").folder(NAME, version)
    assert list((objects.state / "api").glob("**/versions/*")) == []
    if file == META:
        assert objects.versions("api").versions(NAME)[0].meta is None


def test_content_that_is_gone_is_refused(objects):
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
def test_a_list_of_files_that_is_none_is_refused(objects, manifest):
    objects.put(f"files/{SHA256}", b"x")
    objects.put(f"versions/{NAME}.abc.json", manifest)
    with pytest.raises(BadBundle):
        objects.versions("api").folder(NAME, "abc")
    assert objects.versions("api").versions(NAME)[0].meta is None
    assert [path for path in objects.state.rglob("*") if path.is_file()] == []


def test_a_copy_that_was_changed_is_fetched_again(memory):
    version = memory.publish(2)
    api = memory.versions("api")
    folder = api.folder(NAME, version)
    assert folder is not None
    (folder / MODEL).chmod(0o644)
    spoil(folder, MODEL)
    assert api.folder(NAME, version) == folder
    assert read_bundle(folder).meta.version == version


def test_other_objects_are_passed_over(memory):
    version = memory.publish(2)
    for path in ("versions/README", "versions/.x.json", "choices/m.x.json", "choices/m.json", "versions/a/b.json"):
        memory.put(path, b"x")
    assert list(memory.versions("api").published()) == [NAME]
    assert memory.versions("api").choices() == {}
    assert memory.versions("api").folder(NAME, version) is not None


# --- choosing ---


def test_versions_are_taken_back_in_the_order_in_which_they_came(place):
    versions, elsewhere = place.versions("a"), place.versions("b")
    assert elsewhere.current("m") is None
    assert elsewhere.choices() == {}
    seen = []
    for version in ("a", "b", "b", "c"):
        versions.promote("m", version, before="shipped")
        seen.append(elsewhere.choices()["m"])
    assert seen[1] == seen[2], "promoted again, nothing changes"
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


def test_who_loses_the_race_for_a_choice_comes_after_the_one_who_won(objects, monkeypatch):
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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("memory")])  # which has no lock
def test_promotions_side_by_side_lose_none(kind, tmp_path):
    place = Place.of(kind, tmp_path)
    versions = [f"v{i}" for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda version: place.versions(version).promote("m", version, None), versions))
    assert sorted(chosen(place.versions())) == sorted(versions)


def test_a_choice_that_is_none_is_refused(place):
    place.versions().promote("m", "a", None)
    if place.shared:
        place.put("choices/m.00000002.json", b'{"wrong": 1}')
    else:
        Path(place.where, "m", "current.json").write_text('{"wrong": 1}')
    for act in (place.versions().current, lambda name: place.versions().promote(name, "b", None)):
        with pytest.raises(BadBundle, match="choice of a version of m"):
            act("m")


# --- a store that is away ---


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
def test_a_store_that_is_away_says_so_and_what_was_chosen_is_remembered(
    memory, monkeypatch, act: Callable[[Versions], object]
):
    versions = memory.versions()
    assert versions.remembered() == {}
    current = versions.promote("m", "a", None)
    assert versions.current("m") == current
    cut(monkeypatch)
    with pytest.raises(StoreAway, match="ConnectionError: the cable was cut"):
        act(versions)
    assert memory.versions().remembered() == {"m": current}
    for remembered in (memory.state / "worker").rglob("current.json"):
        remembered.write_text("{")
    assert memory.versions().remembered() == {}
    assert Versions(f"{memory.where}-2", memory.state / "worker").remembered() == {}, "another store's are not its own"


class Silent(AsyncFileSystem):
    """Answers nothing, as behind a firewall that drops what it is sent."""

    protocol = "silent"

    async def _ls(self, path, detail=True, **kwargs):
        await asyncio.sleep(3600)


def test_a_store_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    fsspec.register_implementation("silent", Silent, clobber=True)
    monkeypatch.setattr(version_objects, "ANSWER_S", 0.1)
    with pytest.raises(StoreAway, match="no answer in time"):
        Versions("silent://bucket", tmp_path).choices()


def test_a_url_of_no_known_kind_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match="Protocol not known: nonsense"):
        Versions("nonsense://bucket", tmp_path)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_may_be_given_as_a_path_or_a_url(tmp_path, form):
    place = Place(form.format(tmp_path / "models"), tmp_path)
    version = place.publish(2)
    assert place.versions().folder(NAME, version) == tmp_path / "models" / NAME / "versions" / version
