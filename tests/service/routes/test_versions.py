"""Tests of model versions over HTTP: promotion and rollback in all processes, in every kind of store, without downtime."""

import asyncio
import gc
import shutil
import threading
import weakref
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from fsspec.implementations.memory import MemoryFileSystem
from hand_motion import moving_hands
from waiting import PATIENCE_S

from service.app import create_app
from service.inference.served import ServedModels
from service.registry.catalogue import Catalogue
from service.registry.local import LocalStore
from service.registry.objects import ObjectStore
from service.settings import Settings
from service.telemetry.metrics import Metrics

from ..exchange import HANDS_URL, problem_of
from ..places import KINDS, LINEAGE, NAME, Place, cut

BODY = {"fps": 30, "model": NAME, "past": moving_hands(30, hands=1).tolist()}


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    return Place.of(request.param, tmp_path / "state")


@pytest.fixture
def memory(tmp_path) -> Place:
    return Place.of("memory://registry", tmp_path / "state")


@pytest.fixture
def own(bundles, tmp_path) -> Path:
    """Return a folder with one shipped model."""
    shutil.copytree(bundles / NAME, tmp_path / "bundles" / NAME)
    return tmp_path / "bundles"


def serve(own: Path, place: Place, machine: str | None = None) -> TestClient:
    """Start a process of a machine, by default of a new one with an empty state folder."""
    state = place.state / (machine or uuid4().hex[:6])
    settings = Settings(bundles=own, state=state, registry=place.where, reconcile_s=0.05)
    return TestClient(create_app(settings), raise_server_exceptions=False)


@pytest.fixture
def client(own, place):
    with serve(own, place) as client:
        yield client


def serving(client: TestClient) -> str:
    return client.post(HANDS_URL, json=BODY).json()["model"]["version"]


def wait(holds) -> None:
    done = threading.Event()
    for _ in range(1200):
        if holds():
            return
        done.wait(0.05)
    raise AssertionError("not within a minute")


def test_a_version_is_promoted_and_rolled_back(client, place):
    shipped, version = serving(client), place.publish(2)
    assert serving(client) == shipped, "expected publication not to promote"
    answer = client.post(f"/models/{NAME}/versions/{version}/promote")
    assert answer.json() == {"name": NAME, "version": version, "before": shipped}
    assert serving(client) == version
    assert len(client.post(HANDS_URL, json=BODY).json()["alternatives"]) == 1
    model = client.get(f"/models/{NAME}").json()
    assert (model["version"], model["current"]) == (version, version)
    assert [(v["version"], v["serving"]) for v in model["versions"]] == [(version, True), (shipped, False)]
    assert model["versions"][0]["lineage"] == LINEAGE.model_dump()
    metrics = client.get("/metrics").text
    assert f'chiron_model_info{{model="{NAME}",provider="CPUExecutionProvider",version="{version}"}} 1.0' in metrics
    assert f'provider="CPUExecutionProvider",version="{shipped}"' not in metrics
    assert client.post(f"/models/{NAME}/versions/{version}/rollback").json()["version"] == shipped
    assert serving(client) == shipped


def test_a_promotion_persists_after_a_restart(own, place):
    version = place.publish(2)
    for _ in range(2):
        with serve(own, place) as client:
            client.post(f"/models/{NAME}/versions/{version}/promote")
            assert serving(client) == version


def test_a_model_without_a_shipped_bundle_is_served_after_its_promotion(own, place):
    version = place.publish(2)
    shutil.rmtree(own / NAME)
    with serve(own, place) as client:
        assert client.get(f"/models/{NAME}").json()["state"] == "published"
        assert client.post(HANDS_URL, json=BODY).status_code == 404
        promoted = client.post(f"/models/{NAME}/versions/{version}/promote").json()
        assert promoted["before"] is None
        assert serving(client) == version
        problem_of(client.post(f"/models/{NAME}/versions/{version}/rollback"), "wrong-state")


@pytest.mark.parametrize("name", [NAME, "nothing", "..", "%2e%2e", ".hidden"])
@pytest.mark.parametrize("what", ["promote", "rollback"])
def test_promoting_an_unknown_version_is_refused(client, place, name, what):
    answer = client.post(f"/models/{name}/versions/none/{what}")
    assert answer.status_code in (404, 409)
    assert answer.json()["type"] in ("/problems/unknown-version", "/problems/wrong-state", "/problems/not-found")
    assert place.versions().choices() == {}


