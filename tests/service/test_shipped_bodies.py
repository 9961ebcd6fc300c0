"""Tests of the shipped body models over a socket: mirror symmetry on real motion, stored examples, and independence of batches."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import get, post

from models.contract.bundle import META, read_bundle
from models.contract.task import ActionRecognition
from models.skeletons.body import mirrored
from models.skeletons.body_orders import get_body_order

from .tasks.bodies.test_endpoint import ACTIONS, FORECAST, LIFT, mirror_of
from .test_server import Running, start, stop

SHIPPED = Path(__file__).resolve().parents[2] / "bundles"
PATHS = {"pose-lift": (LIFT, "keypoints"), "pose-forecast": (FORECAST, "past"), "action-recognition": (ACTIONS, "clip")}
KINDS = {path.parent.name: json.loads(path.read_text())["task"]["kind"] for path in sorted(SHIPPED.glob(f"*/{META}"))}
BODIES = [name for name, kind in KINDS.items() if kind in PATHS]
SIZE = 1000  # width and height of an example's image, in pixels


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = start(SHIPPED)
    yield running
    stop(running)


def ask(server: Running, name: str, body: dict[str, Any]) -> dict[str, Any]:
    response = post(server.url + PATHS[KINDS[name]][0], json=body)
    assert response.status_code == 200, response.text
    return response.json()


def numbers(answer: dict[str, Any]) -> np.ndarray:
    """Return the numbers of an answer, with NaN for null and classes sorted by name."""
    if "classes" in answer:
        return np.array([one["probability"] for one in sorted(answer["classes"], key=lambda one: one["name"])])
    if "poses" in answer:
        return np.array(answer["poses"])
    return np.array([[point or [np.nan] * 2 for point in pose] for pose in answer["future"]]) / SIZE


def mirror(values: np.ndarray, answer: dict[str, Any], name: str) -> np.ndarray:
    """Return the mirror image of the numbers of an answer."""
    task = read_bundle(SHIPPED / name).meta.task
    if isinstance(task, ActionRecognition):
        names = sorted(task.classes)
        images = dict(zip(task.classes, (task.classes[i] for i in task.class_mirror), strict=True))
        return values[[names.index(images[one]) for one in names]]
    image = mirrored(values, get_body_order(answer["joints"]))
    return image + np.array([1, 0]) if "future" in answer else image


def assert_same(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that answers differ by no more than rounding: batches of other sizes are summed in another order."""
    arrays = ("future", "poses", "classes")
    np.testing.assert_allclose(numbers(answer), numbers(expected), rtol=0, atol=1e-6)
    assert {key: x for key, x in answer.items() if key not in arrays} == {
        key: x for key, x in expected.items() if key not in arrays
    }


def with_changes(body: dict[str, Any], field: str) -> dict[str, Any]:
    """Return the example at another rate, without one keypoint and one frame."""
    clip = list(body[field])
    clip[3], clip[5] = None, [*clip[5][:4], None, *clip[5][5:]]
    return {**body, field: clip, **({"fps": body["fps"] * 0.8} if field == "keypoints" else {})}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("changed", [False, True])
def test_the_answer_to_mirrored_motion_is_the_mirrored_answer(server, name, changed):
    """The tolerance is 1e-6 for answers of size 1. The control is a clip that is reflected without exchanging left and right."""
    field = PATHS[KINDS[name]][1]
    body = get(f"{server.url}/models/{name}/example").json()
    body = {**body, **({"top": 1000} if field == "clip" else {})}
    body = with_changes(body, field) if changed else body
    width = 0 if field == "clip" and len(body[field][0][0]) == 4 else SIZE
    straight = ask(server, name, body)
    expected = mirror(numbers(straight), straight, name)
    image = ask(server, name, {**body, field: mirror_of(body[field], body["joints"], width)})
    np.testing.assert_allclose(numbers(image), expected, rtol=0, atol=1e-6)
    half = [frame and [point and [width - point[0], *point[1:]] for point in frame] for frame in body[field]]
    assert np.nanmax(np.abs(numbers(ask(server, name, {**body, field: half})) - expected)) > 1e-4


@pytest.mark.parametrize("name", BODIES)
def test_the_answer_to_the_example_over_http_is_the_stored_answer(server, name):
    """The tolerance allows for the rounding of the example's numbers."""
    bundle = read_bundle(SHIPPED / name)
    answer = ask(server, name, {**get(f"{server.url}/models/{name}/example").json()})
    (expected,) = bundle.example()[1].values()
    if KINDS[name] == "pose-lift":
        half = (len(answer["poses"]) - len(expected[0])) // 2
        np.testing.assert_allclose(answer["poses"][half : len(answer["poses"]) - half], expected[0], atol=1e-3)
    elif KINDS[name] == "pose-forecast":
        actual, present = (numbers(answer) * SIZE - 500) / 300, ~np.isnan(numbers(answer))
        assert present.mean() > 0.9
        np.testing.assert_allclose(actual[present], expected[0][present], atol=1e-3)
    else:
        assert isinstance(bundle.meta.task, ActionRecognition)
        assert answer["classes"][0]["name"] == bundle.meta.task.classes[int(expected[0].argmax())]


@pytest.mark.parametrize("name", BODIES)
def test_an_answer_does_not_depend_on_concurrent_requests(server, name):
    field = PATHS[KINDS[name]][1]
    body = get(f"{server.url}/models/{name}/example").json()
    bodies = [body, with_changes(body, field)]
    alone = [ask(server, name, one) for one in bodies]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: ask(server, name, one), bodies * 4))
    for one, other in zip(together, alone * 4, strict=True):
        assert_same(one, other)
    both = {name: value for name, value in body.items() if name != field} | {
        "clips": [one[field] for one in bodies[:1] * 2]
    }
    for part in ask(server, name, both)["clips"]:
        assert_same(part, {key: alone[0][key] for key in part})
