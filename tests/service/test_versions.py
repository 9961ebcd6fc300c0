"""Versions of a model: published whole, never changed, promoted and taken back, in every process, without a gap."""

import asyncio
import gc
import json
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models.contract.bundle import MODEL, BadBundle, read_bundle
from models.contract.task import HandForecast
from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from service.telemetry import Metrics
from service.versions import CURRENT, Lineage, NotCurrent, Versions

from .conftest import make_hands, moving_hands
from .test_errors import problem_of
from .test_forecast_hands import URL
from .test_registry import spoil

NAME = "hands-thirty"
LINEAGE = Lineage(
    job="j", attempt=1, run="r", seed=0, data="d", data_sha256="0" * 64, git_commit="c", created_at=1.0
)  # fmt: skip
BODY = {"fps": 30, "model": NAME, "past": moving_hands(30, hands=1).tolist()}


def publish(state: Path, modes: int, at: float = 1.0) -> str:
    """Another bundle of the model, with so many modes, as a worker publishes it; its version."""
    folder = state / f"made-{modes}"
    bundle = read_bundle(make_hands(folder, NAME, HandForecast(past=30, future=30, fps=30, modes=modes)))
    versions = Versions(state / "models")
    staging = versions.stage(bundle, LINEAGE.model_copy(update={"created_at": at}))
    versions.publish(staging, bundle.meta.version)
    shutil.rmtree(folder)
    return bundle.meta.version


@pytest.fixture
def state(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def own(bundles, tmp_path) -> Path:
    """A folder with the one model that ships."""
    shutil.copytree(bundles / NAME, tmp_path / "bundles" / NAME)
    return tmp_path / "bundles"


@pytest.fixture
def client(own, state):
    with TestClient(create_app(settings_of(own, state)), raise_server_exceptions=False) as client:
        yield client


def settings_of(own: Path, state: Path) -> Settings:
    return Settings(bundles=own, state=state, reconcile_s=0.05)


def serving(client: TestClient) -> str:
    return client.post(URL, json=BODY).json()["model"]["version"]


def chosen(versions: Versions, name: str = "m") -> list[str]:
    """What was served, one after the other, the current one last."""
    current = versions.current(name)
    assert current is not None
    return [*(step.version for step in current.history), current.version]


def spoil_published(state: Path, version: str) -> None:
    folder = Versions(state / "models").folder(NAME, version)
    assert folder is not None
    (folder / MODEL).chmod(0o644)
    spoil(folder, MODEL)


# --- on disk ---


def test_a_version_is_there_whole_and_is_not_changed_by_publishing_it_again(state):
    version = publish(state, 2)
    (found,) = Versions(state / "models").versions(NAME)
    assert (found.version, found.lineage) == (version, LINEAGE)
    assert read_bundle(found.folder).meta.version == version
    before = found.folder.stat().st_ino
    assert publish(state, 2) == version
    assert found.folder.stat().st_ino == before
    assert [path.name for path in found.folder.parent.iterdir()] == [version], "nothing half done is left"
    assert all(path.stat().st_mode & 0o222 == 0 for path in found.folder.iterdir())


def test_what_is_no_whole_bundle_is_not_staged(state, own):
    bundle = read_bundle(own / NAME)
    spoil(own / NAME, MODEL)
    with pytest.raises(BadBundle, match="checksum"):
        Versions(state / "models").stage(bundle, LINEAGE)
    assert Versions(state / "models").versions(NAME) == []
    assert list((state / "models" / NAME / "versions").iterdir()) == []


def test_versions_are_taken_back_in_the_order_in_which_they_came(state):
    versions = Versions(state)
    assert versions.current("m") is None
    for version in ("a", "b", "b", "c"):
        versions.promote("m", version, before="shipped")
    assert chosen(versions) == ["shipped", "a", "b", "c"]
    for version, before in (("c", "b"), ("b", "a"), ("a", "shipped")):
        assert versions.before("m", version) == before
        assert versions.roll_back("m", version).version == before
    with pytest.raises(NotCurrent, match="no version of m was served before shipped"):
        versions.roll_back("m", "shipped")
    with pytest.raises(NotCurrent, match="a is not the current version, shipped is"):
        versions.roll_back("m", "a")


def test_promotions_side_by_side_lose_none(state):
    versions = [f"v{i}" for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda version: Versions(state).promote("m", version, None), versions))
    assert sorted(chosen(Versions(state))) == sorted(versions)


# --- over HTTP ---


