"""Tests of a clip of real motion in every joint order of bodies: the answer does not depend on the order."""

from pathlib import Path

import numpy as np
import pytest
from people import moving_person

from models.contract.bundle import read_bundle
from models.motion.bodies import denormalise
from models.skeletons.body_orders import BODIES
from models.skeletons.skeleton import Skeleton

from ...exchange import problem_of
from .test_endpoint import ACTIONS, CLIP, FORECAST, LIFT, LIFTED, PAST, ask

BUNDLES = Path(__file__).resolve().parents[4] / "bundles"
H36M = BODIES["h36m-17"]
MIDPOINTS = {"pelvis": "hip", "thorax": "shoulder", "neck": "shoulder"}
Places = dict[str, np.ndarray]

every_order = pytest.mark.parametrize("order", BODIES.values(), ids=lambda order: order.name)


@pytest.fixture(scope="module")
def flat() -> Places:
    """Return the positions of joints in a clip of 2D motion, in pixels, with a neck and a pelvis as detectors compute them."""
    keypoints = read_bundle(BUNDLES / "poses-lift").example()[0]["keypoints"][0, :, :, :2].astype(float)
    return places(denormalise(keypoints, (LIFTED["image"][0], LIFTED["image"][1])))


@pytest.fixture(scope="module")
def deep() -> Places:
    """Return the positions of joints in a clip of 3D motion, in metres, y up."""
    return places(read_bundle(BUNDLES / "actions-hdm05").example()[0]["clips"][0, 0, :, :, :3].astype(float))


def places(points: np.ndarray) -> Places:
    by_name = {joint: points[:, i] for i, joint in enumerate(H36M.joints)}
    middle = {joint: (by_name[f"left_{part}"] + by_name[f"right_{part}"]) / 2 for joint, part in MIDPOINTS.items()}
    return {**by_name, **middle, "nose": by_name["head_base"]}


def written(by_name: Places, order: Skeleton) -> list:
    """Return the clip in an order; joints that the clip lacks were not seen."""
    frames = len(by_name["pelvis"])
    return [[by_name[joint][t].tolist() if joint in by_name else None for joint in order.joints] for t in range(frames)]


def native(by_name: Places, order: Skeleton) -> list:
    """Return the clip in the models' order, without the joints that the other order cannot give."""
    known = {joint: place for joint, place in by_name.items() if joint in order.joints or joint in MIDPOINTS}
    return written(known | {"pelvis": by_name["pelvis"]}, H36M)


@every_order
def test_a_clip_is_lifted_to_the_same_poses_from_every_order(client, flat, order):
    poses, expected = (
        ask(client, LIFT, {**LIFTED, "joints": joints}, keypoints=keypoints)["poses"]
        for joints, keypoints in ((order.name, written(flat, order)), ("h36m-17", native(flat, order)))
    )
    np.testing.assert_allclose(poses, expected, atol=1e-6)


@every_order
def test_a_clip_is_recognised_as_the_same_action_from_every_order(client, deep, order):
    classes, expected = (
        ask(client, ACTIONS, {**CLIP, "joints": joints}, clip=clip)["classes"]
        for joints, clip in ((order.name, written(deep, order)), ("h36m-17", native(deep, order)))
    )
    assert classes == expected


@every_order
def test_a_forecast_comes_back_in_the_order_of_the_request(client, flat, order):
    answer, expected = (
        ask(client, FORECAST, {**PAST, "fps": 25, "joints": joints}, past=past)
        for joints, past in ((order.name, written(flat, order)), ("h36m-17", native(flat, order)))
    )
    assert answer["joints"] == order.name
    for i, joint in enumerate(order.joints):
        points = [pose[i] for pose in answer["future"]]
        assert (None in points) == (joint in answer["unforecast_joints"])
        if joint in H36M.joints and None not in points:
            at = H36M.joints.index(joint)
            np.testing.assert_allclose(points, [pose[at] for pose in expected["future"]], atol=1e-3)


def test_a_wrong_number_of_joints_is_answered_with_the_orders_that_fit(client, flat):
    body = {**LIFTED, "joints": "coco-17", "keypoints": written(flat, BODIES["openpose-25"])}
    detail = problem_of(client.post(LIFT, json=body), "wrong-shape")["detail"]
    assert "25 joints fit hdm05-25 or openpose-25 or ntu-25" in detail


def test_a_model_that_needs_every_joint_says_which_orders_have_them(client, flat):
    body = {**LIFTED, "joints": "coco-17", "model": "lift-sure", "keypoints": written(flat, BODIES["coco-17"])}
    detail = problem_of(client.post(LIFT, json=body), "missing-joints")["detail"]
    assert "orders that have them: h36m-17, hdm05-25" in detail


def test_every_order_is_listed_with_its_other_names(client):
    orders = client.get("/joints").json()
    assert "body-25" in orders["openpose-25"]["aliases"]
    assert "smplx" in orders["mano-smplx"]["aliases"]


def test_a_clip_in_another_order_than_it_says_is_refused_with_the_right_one(client, flat, deep):
    body = {**LIFTED, "joints": "coco-17", "keypoints": written(flat, H36M)}
    assert "one whose joints fit h36m-17" in problem_of(client.post(LIFT, json=body), "implausible")["detail"]
    body = {**PAST, "fps": 25, "joints": "coco-17", "past": written(flat, H36M)}
    assert "one whose joints fit h36m-17" in problem_of(client.post(FORECAST, json=body), "implausible")["detail"]
    body = {**CLIP, "joints": "coco-17", "clip": written(deep, H36M)}
    assert "one whose joints fit h36m-17" in problem_of(client.post(ACTIONS, json=body), "implausible")["detail"]


def test_z_may_be_up_and_a_person_who_seems_to_lie_gets_a_warning(client):
    upright = moving_person("h36m-17", 25)
    z_up = np.stack([upright[..., 0], -upright[..., 2], upright[..., 1]], axis=-1)
    expected = ask(client, ACTIONS, CLIP, clip=upright)
    assert expected["warnings"] == []
    assert ask(client, ACTIONS, {**CLIP, "axes": "z-up"}, clip=z_up)["classes"] == expected["classes"]
    (warning,) = ask(client, ACTIONS, CLIP, clip=z_up)["warnings"]
    assert "send axes=z-up" in warning