def test_a_corrupted_version_is_refused_and_the_previous_one_is_served(client, place):
    shipped, version = serving(client), place.publish(2)
    place.corrupt(version)
    problem = problem_of(client.post(f"/models/{NAME}/versions/{version}/promote"), "bundle-refused")
    assert "checksum differs" in problem["detail"]
    assert str(place.state) not in problem["detail"]
    assert serving(client) == shipped
    assert client.get(f"/models/{NAME}").json()["current"] == shipped


def test_another_process_follows_a_promotion_or_keeps_its_version_on_failure(own, place):
    first, second = place.publish(2, at=1), place.publish(3, at=2)

    elsewhere = place.versions("elsewhere")
    with serve(own, place) as client:
        elsewhere.promote(NAME, first, None)
        wait(lambda: serving(client) == first)
        place.corrupt(second)
        elsewhere.promote(NAME, second, None)
        wait(lambda: client.get("/readyz").json()["status"] == "degraded")
        assert serving(client) == first
        assert "checksum differs" in client.get(f"/models/{NAME}").json()["reason"]
        elsewhere.roll_back(NAME, second)
        wait(lambda: client.get("/readyz").json()["status"] == "ready")


def test_an_unexpected_error_does_not_stop_a_process_from_following_promotions(own, place, monkeypatch):
    version, choices = place.publish(2), Catalogue.choices
    failed = threading.Event()
    with serve(own, place) as client:

        def fail(catalogue: Catalogue) -> dict:
            failed.set()
            raise RuntimeError("a bug")

        monkeypatch.setattr(Catalogue, "choices", fail)
        assert failed.wait(PATIENCE_S)
        monkeypatch.setattr(Catalogue, "choices", choices)
        place.versions("elsewhere").promote(NAME, version, None)
        wait(lambda: serving(client) == version)


def test_a_replaced_version_is_freed_after_the_last_request_that_uses_it(own, place):
    async def swap() -> None:
        models = ServedModels(Settings(bundles=own, state=place.state, registry=place.where), Metrics())
        await models.load()
        in_use = models.serving(NAME)
        batcher = weakref.ref(in_use.batcher)
        inputs, expected = in_use.bundle.example()
        version = place.publish(2)
        await models.promote(NAME, version)
        assert models.serving(NAME).version == version
        answer = await in_use.batcher.submit({name: tensor[0] for name, tensor in inputs.items()})
        assert abs(answer["future"] - expected["future"][0]).max() < 1e-5
        del in_use, answer
        for _ in range(200):
            await asyncio.sleep(0.01)
            if batcher() is None:
                break
        gc.collect()
        assert batcher() is None, "expected a replaced version to be freed"
        await models.close()

    asyncio.run(swap())


def test_the_first_version_of_a_process_is_freed_without_the_garbage_collector(own, place, monkeypatch):
    """The garbage collector ignores objects that were frozen at start."""
    started: list[ServedModels] = []

    class Recorded(ServedModels):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            started.append(self)

    monkeypatch.setattr("service.app.ServedModels", Recorded)
    with serve(own, place) as client:
        first = weakref.ref(started[0].serving(NAME).predictor)
        serving(client)
        version = place.publish(2)
        gc.disable()
        try:
            client.post(f"/models/{NAME}/versions/{version}/promote")
            wait(lambda: first() is None)
        finally:
            gc.enable()


def test_the_metadata_of_a_version_is_read_once(client, place, monkeypatch):
    version = place.publish(2)
    assert version in str(client.get(f"/models/{NAME}").json()["versions"])
    store = LocalStore if not place.shared else ObjectStore

    def read(*_: object) -> bytes:
        raise AssertionError("it was read before")

    monkeypatch.setattr(store, "read", read)
    for path in (f"/models/{NAME}", "/models"):
        assert version in client.get(path).text


def corrupt_promotion_record(place: Place) -> None:
    if place.shared:
        place.put(f"choices/{NAME}.00000001.json", b'{"wrong": 1}')
    else:
        Path(place.where, NAME, "current.json").write_text('{"wrong": 1}')


