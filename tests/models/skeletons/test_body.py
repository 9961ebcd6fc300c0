"""Tests of the joint orders of bodies, their mirror pairs, and conversion between them."""

from pathlib import Path

import numpy as np
import pytest

from models.skeletons.body import convert_body, convert_confidence, mirrored, sides, undefined_joints
from models.skeletons.body_orders import BODIES, get_body_order
from models.skeletons.skeleton import Skeleton, UndefinedJoint, UnknownOrder, WrongJoints

H36M, COCO, OPENPOSE, PENN = (BODIES[name] for name in ("h36m-17", "coco-17", "openpose-18", "penn-13"))
OTHER = {"left": "right", "right": "left"}
PUBLISHED = {  # left and right as the data sets' code lists them, in no particular order
    "h36m-17": ([4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]),
    "coco-17": ([1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]),
    "mpii-16": ([3, 4, 5, 13, 14, 15], [0, 1, 2, 10, 11, 12]),
    "humaneva-15": ([2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]),
    "openpose-18": ([5, 6, 7, 11, 12, 13, 15, 17], [2, 3, 4, 8, 9, 10, 14, 16]),
    "openpose-25": ([5, 6, 7, 12, 13, 14, 16, 18, 19, 20, 21], [2, 3, 4, 9, 10, 11, 15, 17, 22, 23, 24]),
    "h36m-32": ([*range(6, 11), *range(16, 24)], [*range(1, 6), *range(24, 32)]),
    "halpe-26": ([1, 3, 5, 7, 9, 11, 13, 15, 20, 22, 24], [2, 4, 6, 8, 10, 12, 14, 16, 21, 23, 25]),
    "crowdpose-14": ([0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]),
    "posetrack18-17": ([3, 5, 7, 9, 11, 13, 15], [4, 6, 8, 10, 12, 14, 16]),
    "ntu-25": ([4, 5, 6, 7, 12, 13, 14, 15, 21, 22], [8, 9, 10, 11, 16, 17, 18, 19, 23, 24]),
    "smpl-24": ([1, 4, 7, 10, 13, 16, 18, 20, 22], [2, 5, 8, 11, 14, 17, 19, 21, 23]),
}
PLACES = {  # some joints of an order, by their published indices
    "h36m-17": {"pelvis": 0, "right_ankle": 3, "left_ankle": 6, "thorax": 8, "head_top": 10, "left_wrist": 13},
    "coco-17": {"nose": 0, "left_eye": 1, "right_ear": 4, "left_shoulder": 5, "right_ankle": 16},
    "openpose-18": {"neck": 1, "right_wrist": 4, "left_wrist": 7, "left_ankle": 13, "right_eye": 14, "left_ear": 17},
    "mpii-16": {"right_ankle": 0, "left_hip": 3, "left_ankle": 5, "pelvis": 6, "head_top": 9, "left_wrist": 15},
    "humaneva-15": {"thorax": 1, "left_wrist": 4, "right_hip": 11, "head": 14},
    "openpose-25": {"neck": 1, "left_wrist": 7, "pelvis": 8, "right_hip": 9, "left_heel": 21, "right_big_toe": 22},
    "mediapipe-33": {"right_eye_inner": 4, "left_ear": 7, "left_shoulder": 11, "right_wrist": 16, "left_hip": 23, "right_toe": 32},
    "h36m-32": {"pelvis": 0, "left_hip": 6, "spine": 12, "head_top": 15, "left_shoulder": 17, "right_shoulder": 25},
    "coco-wholebody-133": {
        "left_big_toe": 17, "right_heel": 22, "right_jaw_1": 23, "left_hand_wrist": 91, "right_hand_wrist": 112,
        "right_hand_pinky_tip": 132,
    },
    "halpe-26": {"head_top": 17, "neck": 18, "pelvis": 19, "left_big_toe": 20, "right_heel": 25},
    "halpe-136": {"right_heel": 25, "right_jaw_1": 26, "left_hand_wrist": 94, "right_hand_wrist": 115},
    "crowdpose-14": {"left_shoulder": 0, "right_ankle": 11, "head_top": 12, "neck": 13},
    "posetrack18-17": {"nose": 0, "head_base": 1, "head_top": 2, "left_ear": 3, "right_ankle": 16},
    "ntu-25": {"pelvis": 0, "neck": 2, "head": 3, "left_hand": 7, "right_hip": 16, "thorax": 20, "right_thumb": 24},
    "azure-kinect-32": {"neck": 3, "left_wrist": 7, "right_shoulder": 12, "right_foot": 25, "head": 26, "right_ear": 31},
    "smplx-55": {"right_wrist": 21, "jaw": 22, "left_eye": 23, "left_hand_index_mcp": 25, "right_hand_thumb_ip": 54},
    "smplh-52": {"left_hand_index_mcp": 22, "left_hand_thumb_cmc": 34, "right_hand_index_mcp": 37},
    "smpl-24": {"lower_spine": 3, "right_ankle": 8, "thorax": 12, "head_base": 15, "left_wrist": 20, "right_hand": 23},
}  # fmt: skip
NAMES = {
    "coco-17": ("COCO", "coco_17", "YOLO", "MoveNet"),
    "openpose-18": ("OpenPose COCO", "coco-18", "openpose"),
    "openpose-25": ("BODY_25", "body25", "OpenPose-25", "openpose body 25"),
    "mediapipe-33": ("MediaPipe", "mediapipe_pose", "BlazePose"),
    "coco-wholebody-133": ("COCO-WholeBody", "wholebody133"),
    "halpe-26": ("Halpe26", "halpe"),
    "h36m-17": ("Human3.6M", "H3.6M", "h36m"),
    "h36m-32": ("Human3.6M-32", "h36m_32"),
    "crowdpose-14": ("CrowdPose",),
    "posetrack18-17": ("PoseTrack18", "posetrack-18"),
    "ntu-25": ("NTU RGB+D", "Kinect v2"),
    "azure-kinect-32": ("Azure Kinect",),
    "smpl-24": ("SMPL",),
    "smplx-55": ("SMPL-X 55", "smplx_55"),
    "smplh-52": ("SMPL+H 52",),
}
COUNTED = {  # names with the number of joints
    "blazepose-33": "mediapipe-33", "MediaPipe Pose 33": "mediapipe-33", "openpose-body-25-25": "openpose-25", "yolo-17": "coco-17",
    "NTU RGB+D 25": "ntu-25", "crowdpose_14": "crowdpose-14", "Human3.6M 17": "h36m-17", "smplx-22": "smpl-22",
}  # fmt: skip
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


