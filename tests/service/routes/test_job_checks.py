"""Tests of what is refused when a job is submitted: names, fields, windows and bundles that the API knows to be wrong."""

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.jobs.database import open_database
from service.jobs.offers import OfferTable
from service.settings import Settings

from ..exchange import problem_of

OWN = {"kind": "train", "run": "hands-own", "sources": ["lab"], "steps": 6}


@pytest.fixture
def client(tmp_path, bundles):
    settings = Settings(bundles=bundles, state=tmp_path / "state", lease_s=60)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def offers(client, tmp_path):
    engine = open_database(Settings(state=tmp_path / "state").database)
    table = OfferTable(engine)
    table.publish("run", ["hands-own", "lift-means"], {"hands-own": ["channels", "layers"], "lift-means": ["channels"]})
    table.publish("architecture", ["EqMotion", "siMLPe"])
    yield table
    engine.dispose()


@pytest.mark.parametrize(
    ("changes", "pointer", "message"),
    [
        ({"architecture": "nope"}, "/architecture", "no architecture 'nope'; there are EqMotion, siMLPe"),
        ({"name": "lift-means"}, "/name", "'lift-means' is the name of a run"),
        ({"base": "nothing"}, "/base", "no model 'nothing'; there are actions-3d, "),
        ({"base": "hands-modes@0123456789ab"}, "/base", "hands-modes has no version '0123456789ab'; there are "),
        ({"base": "lift-means"}, "/base", "task hand-forecast of hands-own, got lift-means, of the task pose-lift"),
        ({"run": "lift-means", "base": "hands-modes"}, "/base", "expected a model of the task pose-lift of lift-means"),
        ({"preset": "99999+1@30"}, "/preset", "expected a window of 2 to 1000 past frames"),
        ({"preset": "ten"}, "/preset", "such as 60+60@60, got 'ten'"),
        ({"network": {"layres": 1}}, "/network/layres", "no field 'layres'; there are channels, layers"),
    ],
    ids=str,
)
def test_what_the_api_knows_to_be_wrong_is_refused_at_once(client, offers, changes, pointer, message):
    problem = problem_of(client.post("/jobs", json={**OWN, **changes}), "invalid-request")
    assert problem["errors"][0]["pointer"] == pointer
    assert message in problem["detail"]
    assert client.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "eq-motion"},
        {"architecture": "simlpe", "network": {"blocks": 2}},  # whose fields no worker has published
        {"base": "hands-modes", "network": {"dct": True}},  # of the base's network
        {"name": "mine", "preset": "9+3@25", "network": {"layers": 2}},
    ],
    ids=str,
)
def test_what_may_be_right_is_accepted(client, offers, changes):
    answer = client.post("/jobs", json={**OWN, **changes})
    assert answer.status_code == 202, answer.text


def test_an_architecture_is_accepted_before_a_worker_has_published_any(client):
    assert client.post("/jobs", json={**OWN, "architecture": "nope"}).status_code == 202
