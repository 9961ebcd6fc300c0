"""Tests of the joint orders of hands, conversion between them, and joints carried with the palm."""

from pathlib import Path

import numpy as np
import pytest

from models.contract.symmetry import random_rotation
from models.skeletons.hand import (
    ASSEMBLY101,
    HAND_PAIR,
    HANDS,
    PALM,
    carried_joints,
    carry,
    convert,
    get_hand_order,
    palm_centre,
)
from models.skeletons.skeleton import LEFT_RIGHT, Skeleton, UndefinedJoint, UnknownOrder, WrongJoints

# as published with the data set
ASSEMBLY101_BONES = (
    "(5,6)(6,7)(7,0)(5,8)(8,9)(9,10)(10,1)(5,11)(11,12)(12,13)(13,2)"
    "(5,14)(14,15)(15,16)(16,3)(5,17)(17,18)(18,19)(19,4)(5,20)"
)
MANO = HANDS["mano"]


@pytest.fixture(scope="module")
def sample(data_folder: Path):
    """Return real frames of Assembly101, (frames, 2, 21, 3) in metres, with all joints as measured."""
    with np.load(data_folder / "hands/assembly101_sample/assembly101_sample.npz") as arrays:
        assert arrays["valid"].all()
        assert tuple(arrays["joint_names"]) == ASSEMBLY101.joints
        return arrays["joints"].astype(np.float64) / 1000


def some_hand(order: Skeleton, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, len(order.joints), 3))


@pytest.mark.parametrize("order", HANDS.values(), ids=lambda order: order.name)
def test_a_hand_is_a_tree_from_the_wrist_that_reaches_every_joint_once(order: Skeleton):
    children = [child for _, child in order.bones]
    assert len(set(order.joints)) == len(order.joints)
    assert sorted(children) == sorted(set(range(len(order.joints))) - {order.joints.index("wrist")})
    reached = {order.joints.index("wrist")}
    for _ in order.joints:
        reached |= {child for parent, child in order.bones if parent in reached}
    assert reached == set(range(len(order.joints)))
    assert order.mirror == tuple(range(len(order.joints)))


def test_the_bones_of_assembly101_match_the_published_ones():
    assert "".join(f"({a},{b})" for a, b in ASSEMBLY101.bones) == ASSEMBLY101_BONES


def test_joints_have_the_indices_of_their_trackers():
    assert len(MANO.joints) == 21
    assert MANO.joints == HANDS["mediapipe"].joints
    assert MANO.indices(("wrist", "thumb_cmc", "thumb_tip", "index_mcp", "pinky_tip")) == [0, 1, 4, 5, 20]
    openxr = HANDS["openxr"]  # XR_HAND_JOINT_*: PALM 0, WRIST 1, THUMB_PROXIMAL 3, INDEX_METACARPAL 6, LITTLE_TIP 25
    assert len(openxr.joints) == 26
    assert openxr.indices(("openxr_palm", "wrist", "thumb_mcp", "index_metacarpal", "pinky_tip")) == [0, 1, 3, 6, 25]
    assert HANDS["leap"].joints == ("palm_centre", *MANO.joints)


def test_the_mirror_image_of_a_joint_is_the_same_joint_of_the_other_hand():
    assert HAND_PAIR.joints[:21] == tuple(f"left_{joint}" for joint in ASSEMBLY101.joints)
    for joint, image in enumerate(HAND_PAIR.mirror):
        assert HAND_PAIR.mirror[image] == joint
        assert {HAND_PAIR.joints[joint], HAND_PAIR.joints[image]} == {
            f"{side}_{ASSEMBLY101.joints[joint % 21]}" for side in LEFT_RIGHT
        }
    assert set(HAND_PAIR.bones) == {(HAND_PAIR.mirror[a], HAND_PAIR.mirror[b]) for a, b in HAND_PAIR.bones}


def test_the_error_for_an_unknown_order_lists_the_known_orders():
    assert get_hand_order("openxr") is HANDS["openxr"]
    with pytest.raises(UnknownOrder, match=r"one of assembly101, mano, mediapipe, openxr, .*, got 'manus'"):
        get_hand_order("manus")