@pytest.mark.parametrize("name", PLACES)
def test_joints_have_the_indices_of_their_data_sets(name: str):
    joints = BODIES[name].joints
    assert {joint: joints.index(joint) for joint in PLACES[name]} == PLACES[name]


def test_an_order_has_as_many_joints_as_its_name_says():
    for name, body in BODIES.items():
        assert len(body.joints) == int(name.rpartition("-")[2])


def test_orders_are_known_by_the_names_that_people_use():
    for name, others in NAMES.items():
        for other in (name, name.upper(), name.replace("-", "_"), *others):
            assert get_body_order(other).name == name
    assert {name: get_body_order(name).name for name in COUNTED} == COUNTED


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


@every_order
def test_conversion_copies_shared_joints_and_commutes_with_the_mirror(body: Skeleton):
    points = some_body(body)
    for target in BODIES.values():
        converted = convert_body(points, body, target, partial=True)
        absent = undefined_joints(body, target)
        for i, joint in enumerate(target.joints):
            if joint in body.joints:
                np.testing.assert_array_equal(converted[:, i], points[:, body.joints.index(joint)])
            assert np.isnan(converted[:, i]).all() == (joint in absent)
        np.testing.assert_array_equal(
            convert_body(mirrored(points, body), body, target, partial=True), mirrored(converted, target)
        )


@every_order
def test_joints_that_two_orders_share_come_back_unchanged(body: Skeleton):
    for other in BODIES.values():
        there = convert_body(some_body(body), body, other, partial=True)
        back = convert_body(there, other, body, partial=True)
        shared = [i for i, joint in enumerate(body.joints) if joint in other.joints]
        np.testing.assert_array_equal(back[:, shared], some_body(body)[:, shared])


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
    halpe, cmu = BODIES["halpe-26"], BODIES["cmu-24"]
    toes = some_body(halpe)[:, halpe.indices(("left_big_toe", "left_small_toe"))]
    converted = convert_body(some_body(halpe), halpe, cmu, partial=True)
    np.testing.assert_allclose(converted[:, cmu.joints.index("left_toe")], toes.mean(axis=1))


def test_a_spine_is_not_guessed():
    """The lifter is worse with the middle of the trunk for a spine than without a spine."""
    assert undefined_joints(COCO, H36M) == ("spine", "head_base", "head_top")


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
