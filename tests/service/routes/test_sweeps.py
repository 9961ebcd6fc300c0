"""Tests of sweeps over HTTP without a real worker: what is refused before anything is queued, and how one is shown."""

import re

import pytest
from fastapi.testclient import TestClient
from waiting import until

from service.app import create_app
from service.jobs import artifacts
from service.jobs.database import open_database
from service.jobs.offers import OfferTable
from service.jobs.table import JobTable
from service.settings import Settings

from ..exchange import problem_of

SPEC = {"kind": "sweep", "run": "hands-eqmotion", "steps": 10, "grid": {"layers": [2, 3], "learning_rate": [0.001]}}


@pytest.fixture
def settings(tmp_path, bundles) -> Settings:
    return Settings(bundles=bundles, state=tmp_path / "state", lease_s=60, reconcile_s=0.1)


@pytest.fixture
def client(settings):
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def engine(client, settings):
    engine = open_database(settings.database)
    yield engine
    engine.dispose()


def test_a_sweep_is_shown_with_its_trainings(client):
    answer = client.post("/jobs", json=SPEC)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["state"], job["parent"]) == ("sweep", "running", None)
    assert job["detail"].startswith("waits for its trainings, of which 0 have ended")
    children = client.get(f"/jobs?parent={job['id']}").json()["jobs"]
    assert [child["spec"]["network"]["layers"] for child in children] == [3, 2]
    assert all(child["parent"] == job["id"] and child["kind"] == "train" for child in children)
    assert [one["id"] for one in client.get("/jobs?parent=none").json()["jobs"]] == [job["id"]]
    assert [one["id"] for one in client.get("/jobs?kind=sweep").json()["jobs"]] == [job["id"]]
    assert client.get("/jobs?parent=x").status_code == 422


@pytest.mark.parametrize(
    ("changes", "pointer", "message"),
    [
        ({"grid": {}}, "/grid", "a grid of 1 to 8 fields"),
        ({"grid": {"layers": []}}, "/grid", "values of layers, got none"),
        ({"grid": {"layers": [2, 2]}}, "/grid", "each value of layers once"),
        ({"grid": {"layers": list(range(11)), "seed": [0, 1, 2]}}, "/grid", "at most 32 combinations, got 11 x 3 = 33"),
        ({"grid": {"layers": [[2]]}}, "/grid/layers/0", "a number, true, false, or a word .*, got an array"),
        ({"grid": {"layers": [None, 1]}}, "/grid/layers/0", "a word of 1 to 64 characters, got null$"),
        ({"grid": {"layers": [2, 2.0]}}, "/grid", "each value of layers once, got 2, 2.0"),
        ({"grid": {"seed": [-1]}}, "", "grid, seed: .*got -1"),
        ({"grid": {"learning_rate": [2.0]}}, "", "grid, learning_rate: .*got 2.0"),
        ({"grid": {"steps": ["many"]}, "steps": None}, "", "grid, steps: .*got 'many'"),
        ({"grid": {"steps": [1, 2]}}, "", "steps in the grid or outside it, got both"),
        ({"grid": {"epochs": [1, 2]}}, "", "steps or epochs, which exclude each other, got steps and a grid of epochs"),
        ({"network": {"layers": 4}}, "", "layers in the grid or outside it, got both"),
        ({"seeds": [0, 1]}, "", "one seed, or several in the grid"),
        ({"grid": None}, "/grid", "object"),
    ],
    ids=str,
)
def test_a_wrong_sweep_is_refused_with_the_reason(client, changes, pointer, message):
    answer = client.post("/jobs", json={**SPEC, **changes})
    errors = problem_of(answer, "invalid-request")["errors"]
    if pointer is not None:
        assert pointer in [error["pointer"] for error in errors]
    assert any(re.search(message, error["detail"]) for error in errors), errors
    assert client.get("/jobs").json()["jobs"] == []


def test_an_unknown_field_is_refused_with_those_there_are_once_a_worker_has_published_them(client, engine):
    assert client.post("/jobs", json={**SPEC, "grid": {"layer": [1]}}).status_code == 202
    offers = OfferTable(engine)
    offers.publish("run", ["hands-eqmotion"])
    assert client.post("/jobs", json={**SPEC, "grid": {"layer": [1]}}).status_code == 202, (
        "from a worker without fields"
    )
    offers.publish("run", ["hands-eqmotion"], {"hands-eqmotion": ["channels", "layers"]})
    offers.publish("run", ["hands-eqmotion"])
    queued = len(client.get("/jobs").json()["jobs"])
    (error,) = problem_of(client.post("/jobs", json={**SPEC, "grid": {"layer": [1]}}), "invalid-request")["errors"]
    assert error["pointer"] == "/grid/layer"
    assert "no field 'layer'; there are channels, epochs, layers, learning_rate, seed, steps" in error["detail"]
    wrong = client.post("/jobs", json={**SPEC, "network": {"chanels": 1}})
    assert problem_of(wrong, "invalid-request")["errors"][0]["pointer"] == "/network/chanels"
    assert len(client.get("/jobs").json()["jobs"]) == queued
    assert client.post("/jobs", json=SPEC).status_code == 202


def test_a_cancelled_sweep_ends_with_its_trainings_and_is_removed_with_their_artifacts(client, engine, settings):
    job = client.post("/jobs", json=SPEC).json()["id"]
    children = [child["id"] for child in client.get(f"/jobs?parent={job}").json()["jobs"]]
    for child in children:
        (artifacts.folder_of(settings.jobs, child, 1) / "runs").mkdir(parents=True)
    assert client.post(f"/jobs/{job}/cancel").json()["state"] in ("cancelling", "cancelled")
    until("the sweep to end", lambda: client.get(f"/jobs/{job}").json()["state"] == "cancelled" or None)
    assert {child.state for child in JobTable(engine, lease_s=60).children(job)} == {"cancelled"}
    again = client.post(f"/jobs/{job}/retry")
    assert again.status_code == 200, again.text
    assert again.json()["state"] == "running"
    problem_of(client.delete(f"/jobs/{job}"), "wrong-state")
    client.post(f"/jobs/{job}/cancel")
    until("the sweep to end", lambda: client.get(f"/jobs/{job}").json()["state"] == "cancelled" or None)
    removed = client.delete(f"/jobs/{job}")
    assert removed.status_code == 204, removed.text
    assert client.get("/jobs").json()["jobs"] == []
    assert not any((settings.jobs / child).exists() for child in children)