def test_the_palm_centre_is_computed_to_a_millimetre_on_real_hands_and_only_with_the_right_side(sample):
    wrist, index, pinky, measured = (
        sample[:, :, ASSEMBLY101.joints.index(joint)] for joint in ("wrist", "index_mcp", "pinky_mcp", "palm_centre")
    )
    for i, hand in enumerate(LEFT_RIGHT):
        other = LEFT_RIGHT[1 - i]
        right, wrong = (
            1000 * np.linalg.norm(palm_centre(wrist[:, i], index[:, i], pinky[:, i], side) - measured[:, i], axis=-1)
            for side in (hand, other)
        )
        assert right.mean() < 0.85  # measured: left 0.80, right 0.73, worst frame 1.8
        assert right.max() < 2.0
        assert wrong.mean() > 20  # the normal on the back of the hand


@pytest.mark.parametrize("source", HANDS.values(), ids=lambda order: order.name)
@pytest.mark.parametrize("hand", LEFT_RIGHT)
def test_every_order_converts_to_assembly101_joint_by_joint(source: Skeleton, hand):
    points = some_hand(source)
    converted = convert(points, source, ASSEMBLY101, hand)
    for i, joint in enumerate(ASSEMBLY101.joints):
        if joint in source.joints:
            np.testing.assert_array_equal(converted[:, i], points[:, source.joints.index(joint)])
        else:
            assert joint == "palm_centre"
            wrist, index, pinky = (points[:, k] for k in source.indices(("wrist", "index_mcp", "pinky_mcp")))
            np.testing.assert_array_equal(converted[:, i], palm_centre(wrist, index, pinky, hand))


@pytest.mark.parametrize(
    ("source", "target", "missing"),
    [
        ("assembly101", "mano", "thumb_cmc"),
        ("assembly101", "leap", "thumb_cmc"),
        ("assembly101", "openxr", "openxr_palm, thumb_cmc, index_metacarpal"),
        ("leap", "openxr", "openxr_palm, index_metacarpal"),
    ],
)
def test_a_joint_that_cannot_be_computed_is_named_in_the_error(source: str, target: str, missing: str):
    with pytest.raises(UndefinedJoint, match=f"{target} hands need {missing}.*, which {source} hands do not have"):
        convert(some_hand(HANDS[source]), HANDS[source], HANDS[target], "left")


def test_points_of_another_order_are_refused():
    with pytest.raises(WrongJoints, match=r"expected mano points of shape \(\.\.\., 21, 3\), got \(3, 26, 3\)"):
        convert(some_hand(HANDS["openxr"]), MANO, ASSEMBLY101, "left")
    with pytest.raises(WrongJoints, match="leap"):
        carry(some_hand(MANO)[0], some_hand(ASSEMBLY101), HANDS["leap"])


@pytest.mark.parametrize("source", HANDS.values(), ids=lambda order: order.name)
@pytest.mark.parametrize("hand", LEFT_RIGHT)
def test_conversion_commutes_with_rotation_translation_and_mirror_with_exchange_of_hands(source: Skeleton, hand):
    rng = np.random.default_rng(1)
    points, turn, shift = some_hand(source), random_rotation(rng), rng.normal(size=3)
    converted = convert(points, source, ASSEMBLY101, hand)
    moved = convert(points @ turn.T + shift, source, ASSEMBLY101, hand)
    np.testing.assert_allclose(moved, converted @ turn.T + shift, atol=1e-12)
    mirror, other = np.array([-1, 1, 1]), LEFT_RIGHT[1 - LEFT_RIGHT.index(hand)]
    np.testing.assert_allclose(convert(points * mirror, source, ASSEMBLY101, other), converted * mirror, atol=1e-12)
    if "palm_centre" not in source.joints:  # without the swap the palm lands on the back of the hand
        assert np.abs(convert(points * mirror, source, ASSEMBLY101, hand) - converted * mirror).max() > 1e-2


def test_carried_joints_are_the_ones_that_assembly101_lacks():
    assert carried_joints(ASSEMBLY101) == ()
    assert carried_joints(MANO) == carried_joints(HANDS["leap"]) == ("thumb_cmc",)
    assert carried_joints(HANDS["openxr"]) == (
        *("openxr_palm", "thumb_cmc"),
        *(f"{finger}_metacarpal" for finger in ("index", "middle", "ring", "pinky")),
    )


@pytest.mark.parametrize("target", HANDS.values(), ids=lambda order: order.name)
def test_a_hand_moved_as_a_whole_is_carried_exactly(target: Skeleton):
    rng = np.random.default_rng(2)
    reference = some_hand(target)[0]
    turns, shifts = np.stack([random_rotation(rng) for _ in range(5)]), rng.normal(size=(5, 1, 3))
    moved = np.einsum("tij,nj->tni", turns, reference) + shifts
    carried = carry(reference, convert(moved, target, ASSEMBLY101, "left"), target)
    np.testing.assert_allclose(carried, moved, atol=1e-12)


