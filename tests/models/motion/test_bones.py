"""Tests of bones of forecast hands and lifted bodies: lengths and directions are kept, and the result commutes with symmetries."""

import numpy as np
from hand_motion import moving_hands

from models.motion.bones import bone_lengths, keep_bones, last_lengths, scaled_body, steady_body
from models.motion.plausible_bodies import stature
from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES
from models.skeletons.hand import ASSEMBLY101

TIP, DIP, PIP = (ASSEMBLY101.joints.index(f"index_{part}") for part in ("tip", "dip", "pip"))


def stretched(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return hands (8, 2, 21, 3) whose bones are too short or too long, and the lengths that they should have."""
    hands = moving_hands(8, hands=2).reshape(8, 2, 21, 3)
    lengths = bone_lengths(hands[0])
    return hands + np.random.default_rng(seed).normal(scale=0.004, size=hands.shape), lengths


def test_bones_get_their_lengths_and_keep_their_directions_and_the_wrist_stays():
    hands, lengths = stretched()
    kept = keep_bones(hands, lengths)
    np.testing.assert_allclose(bone_lengths(kept), np.broadcast_to(lengths, (8, 2, 20)), rtol=1e-9)
    assert np.abs(bone_lengths(hands) / lengths - 1).max() > 0.1
    for near, far in ASSEMBLY101.bones:
        before, after = (x[..., far, :] - x[..., near, :] for x in (hands, kept))
        cosine = (before * after).sum(-1) / np.linalg.norm(before, axis=-1) / np.linalg.norm(after, axis=-1)
        np.testing.assert_allclose(cosine, 1)
    wrist = ASSEMBLY101.joints.index("wrist")
    np.testing.assert_array_equal(kept[..., wrist, :], hands[..., wrist, :])


def test_hands_with_the_right_lengths_are_unchanged():
    hands, _ = stretched()
    np.testing.assert_allclose(keep_bones(hands, bone_lengths(hands)), hands, atol=1e-12)


def test_a_moved_hand_keeps_its_bones_as_the_hand_does():
    hands, lengths = stretched()
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    moved = keep_bones(hands @ turn.T + [1.0, 2.0, 3.0], lengths)
    np.testing.assert_allclose(moved, keep_bones(hands, lengths) @ turn.T + [1.0, 2.0, 3.0], atol=1e-12)


def test_a_joint_that_is_nan_or_has_no_direction_moves_along():
    hands, lengths = stretched()
    hands[:, 0, PIP] = np.nan
    hands[:, 1, TIP] = hands[:, 1, DIP]
    kept = keep_bones(hands, lengths)
    assert np.isnan(kept[:, 0, PIP]).all()
    assert np.isfinite(np.delete(kept[:, 0], PIP, axis=1)).all()
    np.testing.assert_allclose(
        bone_lengths(kept)[:, 0, ASSEMBLY101.bones.index((DIP, TIP))], lengths[0, ASSEMBLY101.bones.index((DIP, TIP))]
    )
    np.testing.assert_array_equal(kept[:, 1, TIP], kept[:, 1, DIP])


def test_the_last_length_of_a_bone_is_that_of_the_last_pose_that_shows_it():
    past = np.stack([stretched(seed)[0][0] for seed in range(5)])
    seen = np.ones(past.shape[:3], bool)
    seen[3:, 0, TIP] = False
    seen[:, 1, PIP] = False
    expected = bone_lengths(past)[-1]
    expected[0, ASSEMBLY101.bones.index((DIP, TIP))] = bone_lengths(past)[2, 0, ASSEMBLY101.bones.index((DIP, TIP))]
    expected[1, [bone for bone, ends in enumerate(ASSEMBLY101.bones) if PIP in ends]] = np.nan
    np.testing.assert_array_equal(last_lengths(past, seen), expected)
    np.testing.assert_array_equal(last_lengths(past, None), bone_lengths(past)[-1])


def test_a_steady_body_has_the_median_lengths_of_its_clip_and_commutes_with_the_mirror():
    order = BODIES["h36m-17"]
    poses = np.random.default_rng(0).normal(size=(9, 17, 3))
    near, far = (list(ends) for ends in zip(*order.bones, strict=True))
    steady = steady_body(poses, order)
    lengths = np.linalg.norm(steady[:, far] - steady[:, near], axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-9
    median = np.median(np.linalg.norm(poses[:, far] - poses[:, near], axis=-1), axis=0)
    both = [(order.mirror[a], order.mirror[b]) for a, b in order.bones]
    expected = (median + median[[order.bones.index(bone) for bone in both]]) / 2
    np.testing.assert_allclose(lengths[0], expected)
    np.testing.assert_array_equal(steady[:, 0], poses[:, 0])
    np.testing.assert_allclose(mirrored(steady_body(mirrored(poses, order), order), order), steady, atol=1e-9)


def test_a_scaled_body_has_the_height_and_the_shape():
    order = BODIES["h36m-17"]
    poses = np.random.default_rng(1).normal(size=(9, 17, 3))
    scaled = scaled_body(poses, order, 1.8)
    assert abs((stature(scaled, order) or 0) - 1.8) < 1e-9
    np.testing.assert_allclose(np.ptp(scaled / poses), 0, atol=1e-9)