def test_a_version_is_promoted_and_taken_back(client, state):
    shipped, version = serving(client), publish(state, 2)
    assert serving(client) == shipped, "published is not yet promoted"
    answer = client.post(f"/models/{NAME}/versions/{version}/promote")
    assert answer.json() == {"name": NAME, "version": version, "before": shipped}
    assert serving(client) == version
    assert len(client.post(URL, json=BODY).json()["alternatives"]) == 1
    model = client.get(f"/models/{NAME}").json()
    assert (model["version"], model["current"]) == (version, version)
    assert [(v["version"], v["serving"]) for v in model["versions"]] == [(version, True), (shipped, False)]
    assert model["versions"][0]["lineage"] == LINEAGE.model_dump()
    metrics = client.get("/metrics").text
    assert f'chiron_model_info{{model="{NAME}",provider="CPUExecutionProvider",version="{version}"}} 1.0' in metrics
    assert f'provider="CPUExecutionProvider",version="{shipped}"' not in metrics
    assert client.post(f"/models/{NAME}/versions/{version}/rollback").json()["version"] == shipped
    assert serving(client) == shipped


def test_a_choice_outlives_the_process(own, state):
    version = publish(state, 2)
    for _ in range(2):
        with TestClient(create_app(settings_of(own, state))) as client:
            client.post(f"/models/{NAME}/versions/{version}/promote")
            assert serving(client) == version


def test_a_model_that_does_not_ship_is_served_once_it_is_promoted(own, state):
    version = publish(state, 2)
    shutil.rmtree(own / NAME)
    with TestClient(create_app(settings_of(own, state))) as client:
        assert client.get(f"/models/{NAME}").json()["state"] == "published"
        assert client.post(URL, json=BODY).status_code == 404
        promoted = client.post(f"/models/{NAME}/versions/{version}/promote").json()
        assert promoted["before"] is None
        assert serving(client) == version
        problem_of(client.post(f"/models/{NAME}/versions/{version}/rollback"), "wrong-state")


@pytest.mark.parametrize("name", [NAME, "nothing", "..", "%2e%2e", ".hidden"])
@pytest.mark.parametrize("what", ["promote", "rollback"])
def test_what_there_is_no_version_of_is_not_promoted(client, state, name, what):
    answer = client.post(f"/models/{name}/versions/none/{what}")
    assert answer.status_code in (404, 409)
    assert answer.json()["type"] in ("/problems/unknown-version", "/problems/wrong-state", "/problems/not-found")
    assert not (state / CURRENT).exists()
    assert not (state / "models" / NAME / CURRENT).exists()


def test_a_version_that_was_changed_on_disk_is_refused_and_what_served_still_does(client, state):
    shipped, version = serving(client), publish(state, 2)
    spoil_published(state, version)
    problem = problem_of(client.post(f"/models/{NAME}/versions/{version}/promote"), "bundle-refused")
    assert "checksum differs" in problem["detail"]
    assert str(state) not in problem["detail"]
    assert serving(client) == shipped
    assert client.get(f"/models/{NAME}").json()["current"] == shipped


def test_another_process_follows_and_keeps_what_it_has_if_it_cannot(own, state):
    first, second = publish(state, 2, at=1), publish(state, 3, at=2)

    def follow() -> tuple[TestClient, Versions]:
        return TestClient(create_app(settings_of(own, state))), Versions(state / "models")

    client, elsewhere = follow()
    with client:
        elsewhere.promote(NAME, first, None)
        wait(lambda: serving(client) == first)
        spoil_published(state, second)
        elsewhere.promote(NAME, second, None)
        wait(lambda: client.get("/readyz").json()["status"] == "degraded")
        assert serving(client) == first
        assert "checksum differs" in client.get(f"/models/{NAME}").json()["reason"]
        elsewhere.roll_back(NAME, second)
        wait(lambda: client.get("/readyz").json()["status"] == "ready")


def wait(holds) -> None:
    done = threading.Event()
    for _ in range(1200):
        if holds():
            return
        done.wait(0.05)
    raise AssertionError("not within a minute")


def test_a_version_is_let_go_with_the_last_request_that_holds_it_and_not_before(own, state):
    async def swap() -> None:
        registry = Registry(settings_of(own, state), Metrics())
        await registry.load()
        held = registry.serving(NAME)
        gone = weakref.ref(held.batcher)
        inputs, wanted = held.bundle.example()
        version = publish(state, 2)
        await registry.promote(NAME, version)
        assert registry.serving(NAME).version == version
        answer = await held.batcher.submit({name: tensor[0] for name, tensor in inputs.items()})
        assert abs(answer["future"] - wanted["future"][0]).max() < 1e-5
        del held, answer
        for _ in range(200):
            await asyncio.sleep(0.01)
            if gone() is None:
                break
        gc.collect()
        assert gone() is None, "what is no longer served must not be kept"
        await registry.close()

    asyncio.run(swap())


def test_a_choice_that_cannot_be_read_refuses_the_model_and_not_the_service(own, state):
    publish(state, 2)
    (state / "models" / NAME / CURRENT).write_text(json.dumps({"wrong": 1}))
    with TestClient(create_app(settings_of(own, state))) as client:
        assert client.get(f"/models/{NAME}").json()["state"] == "refused"
        assert client.get("/healthz").status_code == 200
