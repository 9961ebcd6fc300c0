"""Tests of options of lifts and of unsure recognisers: the height of a person, constant bones, no class, and none of them."""

from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from people import moving_person, pixels

from models.contract.task import ActionRecognition
from models.motion.plausible_bodies import stature
from models.skeletons.body_orders import get_body_order
from service.app import create_app
from service.settings import Settings
from service.tasks.bodies.actions import ActionClip, answer
from service.tasks.bodies.schemas import ActionsOptions

from ...conftest import ARMS, make_recogniser, moving_body
from .test_endpoint import ACTIONS, LIFT, LIFTED, ask, mirror_of

H36M = get_body_order("h36m-17")
UNSURE = ActionRecognition(order="h36m-17", classes=ARMS, dims=3, frames=20, mirrored=(1, 0, 2), none=True)


def lengths(poses: np.ndarray) -> np.ndarray:
    near, far = (list(ends) for ends in zip(*H36M.bones, strict=True))
    return np.linalg.norm(poses[:, far] - poses[:, near], axis=-1)


@pytest.mark.parametrize("fps", [30, 50])
def test_kept_bones_have_one_length_at_any_rate_and_the_same_on_both_sides(client, fps):
    points = pixels(moving_person("h36m-17", 40))
    free = np.array(ask(client, LIFT, {**LIFTED, "fps": fps}, keypoints=points)["poses"])
    kept = np.array(ask(client, LIFT, {**LIFTED, "fps": fps, "keep_bones": True}, keypoints=points)["poses"])
    assert np.ptp(lengths(free), axis=0).max() > 1e-3
    assert np.ptp(lengths(kept), axis=0).max() < 1e-5
    at = {bone: i for i, bone in enumerate(H36M.bones)}
    image = [at[H36M.mirror[near], H36M.mirror[far]] for near, far in H36M.bones]
    np.testing.assert_allclose(lengths(kept), lengths(kept)[:, image], atol=1e-5)


def test_a_person_of_a_given_height_is_lifted_to_it(client):
    points = pixels(moving_person("h36m-17", 20))
    free = np.array(ask(client, LIFT, LIFTED, keypoints=points)["poses"])
    tall = np.array(ask(client, LIFT, {**LIFTED, "height": 1.9}, keypoints=points)["poses"])
    assert stature(tall, H36M) == pytest.approx(1.9, abs=1e-3)
    np.testing.assert_allclose(tall, free * 1.9 / (stature(free, H36M) or 0), atol=1e-4)


@pytest.mark.parametrize("height", [0.2, 190])
def test_a_height_that_nobody_has_is_refused(client, height):
    body = {**LIFTED, "height": height, "keypoints": pixels(moving_person("h36m-17", 5)).tolist()}
    response = client.post(LIFT, json=body)
    assert response.status_code == 422
    assert "height" in response.text


@pytest.mark.parametrize(("least", "sure"), [(0.0, True), (0.59, True), (0.61, False)])
def test_a_class_that_is_too_improbable_is_not_recognised(least, sure):
    task = ActionRecognition(order="h36m-17", classes=("sit", "stand", "walk"), least=least)
    clip = ActionClip(ActionsOptions(joints="h36m-17"), 9, [0], 0, [])
    said = answer(clip, [{"logits": np.log([[0.3, 0.6, 0.1]])[0]}], task)
    assert said["classes"][0]["probability"] == pytest.approx(0.6)
    assert said["recognised"] == ("stand" if sure else None)
    assert "none_of_these" not in said


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of a service whose recogniser estimates that a clip shows none of its classes: the logits are heights of wrists."""
    folder = tmp_path_factory.mktemp("bundles")
    make_recogniser(folder, "actions-none", UNSURE)
    with TestClient(create_app(Settings(bundles=folder))) as client:
        yield client


def raised(metres: float) -> np.ndarray:
    """Return a clip whose left wrist is so far above the pelvis of its first frame, and whose right one is far below."""
    clip = moving_body(30, 3) / 1000
    clip -= clip[0, 0]
    clip[:, H36M.indices(("left_wrist", "right_wrist")), 1] = metres, -1.0
    return clip


def test_a_clip_of_no_known_class_is_answered_with_the_probability_of_none(unsure):
    high, low = (ask(unsure, ACTIONS, {"joints": "h36m-17"}, clip=raised(metres)) for metres in (1.0, -1.0))
    for said, height, name in ((high, 1.0, "left up"), (low, -1.0, None)):
        odds = np.exp([height, -1.0, -9.0, 0.0])
        assert said["recognised"] == name
        assert said["none_of_these"] == pytest.approx(odds[3] / odds.sum(), abs=2e-3)
        assert sum(one["probability"] for one in said["classes"]) + said["none_of_these"] == pytest.approx(1, abs=1e-6)
    assert low["none_of_these"] > 0.5 > high["none_of_these"]
    together = ask(unsure, ACTIONS, {"joints": "h36m-17"}, clips=np.stack([raised(1.0), raised(-1.0)]))["clips"]
    assert [one["recognised"] for one in together] == ["left up", None]


def test_the_mirror_image_of_a_clip_is_none_as_probably(unsure):
    clip = raised(0.3)
    said = ask(unsure, ACTIONS, {"joints": "h36m-17"}, clip=clip)
    image = ask(unsure, ACTIONS, {"joints": "h36m-17"}, clip=mirror_of(clip.tolist(), "h36m-17", 0))
    assert image["none_of_these"] == pytest.approx(said["none_of_these"], abs=1e-6)
    assert (said["recognised"], image["recognised"]) == ("left up", "right up")
    other = ask(unsure, ACTIONS, {"joints": "h36m-17"}, clip=raised(0.2))
    assert abs(other["none_of_these"] - said["none_of_these"]) > 1e-3
