"""Tests of the routes for many items: order, items that fail alone, limits, keys, equality with single answers, symmetry."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from clouds import bumpy_cloud
from fastapi.testclient import TestClient
from hand_motion import moving_hands

from models.contract.symmetry import mirror_swap, random_rotation, rotation, translation
from service.app import create_app
from service.http.keys import add_key
from service.http.problems import KINDS
from service.settings import Settings
from service.tasks import batch
from service.tasks.catalogue import BATCHES, SINGLE

from ..exchange import CLOUD, FACE_URL, HANDS_URL, npy, problem_of

JSON, MSGPACK = "application/json", "application/msgpack"
CLIPS = [endpoint for endpoint in SINGLE if endpoint.path != FACE_URL]
BATCH = HANDS_URL + batch.SUFFIX
ONE = {"fps": 30, "left": moving_hands(30, hands=1).tolist()}
TWO = {"fps": 30, "past": moving_hands(30, hands=2).tolist()}
NAMED = {"hand-forecast": "hands-thirty", "pose-lift": "lift-means", "pose-forecast": "poses-onwards"}
FACES = FACE_URL + batch.SUFFIX


def ask(client: TestClient, items: Sequence[Any], path: str = BATCH, **fields: Any) -> dict[str, Any]:
    """Post a batch, check that it is answered with an answer or a problem an item, and return the document."""
    response = client.post(path, json={"items": items, **fields})
    assert response.status_code == 200, response.text
    document = response.json()
    assert len(document["answers"]) == len(items)
    assert [i for i, answer in enumerate(document["answers"]) if answer is None] == [
        failed["index"] for failed in document["failed"]
    ]
    return document


def items_of(endpoint: Any, client: TestClient) -> list[Any]:
    """Return the examples of an endpoint, and that of its first model, all for this model."""
    name = next(name for kind, name in {**NAMED, "action-recognition": "actions-3d"}.items() if kind == endpoint.kind)
    own = client.get(f"/models/{name}/example").json()
    return [own, own] if endpoint.kind == "action-recognition" else [own, *_examples(endpoint, name), own]


def _examples(endpoint: Any, name: str) -> list[Any]:
    return [{**example["value"], "model": name} for example in endpoint.examples().values()]


def numbers(document: Any) -> Any:
    """Return a document with its numbers rounded to 1e-6, so that equal ones are equal in spite of the order of sums."""
    if isinstance(document, float):
        return pytest.approx(document, abs=1e-6)
    if isinstance(document, dict):
        return {key: numbers(value) for key, value in document.items()}
    return [numbers(value) for value in document] if isinstance(document, list) else document


@pytest.mark.parametrize("endpoint", CLIPS, ids=lambda endpoint: endpoint.path)
def test_every_item_gets_the_answer_of_a_single_request_in_order(client, endpoint):
    items = items_of(endpoint, client)
    singles = [client.post(endpoint.path, json=item).json() for item in items]
    answers = ask(client, items, endpoint.path + batch.SUFFIX)["answers"]
    assert len({json.dumps(answer) for answer in answers}) > 1 or endpoint.kind == "action-recognition"
    assert answers == numbers(singles)


@pytest.mark.parametrize("endpoint", CLIPS, ids=lambda endpoint: endpoint.path)
def test_one_bad_item_fails_alone_with_its_problem_and_index(client, endpoint):
    good, *_ = items_of(endpoint, client)
    bad = {**good, "joints": "nothing"}
    document = ask(client, [good, bad, good], endpoint.path + batch.SUFFIX)
    single = problem_of(client.post(endpoint.path, json=bad), "unknown-joints")
    (failed,) = document["failed"]
    assert failed["index"] == 1
    assert {**failed, "instance": single["instance"]} == {"index": 1, **single}
    assert document["answers"][0] == document["answers"][2]


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (5, "invalid-request"),
        ({**ONE, "fps": "30"}, "invalid-request"),
        ({**ONE, "left": ONE["left"][:2]}, "too-few-frames"),
        ({**ONE, "left": [[[0.0, 0.0, 1e300]] * 21] * 30}, "out-of-range"),
        ({**ONE, "model": "hands-modes"}, "invalid-request"),
        ({**ONE, "units": "mm"}, "implausible"),
    ],
)
def test_items_fail_with_the_problem_of_their_fault(client, item, kind):
    document = ask(client, [ONE, item], options={})
    (failed,) = document["failed"]
    assert (failed["index"], failed["type"], failed["status"]) == (1, f"/problems/{kind}", KINDS[kind].status)
    assert document["answers"][0] is not None


def test_a_batch_in_messagepack_has_the_arrays_of_single_answers(client):
    past = np.array(TWO["past"], "<f4")
    item = {"fps": 30, "past": past.tobytes(), "shape": past.shape}
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    single = client.post(HANDS_URL, content=msgspec.msgpack.encode(item), headers=headers).content
    body = msgspec.msgpack.encode({"items": [item, {"fps": 3}, item]})
    answer = msgspec.msgpack.decode(client.post(BATCH, content=body, headers=headers).content)
    assert answer["answers"] == [msgspec.msgpack.decode(single), None, msgspec.msgpack.decode(single)]
    assert [failed["index"] for failed in answer["failed"]] == [1]


def test_options_are_fields_of_every_item(client):
    items = [{"left": ONE["left"]}, {"past": TWO["past"], "units": "m"}, {"left": ONE["left"], "at": [0.5]}]
    answers = ask(client, items, options={"fps": 30, "at": [0.1], "model": "hands-modes"})["answers"]
    expected = [{**item, "fps": 30, "at": [0.1], "model": "hands-modes"} for item in items]
    assert answers == numbers([client.post(HANDS_URL, json=item).json() for item in expected])


def test_the_first_item_names_the_model_unless_the_options_do(client):
    named = {**ONE, "model": "hands-modes"}
    assert {answer["model"]["name"] for answer in ask(client, [named, ONE])["answers"]} == {"hands-modes"}
    assert {answer["model"]["name"] for answer in ask(client, [ONE, ONE])["answers"]} == {"hands-thirty"}
    response = client.post(BATCH, json={"items": [{**ONE, "model": "gpt"}]})
    assert problem_of(response, "unknown-model")["errors"][0]["pointer"] == "/items/0/model"
    response = client.post(BATCH, json={"items": [ONE], "options": {"model": "gpt"}})
    assert problem_of(response, "unknown-model")["errors"][0]["pointer"] == "/options/model"


@pytest.mark.parametrize(
    "body", [{"items": []}, {}, {"items": {}}, {"items": [ONE], "more": 1}, {"items": [ONE], "options": 1}, []]
)
def test_a_body_without_items_is_refused(client, body):
    problem_of(client.post(BATCH, json=body), "invalid-request")


def test_too_many_items_are_refused_before_any_is_decoded(bundles):
    with TestClient(create_app(Settings(bundles=bundles, max_items=2)), raise_server_exceptions=False) as client:
        problem = problem_of(client.post(BATCH, json={"items": [1, 2, 3]}), "too-many-items")
        assert "at most 2 items (CHIRON_MAX_ITEMS), got 3" in problem["detail"]
        assert len(ask(client, [ONE, ONE])["answers"]) == 2
        files = [("file", ("a.npy", b""))] * 3
        problem_of(client.post(FACES, files=files), "too-many-items")


def test_too_many_bytes_are_refused_and_one_large_item_fails_alone(bundles):
    size = len(json.dumps(TWO, separators=(",", ":")))
    settings = Settings(bundles=bundles, max_items_bytes=3 * size, max_body_bytes=size - 1)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        problem = problem_of(client.post(BATCH, json={"items": [TWO] * 4}), "body-too-large")
        assert "CHIRON_MAX_ITEMS_BYTES" in problem["detail"]
        (failed,) = ask(client, [ONE, TWO])["failed"]
        assert (failed["index"], failed["type"]) == (1, "/problems/body-too-large")
        assert "CHIRON_MAX_BODY_BYTES" in failed["detail"]


def test_answers_beyond_their_limit_are_problems_of_their_items(client, monkeypatch):
    size = len(client.post(HANDS_URL, json=ONE).content)
    monkeypatch.setattr(batch, "ANSWER_BYTES", 2 * size + 10)
    monkeypatch.setattr(batch, "ANSWER_FACTOR", 0)
    document = ask(client, [ONE] * 4)
    assert [failed["index"] for failed in document["failed"]] == [2, 3]
    assert {failed["type"] for failed in document["failed"]} == {"/problems/body-too-large"}


def test_a_key_needs_the_scope_of_single_requests(bundles, tmp_path):
    path = tmp_path / "keys.json"
    secrets = {scope: add_key(path, scope, (scope,)) for scope in ("infer", "jobs")}
    with TestClient(create_app(Settings(bundles=bundles, keys_file=path)), raise_server_exceptions=False) as client:
        for endpoint in BATCHES:
            problem_of(client.post(endpoint.path), "unauthorized")
            problem_of(client.post(endpoint.path, headers={"x-api-key": secrets["jobs"]}), "forbidden")
        response = client.post(BATCH, json={"items": [ONE]}, headers={"x-api-key": secrets["infer"]})
        assert response.status_code == 200


def test_turned_and_mirrored_items_of_one_batch_get_turned_and_mirrored_answers(client):
    past = np.array(TWO["past"])
    rng = np.random.default_rng(0)
    maps = [draw(rng) for draw in (rotation, translation, mirror_swap) for _ in range(3)]
    items = [TWO, *({"fps": 30, "past": move(past).tolist()} for move in maps)]
    first, *others = (np.array(answer["future"]) for answer in ask(client, items)["answers"])
    for move, other in zip(maps, others, strict=True):
        np.testing.assert_allclose(other, move(first), atol=1e-5)


@pytest.fixture(scope="module")
def processes(bundles) -> Iterator[TestClient]:
    """Return a client of an application that handles batches in a process."""
    with TestClient(create_app(Settings(bundles=bundles, decoders=1)), raise_server_exceptions=False) as client:
        yield client


def test_a_batch_of_several_groups_gets_its_answers_from_a_process(processes):
    """200 items of 13 kB and 1 of 26 kB are decoded in several groups."""
    kinds = [ONE, TWO, {**ONE, "left": None}]
    items = [kinds[i % 3] for i in range(201)]
    document = ask(processes, items, options={"model": "hands-thirty"})
    singles = [processes.post(HANDS_URL, json={**item, "model": "hands-thirty"}) for item in kinds]
    for i, answer in enumerate(document["answers"]):
        assert answer == (singles[i % 3].json() if singles[i % 3].status_code == 200 else None)
    assert [failed["index"] for failed in document["failed"]] == list(range(2, 201, 3))


def test_an_item_that_takes_too_much_memory_fails_alone(processes):
    nulls = {"fps": 30, "left": [[None] * 200_000] * 20}
    body = msgspec.msgpack.encode({"items": [ONE, nulls, ONE]})
    document = processes.post(BATCH, content=body, headers={"content-type": MSGPACK}).json()
    (failed,) = document["failed"]
    assert (failed["index"], failed["status"]) == (1, KINDS["body-too-large"].status)


# scans


def scans(*clouds: np.ndarray) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{number}.npy", npy(cloud))) for number, cloud in enumerate(clouds)]


def positions(answer: dict[str, Any]) -> np.ndarray:
    return np.array([landmark["position"] for landmark in answer["landmarks"]])


def test_several_scans_are_answered_in_order_and_one_bad_scan_fails_alone(client):
    clouds = [0.7 * bumpy_cloud(2000, seed=seed) for seed in range(3)]
    files = scans(*clouds)
    files.insert(1, ("file", ("bad.ply", b"ply\nno\n")))
    response = client.post(FACES, files=files, data={"units": "m"})
    assert response.status_code == 200, response.text
    document = response.json()
    (failed,) = document["failed"]
    assert (failed["index"], failed["type"]) == (1, "/problems/unreadable-scan")
    singles = [client.post(FACE_URL, files=[file], data={"units": "m"}).json() for file in scans(*clouds)]
    assert [answer for answer in document["answers"] if answer] == numbers(singles)


def test_turned_scans_of_one_batch_get_turned_landmarks(client):
    cloud = CLOUD
    turns = [random_rotation(np.random.default_rng(seed)) for seed in range(3)]
    document = client.post(FACES, files=scans(cloud, *(cloud @ turn.T for turn in turns))).json()
    assert document["failed"] == []
    first, *others = map(positions, document["answers"])
    for turn, other in zip(turns, others, strict=True):
        np.testing.assert_allclose(other, first @ turn.T, atol=1e-6)


def test_a_form_of_scans_needs_a_file_and_json_answers(client):
    problem_of(client.post(FACES, data={"units": "m"}, files={"x": (None, "1")}), "invalid-request")
    problem_of(client.post(FACES, files=scans(np.ones((9, 3))), headers={"accept": "text/csv"}), "not-acceptable")
    body = client.post(FACES, files=scans(0.7 * bumpy_cloud(2000)), data={"heatmaps": "full"}).json()
    assert body["failed"][0]["errors"][0]["pointer"] == "?heatmaps"