def test_carrying_commutes_with_rotation_translation_and_mirror():
    rng = np.random.default_rng(3)
    target = HANDS["openxr"]
    reference, moved = some_hand(target)[0], some_hand(ASSEMBLY101, seed=4)
    carried = carry(reference, moved, target)
    for matrix in (random_rotation(rng), np.diag([-1.0, 1.0, 1.0])):
        shift = rng.normal(size=3)
        np.testing.assert_allclose(
            carry(reference @ matrix.T + shift, moved @ matrix.T + shift, target), carried @ matrix.T + shift, atol=1e-9
        )


def test_the_palms_rotation_matches_another_method():
    """The reference is Horn 1987: the leading eigenvector of a 4 x 4 matrix of correlations is the rotation's quaternion."""
    target = HANDS["openxr"]
    reference, moved = some_hand(target)[0], some_hand(ASSEMBLY101, seed=5)
    before = reference[target.indices(PALM)]
    origin = before.mean(axis=0)
    for frame, carried in zip(moved, carry(reference, moved, target), strict=True):
        after = frame[ASSEMBLY101.indices(PALM)]
        (sxx, sxy, sxz), (syx, syy, syz), (szx, szy, szz) = (before - origin).T @ (after - after.mean(axis=0))
        quaternion = np.linalg.eigh(
            np.array(
                [
                    [sxx + syy + szz, syz - szy, szx - sxz, sxy - syx],
                    [syz - szy, sxx - syy - szz, sxy + syx, szx + sxz],
                    [szx - sxz, sxy + syx, -sxx + syy - szz, syz + szy],
                    [sxy - syx, szx + sxz, syz + szy, -sxx - syy + szz],
                ]
            )
        ).eigenvectors[:, -1]
        w, v = quaternion[0], quaternion[1:]
        for joint in target.indices(carried_joints(target)):
            arm = reference[joint] - origin
            turned = arm + 2 * np.cross(v, np.cross(v, arm) + w * arm)
            np.testing.assert_allclose(carried[joint], turned + after.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize(
    ("source", "mean_mm", "worst_mm"),  # measured: 0.02 / 10.8, 0.07 / 3.8, 0.51 / 6.1, 2.58 / 18.4
    [("humoto", 0.05, 12), ("leap", 0.1, 5), ("tzionas", 0.6, 7), ("manipnet", 2.8, 20)],
)
def test_the_thumbs_base_is_carried_to_within_millimetres_over_a_second(data_folder, source, mean_mm, worst_mm):
    errors, unmoved = carry_errors(data_folder / f"hands/{source}/{source}.npz", seconds=1.0)
    assert len(errors) > 700
    assert errors.mean() < mean_mm
    assert errors.max() < worst_mm
    assert errors.mean() < unmoved.mean() / 20  # an unmoved joint


def carry_errors(path: Path, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors in mm of the carried thumb CMC and of an unmoved one, `seconds` later."""
    with np.load(path) as arrays:
        joints, cmc, valid, times, starts, measured = (
            arrays[key] for key in ("joints", "thumb_cmc", "valid", "timestamp", "seq_start", "cmc_measured")
        )
    thumb, others = MANO.joints.index("thumb_cmc"), [joint for joint in MANO.joints if joint != "thumb_cmc"]
    errors, unmoved = [], []
    for a, b in zip(starts[:-1][measured], starts[1:][measured], strict=True):
        for now in range(a, b, 10):
            then = now + int(np.searchsorted(times[now:b], times[now] + seconds - 1e-6))
            for hand in (0, 1):
                if then == b or not (valid[now, hand] and valid[then, hand]):
                    continue
                reference = np.empty((len(MANO.joints), 3))
                reference[MANO.indices(others)] = joints[now, hand][ASSEMBLY101.indices(others)]
                reference[thumb] = cmc[now, hand]
                carried = carry(reference, joints[then, hand].astype(np.float64), MANO)
                errors.append(np.linalg.norm(carried[thumb] - cmc[then, hand]))
                unmoved.append(np.linalg.norm(cmc[now, hand] - cmc[then, hand]))
    return np.array(errors), np.array(unmoved)
