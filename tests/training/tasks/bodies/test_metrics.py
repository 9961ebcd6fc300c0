"""Tests of errors of poses and classes: they equal reference implementations, and ignore the right transforms."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from training.tasks.bodies.metrics import (
    mpjpe_mm,
    mpjve_mm,
    n_mpjpe_mm,
    p_mpjpe_mm,
    pck,
    pck_legacy_pairing,
    top_k,
)


def some_poses(seed: int = 0, frames: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(frames, 17, 3))
    return (true + 0.1 * rng.normal(size=true.shape)).astype(np.float32), true.astype(np.float32)


def test_mpjpe_is_the_mean_distance_in_millimetres():
    true = np.zeros((2, 3, 3), np.float32)
    poses = true.copy()
    poses[0, 0] = [0.003, 0.004, 0]
    poses[1] = [0, 0, 0.01]
    np.testing.assert_allclose(mpjpe_mm(poses, true), [5 / 3, 10], rtol=1e-5)


def test_aligned_errors_ignore_the_transforms_that_they_align_and_no_others():
    poses, true = some_poses()
    turned = 1.7 * poses @ Rotation.random(rng=np.random.default_rng(0)).as_matrix().T.astype(np.float32) + np.float32(
        3
    )
    np.testing.assert_allclose(p_mpjpe_mm(turned.astype(np.float32), true), p_mpjpe_mm(poses, true), rtol=1e-4)
    np.testing.assert_allclose(n_mpjpe_mm(1.7 * poses, true), n_mpjpe_mm(poses, true), rtol=1e-5)
    assert (p_mpjpe_mm(poses, true) <= n_mpjpe_mm(poses, true) + 1e-3).all()
    assert (n_mpjpe_mm(turned.astype(np.float32), true) > 2 * n_mpjpe_mm(poses, true)).all()
    assert (mpjpe_mm(1.7 * poses, true) > 2 * mpjpe_mm(poses, true)).all()


def test_alignment_does_not_mirror_a_pose():
    _, true = some_poses()
    assert p_mpjpe_mm(true, true).max() < 1e-3
    assert (p_mpjpe_mm(true * np.array([-1, 1, 1], np.float32), true) > 300).all()


def test_the_alignment_equals_that_of_scipy():
    poses, true = some_poses(frames=4)
    poses = poses @ Rotation.random(rng=np.random.default_rng(1)).as_matrix().T.astype(np.float32)
    poses[0] *= [-1, 1, 1]  # a mirrored pose still gets the best proper rotation
    for pose, target, error in zip(poses, true, p_mpjpe_mm(poses, true), strict=True):
        a, b = pose - pose.mean(axis=0), target - target.mean(axis=0)
        rotation = Rotation.align_vectors(b, a)[0]
        moved = rotation.apply(a)
        scale = (moved * b).sum() / (a * a).sum()
        assert error == pytest.approx(1000 * np.linalg.norm(scale * moved - b, axis=-1).mean(), rel=1e-4)


def test_an_unknown_joint_does_not_count():
    poses, true = some_poses()
    known = np.delete(np.arange(17), 5)
    unknown = true.copy()
    unknown[:, 5] = np.nan
    for error in (mpjpe_mm, n_mpjpe_mm, p_mpjpe_mm, mpjve_mm):
        np.testing.assert_allclose(error(poses, unknown), error(poses[:, known], true[:, known]), rtol=1e-4)


def test_the_velocity_error_ignores_a_constant_offset():
    poses, true = some_poses()
    np.testing.assert_allclose(mpjve_mm(true + np.float32(0.5), true), 0, atol=1e-3)
    steps = [
        np.linalg.norm((b - a) - (d - c), axis=-1).mean()
        for a, b, c, d in zip(poses, poses[1:], true, true[1:], strict=False)
    ]
    np.testing.assert_allclose(mpjve_mm(poses, true), 1000 * np.array(steps), rtol=1e-4)


def test_pck_counts_the_visible_joints_of_each_step():
    true = np.zeros((2, 3, 13, 2))
    poses = true.copy()
    poses[0, 0, :5, 0] = 0.11
    poses[1, 1, :, 1] = 0.09
    poses[:, 2] = 0.08  # 0.113 away
    seen = np.ones((2, 3, 13), bool)
    np.testing.assert_allclose(pck(poses, true, seen), [21 / 26, 1, 0])
    seen[0, 0, :4] = False
    np.testing.assert_allclose(pck(poses, true, seen)[0], 21 / 22)
    seen[:, 2] = False
    assert np.isnan(pck(poses, true, seen)[2])


def test_a_joint_at_exactly_the_limit_is_within_it():
    true = np.zeros((1, 1, 13, 2), np.float32)
    poses = true.copy()
    poses[..., 0] = 0.1
    poses[0, 0, 0, 0] = np.nextafter(np.float32(0.1), np.float32(1))
    np.testing.assert_allclose(pck(poses, true, np.ones((1, 1, 13), bool)), [12 / 13])


def test_the_legacy_pairing_equals_its_loop_and_differs_from_pck():
    rng = np.random.default_rng(0)
    true, poses = rng.normal(size=(2, 5, 4, 13, 2)) * 0.1
    seen = rng.random((5, 4, 13)) < 0.8
    hits = np.zeros(4)
    for sample in range(5):
        for step in range(4):
            wrong = np.concatenate(
                [poses[sample, step, :, i] - true[sample, step, :, i] for i in (0, 1)]
            )  # x0 ... x12, y0 ... y12
            for k in range(13):
                hits[step] += seen[sample, step, k] and np.hypot(wrong[2 * k], wrong[2 * k + 1]) < 0.1
    np.testing.assert_allclose(pck_legacy_pairing(poses, true, seen), hits / seen.sum(axis=(0, 2)))
    assert np.abs(pck_legacy_pairing(poses, true, seen) - pck(poses, true, seen)).max() > 0.01


def test_top_k_is_the_share_of_clips_with_their_class_among_the_best_and_a_tie_is_a_miss():
    scores = np.array([[3.0, 2, 1], [1, 2, 3], [2, 2, 1], [0, 0, 0]])
    labels = np.array([0, 0, 1, 2])
    assert top_k(scores, labels) == 0.25
    assert top_k(scores, labels, 2) == 0.5
    assert top_k(scores, labels, 3) == 1
