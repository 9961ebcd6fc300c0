"""Tests of POST /forecast/hands and its stream with a model that has a skeleton of one's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from own_skeletons import SKELETONS, wagging

from models.contract.bundle import read_bundle
from models.contract.symmetry import SYMMETRIES
from models.contract.task import HandForecast
from models.motion.bones import bone_lengths
from service.app import create_app
from service.http.problems import Problem
from service.settings import Settings
from service.tasks.endpoint import Limits
from service.tasks.hands.stream.messages import StreamSettings
from service.tasks.hands.stream.session import Session

from ...conftest import constant_velocity, make_bundle, make_hands, seen_means
from .streams import FPS, answers, assert_same_hands, opened

URL = "/forecast/hands"
PAST = 10
TAIL, PUPPET = SKELETONS["tail"], SKELETONS["puppet"]


def make_own(parent: Path, name: str, skeleton: str, *, masked: bool = False) -> Path:
    task = HandForecast(past=PAST, future=PAST, fps=FPS, modes=2 if masked else 1, masked=masked, spread=masked)
    task = task.on(SKELETONS[skeleton])
    inputs = {"past": wagging(PAST, skeleton, bodies=2).astype(np.float32)[None]}
    if masked:
        inputs["seen"] = np.ones(inputs["past"].shape[:3], np.float32)
    return make_bundle(parent, name, task, (seen_means if masked else constant_velocity)(task), inputs)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("own")
    make_own(folder, "a-tail", "tail")
    make_own(folder, "puppets", "puppet", masked=True)
    make_hands(folder, "hands-ten", HandForecast(past=PAST, future=PAST, fps=FPS))
    with TestClient(create_app(Settings(bundles=folder)), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    body = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in body.items()}
    response = client.post(URL, json={"fps": FPS, **body})
    assert response.status_code == 200, response.text
    return response.json()


def onwards(past: np.ndarray) -> np.ndarray:
    return np.stack([past[-1] + step * (past[-1] - past[-2]) for step in range(1, PAST + 1)])


@pytest.mark.parametrize("bodies", [1, 2])
@pytest.mark.parametrize("order", [{}, {"joints": None}, {"joints": "tail"}], ids=str)
def test_bodies_are_answered_in_the_skeleton_of_the_model(client: TestClient, bodies: int, order: dict[str, Any]):
    past = wagging(12, bodies=bodies)
    answer = ask(client, model="a-tail", past=past, **order)
    assert (answer["joints"], answer["carried_joints"]) == ("tail", [])
    np.testing.assert_allclose(answer["future"], onwards(past), atol=1e-5)
    millimetres = ask(client, model="a-tail", past=past * 1000, units="mm", **order)
    np.testing.assert_allclose(millimetres["future"], 1000 * onwards(past), atol=1e-2)


def test_two_bodies_may_be_left_and_right_and_one_of_them_away(client: TestClient):
    past = wagging(12, bodies=2)
    answer = ask(client, model="a-tail", left=past[:, :7], right=[None] * 12)
    np.testing.assert_allclose(answer["left"], onwards(past)[:, :7], atol=1e-5)
    assert answer["right"] is None


@pytest.mark.parametrize("name", ["translation", "rotation", "mirror-swap"])
@pytest.mark.parametrize(("model", "skeleton"), [("a-tail", "tail"), ("puppets", "puppet")])
def test_moving_the_request_moves_the_answer(client: TestClient, model: str, skeleton: str, name: str):
    order, past = SKELETONS[skeleton].layout, wagging(12, skeleton, bodies=2)
    act = SYMMETRIES[name](np.random.default_rng(0))
    mirror = [joint + shift for shift in (len(order.joints), 0) for joint in order.mirror]
    nodes = mirror if name == "mirror-swap" else list(range(past.shape[1]))
    answer, moved = (np.array(ask(client, model=model, past=x)["future"]) for x in (past, act(past)[:, nodes]))
    np.testing.assert_allclose(moved, act(answer)[:, nodes], atol=2e-5)


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        ({"joints": "mediapipe"}, "unknown-joints", "a-tail has a skeleton of its own: expected tail (7 joints: joint0, joint1,"),
        ({"joints": "assembly101"}, "unknown-joints", "got 'assembly101'; leave `joints` out or choose another model"),
        ({"past": np.zeros((12, 21, 3))}, "wrong-shape", "expected [frames][7][3] for a body in tail order or [frames][14][3] for two"),
        ({"past": wagging(12) * 1e-6}, "implausible", "expected a body in tail order of 1 mm to 100 m, got"),
        ({"past": wagging(12), "model": "hands-ten"}, "wrong-shape", "for a hand in assembly101 order"),
        ({"joints": "tail", "model": "hands-ten"}, "unknown-joints", "expected a joint order, one of assembly101"),
    ],
)  # fmt: skip
def test_another_order_or_size_is_refused(client: TestClient, body: dict[str, Any], kind: str, detail: str):
    body = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in body.items()}
    if "past" in body and kind == "wrong-shape":
        body["past"] = (np.array(body["past"]) + np.random.default_rng(0).normal(size=np.shape(body["past"]))).tolist()
    response = client.post(URL, json={"fps": FPS, "model": "a-tail", "past": wagging(12).tolist(), **body})
    problem = response.json()
    assert (response.status_code, problem["type"].rsplit("/", 1)[-1]) == (422, kind)
    assert detail in json.dumps(problem)


def test_joints_that_were_not_seen_are_filled_and_named_by_the_skeleton(client: TestClient):
    past: list[Any] = wagging(12, "puppet").tolist()
    for frame in past:
        frame[1] = None
    answer = ask(client, model="puppets", past=past, spread=True, hypotheses=True)
    assert answer["future"][0][1] is None
    assert "the body: head never seen, and null in the answer" in answer["warnings"]
    assert len(answer["std"]["future"][0]) == 4
    assert len(answer["alternatives"]) == 1


def test_bones_keep_their_lengths_along_the_skeleton(client: TestClient):
    past, order = wagging(12), TAIL.layout
    kept, plain = (
        bone_lengths(np.array(ask(client, model="a-tail", past=past, keep_bones=keep)["future"]), order)
        for keep in (True, False)
    )
    expected = bone_lengths(past[-1], order)
    np.testing.assert_allclose(kept, np.tile(expected, (PAST, 1)), atol=1e-5)
    assert np.abs(plain - expected).max() > 5e-4


def test_a_stream_answers_as_post_does(client: TestClient):
    past = wagging(12, bodies=2)
    frames = [{"left": one[:7].tolist(), "right": one[7:].tolist()} for one in past]
    with opened(client, model="a-tail", at=None) as stream:
        last = answers(stream, frames)[-1]
    assert_same_hands(last, ask(client, model="a-tail", left=past[:, :7], right=past[:, 7:]), atol=2e-6)
    with client.websocket_connect(f"{URL}/stream") as stream:
        stream.send_json({"fps": FPS, "model": "a-tail", "joints": "leap"})
        refused = stream.receive_json()
    assert (refused["kind"], refused["type"].rsplit("/", 1)[-1]) == ("problem", "unknown-joints")


def test_a_stream_does_not_go_on_with_a_model_of_another_skeleton(tmp_path: Path):
    tail, puppet = (read_bundle(make_own(tmp_path, name, name)).meta for name in ("tail", "puppet"))
    session = Session(StreamSettings(fps=FPS), tail, Limits(1, gap_s=0.1))
    session.use(tail)
    with pytest.raises(Problem, match="puppet now takes joints in puppet order, not in tail order; connect again"):
        session.use(puppet)


def test_the_skeleton_is_listed_and_on_the_card_and_is_no_default(client: TestClient):
    listed = client.get("/joints").json()
    assert listed["tail"]["of"] == "own"
    assert listed["puppet"]["mirror"] == [2, 1, 0, 3]
    card = client.get("/models/a-tail").json()["task"]
    assert (card["order"], tuple(card["skeleton"]["joints"])) == ("tail", TAIL.joints)
    example = client.get("/models/a-tail/example").json()
    assert example["joints"] == "tail"
    assert client.post(URL, json=example).status_code == 200
    assert client.get("/models").json()["defaults"]["hand-forecast"] == "hands-ten"