def test_an_unreadable_promotion_record_makes_only_its_model_unavailable(own, place):
    version = place.publish(2)
    corrupt_promotion_record(place)
    with serve(own, place) as client:
        assert client.get(f"/models/{NAME}").json()["state"] == "refused"
        assert client.get("/healthz").status_code == 200
        problem_of(client.post(f"/models/{NAME}/versions/{version}/promote"), "bundle-refused")
        problem_of(client.post(f"/models/{NAME}/versions/{version}/rollback"), "bundle-refused")


# --- unreachable versions ---


def reason(client: TestClient) -> str | None:
    return client.get(f"/models/{NAME}").json()["reason"]


def test_loaded_versions_are_served_while_the_store_is_unreachable(own, memory, monkeypatch):
    first, second = memory.publish(2), memory.publish(3)
    with serve(own, memory) as client:
        shipped = serving(client)
        client.post(f"/models/{NAME}/versions/{first}/promote")
        assert reason(client) is None
        with monkeypatch.context() as patched:
            cut(patched)
            wait(lambda: reason(client))
            assert reason(client) == "the trained versions cannot be reached: ConnectionError: the connection is lost"
            listed = client.get("/models").json()["models"][0]
            assert {one["version"] for one in listed["versions"]} == {first, second, shipped}, (
                "expected the versions of the last listing"
            )
            assert (listed["state"], listed["current"], serving(client)) == ("ready", first, first)
            for version, what in ((second, "promote"), (first, "promote"), (first, "rollback")):
                problem = problem_of(client.post(f"/models/{NAME}/versions/{version}/{what}"), "versions-unavailable")
                assert "the connection is lost" in problem["detail"]
            assert client.get("/readyz").json()["status"] == "ready"
        wait(lambda: reason(client) is None)
        assert client.post(f"/models/{NAME}/versions/{second}/promote").json()["before"] == first


def test_a_process_that_starts_without_the_store_serves_the_last_known_promotion(own, memory, monkeypatch):
    version = memory.publish(2)
    with serve(own, memory, "a") as client:
        shipped = serving(client)
        client.post(f"/models/{NAME}/versions/{version}/promote")
    with monkeypatch.context() as patched:
        cut(patched)
        with serve(own, memory, "a") as client, serve(own, memory, "b") as other:
            assert (serving(client), serving(other)) == (version, shipped)
            assert "cannot be reached" in str(reason(client))
            assert "cannot be reached" in str(reason(other))
            shutil.rmtree(own / NAME)
            with serve(own, memory, "a") as again:
                assert serving(again) == version
                patched.undo()
                wait(lambda: serving(other) == version)


def test_a_failed_download_of_a_version_is_retried(own, memory, monkeypatch):
    version = memory.publish(2)
    with serve(own, memory) as client:
        shipped = serving(client)
        with monkeypatch.context() as patched:
            cut(patched, "cat_file")
            memory.versions().promote(NAME, version, None)
            wait(lambda: client.get("/readyz").json()["status"] == "degraded")
            assert serving(client) == shipped
            assert "the connection is lost" in str(reason(client))
        wait(lambda: serving(client) == version)
        assert reason(client) is None


def test_a_slow_store_delays_only_requests_that_use_it(own, memory, monkeypatch):
    proceed, called, real = threading.Event(), threading.Event(), MemoryFileSystem.ls

    def slow(*args, **options):
        called.set()
        assert proceed.wait(PATIENCE_S)
        return real(*args, **options)

    with serve(own, memory) as client:
        monkeypatch.setattr(MemoryFileSystem, "ls", slow)
        assert called.wait(PATIENCE_S)
        try:
            assert client.get("/healthz").status_code == 200
            assert client.post(HANDS_URL, json=BODY).status_code == 200
        finally:
            proceed.set()


def test_an_unreadable_folder_of_versions_is_not_an_internal_error(own, tmp_path):
    place = Place.of("folder", tmp_path / "state")
    version = place.publish(2)
    with serve(own, place) as client:
        Path(place.where, NAME, "current.json").mkdir()
        for what in ("promote", "rollback"):
            answer = client.post(f"/models/{NAME}/versions/{version}/{what}")
            assert "IsADirectoryError" in problem_of(answer, "versions-unavailable")["detail"]
            assert str(tmp_path) not in answer.text
