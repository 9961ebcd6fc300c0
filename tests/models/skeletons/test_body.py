"""Tests of the joint orders of bodies, their mirror pairs, and conversion between them."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from models.skeletons.body import (
    BODIES,
    convert_body,
    convert_confidence,
    get_body_order,
    mirrored,
    sides,
    undefined_joints,
)
from models.skeletons.skeleton import Skeleton, UndefinedJoint, UnknownOrder, WrongJoints

H36M, COCO, OPENPOSE, PENN = (BODIES[name] for name in ("h36m-17", "coco-17", "openpose-18", "penn-13"))
OTHER = {"left": "right", "right": "left"}
PUBLISHED = {  # left and right as the data sets' code lists them, in no particular order
    "h36m-17": ([4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]),
    "coco-17": ([1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]),
    "mpii-16": ([3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]),
    "humaneva-15": ([2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]),
    "openpose-18": ([5, 6, 7, 11, 12, 13, 15, 17], [2, 3, 4, 8, 9, 10, 14, 16]),
}
FILES = {  # joint order to file
    "hdm05-25": "hdm05_11/hdm05_11_60hz.npz",
    "cmu-24": "cmu_9act/cmu_9act_60hz.npz",
    "reactidle-18": "reactidle/reactidle_24hz.npz",
    "bandai-21": "bandai_namco/bandai_namco_30hz.npz",
    "nw-ucla-20": "nw_ucla/nw_ucla.npz",
    "jhmdb-15": "jhmdb/jhmdb_gt609.npz",
}

every_order = pytest.mark.parametrize("body", BODIES.values(), ids=lambda body: body.name)


def some_body(body: Skeleton, dims: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, len(body.joints), dims))


@every_order
def test_mirror_pairs_are_the_joints_whose_names_differ_only_by_side(body: Skeleton):
    assert len(set(body.joints)) == len(body.joints)
    for joint, image in zip(body.joints, body.mirror, strict=True):
        side, _, part = joint.partition("_")
        assert body.joints[image] == (f"{OTHER[side]}_{part}" if side in OTHER else joint)
    pairs = sides(body)
    assert sorted((*pairs.left, *pairs.right, *pairs.centre)) == list(range(len(body.joints)))
    assert [body.mirror[i] for i in pairs.left] == list(pairs.right)
    assert all(body.mirror[i] == i for i in pairs.centre)


@every_order
def test_bones_reach_every_joint_and_are_mirror_symmetric(body: Skeleton):
    bones = {frozenset(bone) for bone in body.bones}
    assert {frozenset(body.mirror[i] for i in bone) for bone in bones} == bones
    assert len(bones) == len(body.bones)
    reached = {0}
    for _ in body.joints:
        reached |= {joint for bone in bones if bone & reached for joint in bone}
    assert reached == set(range(len(body.joints)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_sides_match_the_published_ones(name: str):
    pairs = sides(BODIES[name])
    left, right = PUBLISHED[name]
    assert (sorted(pairs.left), sorted(pairs.right)) == (sorted(left), sorted(right))


def test_joints_have_the_indices_of_their_data_sets():
    assert H36M.indices(("pelvis", "right_ankle", "left_ankle", "thorax", "head_top", "left_wrist")) == [
        0,
        3,
        6,
        8,
        10,
        13,
    ]
    assert COCO.indices(("nose", "left_eye", "right_ear", "left_shoulder", "right_ankle")) == [0, 1, 4, 5, 16]
    assert OPENPOSE.indices(("neck", "right_wrist", "left_wrist", "left_ankle", "right_eye", "left_ear")) == [
        1,
        4,
        7,
        13,
        14,
        17,
    ]
    assert BODIES["mpii-16"].joints[:7] == (
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "pelvis",
    )
    assert BODIES["humaneva-15"].indices(("thorax", "left_wrist", "right_hip", "head")) == [1, 4, 11, 14]


@pytest.mark.parametrize("name", FILES)
def test_orders_match_the_names_in_the_files(data_folder: Path, name: str):
    body, pairs = BODIES[name], sides(BODIES[name])
    with np.load(data_folder / "body" / FILES[name]) as arrays:
        assert len(arrays["joint_names"]) == len(body.joints)
        for name_in_file, joint in zip(arrays["joint_names"], body.joints, strict=True):
            assert name_in_file == joint or not name_in_file.startswith(
                ("left_", "right_")
            )  # the files name central joints differently
        assert list(pairs.left) == arrays["left_idx"].tolist()
        assert list(pairs.right) == arrays["right_idx"].tolist()
        assert list(pairs.centre) == arrays["centre_idx"].tolist()
        if "parents" in arrays:
            parents = arrays["parents"].tolist()
            assert set(body.bones) == {(parent, joint) for joint, parent in enumerate(parents) if parent >= 0}


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("nw-ucla-20", "jhmdb-15")])
def test_conversion_of_motion_capture_to_human36m_follows_the_index_map_of_the_files(data_folder: Path, name: str):
    with np.load(data_folder / "body" / FILES[name]) as arrays:
        indices = arrays["h36m17_idx"]
        points = arrays["joints" if "joints" in arrays else "joints_rel_0p1mm"][:50].astype(np.float32)
    converted = convert_body(points, BODIES[name], H36M, partial=True)
    np.testing.assert_array_equal(converted[:, indices >= 0], points[:, indices[indices >= 0]])
    assert np.isnan(converted[:, indices < 0]).all()
    assert undefined_joints(BODIES[name], H36M) == tuple(np.array(H36M.joints)[indices < 0])


def test_left_in_penn_action_is_the_persons_right(data_folder: Path):
    with np.load(data_folder / "body/penn_action/penn_action.npz") as file:
        arrays = dict(file)
    assert tuple(arrays["joint_names_anatomical"]) == PENN.joints
    assert (arrays["joint_names"][1], PENN.joints[1]) == ("left_shoulder", "right_shoulder")
    left, right = PENN.indices(("left_shoulder", "right_shoulder"))
    jumping, front = arrays["action_names"][arrays["action"]], arrays["viewpoint_names"][arrays["viewpoint"]]
    to_the_right = [
        np.median((arrays["xy"][start:stop, left] - arrays["xy"][start:stop, right])[:, 0]) > 0
        for start, stop, facing in zip(
            arrays["seq_start"][:-1],
            arrays["seq_start"][1:],
            (jumping == "jumping_jacks") & (front == "front"),
            strict=True,
        )
        if facing
    ]
    assert len(to_the_right) > 50
    assert (
        np.mean(to_the_right) > 0.95
    )  # the left shoulder of a person who faces the camera is on the right of the image


@pytest.mark.parametrize(
    ("source", "target"), list(itertools.permutations(BODIES.values(), 2)), ids=lambda body: body.name
)
def test_conversion_copies_shared_joints_and_commutes_with_the_mirror(source: Skeleton, target: Skeleton):
    points = some_body(source)
    converted = convert_body(points, source, target, partial=True)
    for i, joint in enumerate(target.joints):
        if joint in source.joints:
            np.testing.assert_array_equal(converted[:, i], points[:, source.joints.index(joint)])
        elif joint in undefined_joints(source, target):
            assert np.isnan(converted[:, i]).all()
    np.testing.assert_array_equal(
        convert_body(mirrored(points, source), source, target, partial=True), mirrored(converted, target)
    )


def test_midpoints_of_two_joints_are_computed():
    points = some_body(COCO, dims=2)
    pelvis = BODIES["humaneva-15"].joints.index("pelvis")
    hips = points[:, COCO.indices(("left_hip", "right_hip"))]
    converted = convert_body(points, COCO, BODIES["humaneva-15"])
    np.testing.assert_allclose(converted[:, pelvis], hips.mean(axis=1))
    ears = points[:, COCO.indices(("left_ear", "right_ear"))]
    np.testing.assert_allclose(convert_body(points, COCO, PENN)[:, 0], ears.mean(axis=1))
    crown = some_body(H36M)[:, H36M.indices(("head_base", "head_top"))]
    np.testing.assert_allclose(convert_body(some_body(H36M), H36M, PENN)[:, 0], crown.mean(axis=1))


def test_openpose_and_coco_convert_to_each_other_except_for_joints_that_one_lacks():
    points = some_body(COCO, dims=2)
    there = convert_body(points, COCO, OPENPOSE)
    np.testing.assert_array_equal(convert_body(there, OPENPOSE, COCO), points)


def test_a_missing_joint_and_midpoints_computed_from_it_stay_missing():
    points = some_body(COCO, dims=2)
    left_hip = COCO.joints.index("left_hip")
    points[1, left_hip] = np.nan
    confidence = np.isfinite(points[..., 0]).astype(np.float64)
    converted = convert_body(points, COCO, H36M, partial=True)
    scores = convert_confidence(confidence, COCO, H36M)
    pelvis, own = H36M.indices(("pelvis", "left_hip"))
    assert np.isnan(converted[1, [pelvis, own]]).all()
    np.testing.assert_array_equal(np.isnan(converted[..., 0]), scores == 0)
    confidence[0, left_hip] = 0.25
    assert convert_confidence(confidence, COCO, H36M)[0, [pelvis, own]].tolist() == [0.25, 0.25]


def test_a_joint_that_cannot_be_computed_is_named_in_the_error():
    with pytest.raises(
        UndefinedJoint, match="h36m-17 bodies need spine, head_base, head_top, which penn-13 bodies do not have"
    ):
        convert_body(some_body(PENN), PENN, H36M)
    with pytest.raises(UndefinedJoint, match="the joint order penn-13 has no nose"):
        PENN.indices(("head", "nose"))


def test_points_of_another_order_are_refused():
    with pytest.raises(WrongJoints, match=r"expected coco-17 points of shape \(\.\.\., 17, dims\), got \(4, 13, 3\)"):
        convert_body(some_body(PENN), COCO, H36M)
    with pytest.raises(WrongJoints, match="h36m-17"):
        mirrored(some_body(PENN), H36M)
    with pytest.raises(WrongJoints, match="expected 17 confidences"):
        convert_confidence(np.ones((4, 13)), COCO, H36M)


def test_the_error_for_an_unknown_order_lists_the_known_orders():
    assert get_body_order("coco-17") is COCO
    with pytest.raises(UnknownOrder, match=r"one of h36m-17, coco-17, openpose-18, penn-13.* got 'kinect-9'"):
        get_body_order("kinect-9")


@every_order
def test_mirroring_twice_is_the_identity_and_does_not_change_its_input(body: Skeleton):
    points = some_body(body)
    original = points.copy()
    once = mirrored(points, body)
    np.testing.assert_array_equal(points, original)
    np.testing.assert_array_equal(mirrored(once, body), points)
    for i, image in enumerate(body.mirror):
        np.testing.assert_array_equal(once[:, i], points[:, image] * [-1, 1, 1])
