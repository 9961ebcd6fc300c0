"""Tests of virtual cameras and of a detector's errors: views equal a pinhole camera's, and shares and sizes are what was asked for."""

from dataclasses import replace

import numpy as np
import pytest

from models.skeletons.body_orders import BODIES
from training.tasks.bodies.readers.cameras import Camera, project, to_camera
from training.tasks.bodies.virtual_cameras import DetectorNoise, VirtualCameras, looking_at, sizes_of, with_other_bones

H36M = BODIES["h36m-17"]
ALL_SEEN = VirtualCameras(distance_m=(4.0, 4.0), cut=0.0)


def people(count: int) -> np.ndarray:
    """Return still people of random joints around random places."""
    rng = np.random.default_rng(1)
    return (rng.normal(size=(count, 1, 17, 3)) * 0.4 + rng.normal(size=(count, 1, 1, 3))).repeat(5, axis=1).astype("f4")


def test_a_camera_looks_from_its_direction_and_a_point_is_off_its_axis_by_the_aim():
    above, front = looking_at(np.array([90.0, 0.0]), np.array([90.0, 0.0]))
    np.testing.assert_allclose(above[2], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(front, [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-12)
    (aimed,) = looking_at(np.zeros(1), np.zeros(1), np.array([[10.0], [0.0]]))
    np.testing.assert_allclose(aimed @ [0, 0, -1], [np.sin(np.pi / 18), 0, np.cos(np.pi / 18)], atol=1e-12)
    azimuth, elevation = np.random.default_rng(0).uniform(-80, 80, (2, 50))
    rotations = looking_at(azimuth, elevation, np.full((2, 50), 7.0), np.full(50, 9.0))
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-12)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3)[None].repeat(50, 0), atol=1e-12)


def test_a_view_equals_that_of_a_pinhole_camera_at_the_same_place():
    """The camera's place is found again from the poses in its axes, by which everything is known but the focal length."""
    points = people(20)
    keypoints, poses = ALL_SEEN.views(points, H36M, np.random.default_rng(0))
    assert (keypoints[..., 2] == 1).all()
    assert (poses[:, :, 0] == 0).all()
    for world, seen, pose in zip(points[:, 2], keypoints[:, 2], poses[:, 2], strict=True):
        relative = (world - world[0]).astype(np.float64)
        R = np.linalg.lstsq(relative, pose.astype(np.float64))[0].T
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-5)
        ways = {f: seen[0, :2] / f for f in np.linspace(0.9, 4, 3000)}  # the pelvis is 4 m away
        errors = {}
        for f, way in ways.items():
            pelvis = 4 * np.array([*way, 1]) / np.linalg.norm([*way, 1])
            camera = Camera("", R, world[0] - R.T @ pelvis, (2, 2), (f, f), (0, 0))
            errors[f] = np.abs(project(to_camera(world.astype(np.float64), camera), camera) - seen[:, :2]).max()
        assert min(errors.values()) < 2e-3


def test_a_longer_lens_changes_the_size_in_the_picture_and_nothing_else():
    points, lens = people(30), replace(ALL_SEEN, middle=1.0, off_middle=0.0)
    views = [replace(lens, lens=(f, f)).views(points, H36M, np.random.default_rng(0)) for f in (1.0, 3.0)]
    np.testing.assert_allclose(views[1][0][..., :2], 3 * views[0][0][..., :2], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(views[0][1], views[1][1])


def test_what_is_behind_the_camera_or_outside_a_cut_picture_is_missing():
    points = people(200)
    near = VirtualCameras(distance_m=(0.3, 0.3), cut=0.0).views(points, H36M, np.random.default_rng(0))[0]
    cut = replace(ALL_SEEN, lens=(4.0, 4.0), cut=1.0).views(points, H36M, np.random.default_rng(0))[0]
    for keypoints in (near, cut):
        missing = keypoints[..., 2] == 0
        assert 0.02 < missing.mean() < 0.9
        assert (keypoints[missing] == 0).all()
    assert (np.abs(cut[..., 0]) <= 1).all()


def test_bones_get_longer_by_their_factor_on_both_sides_and_keep_their_directions():
    points = people(3)
    factors = np.exp(0.1 * np.random.default_rng(0).normal(size=(3, len(H36M.bones))))
    changed = with_other_bones(points, H36M, factors)
    ratios = {}
    for i, (near, far) in enumerate(H36M.bones):
        before, after = points[:, :, far] - points[:, :, near], changed[:, :, far] - changed[:, :, near]
        ratios[near, far] = np.linalg.norm(after, axis=-1) / np.linalg.norm(before, axis=-1)
        np.testing.assert_allclose(after, ratios[near, far][..., None] * before, atol=1e-5)
        if H36M.mirror[far] == far:
            np.testing.assert_allclose(ratios[near, far][:, 0], factors[:, i], rtol=1e-4)
    for near, far in H36M.bones:
        np.testing.assert_allclose(ratios[near, far], ratios[H36M.mirror[near], H36M.mirror[far]], rtol=1e-4)


@pytest.mark.parametrize("frames", [5, 27, 300])
def test_errors_of_a_detector_have_the_size_that_was_asked_for(frames: int):
    clean = np.ones((200, frames, 17, 3), dtype=np.float32)
    clean[..., :2] = np.random.default_rng(0).normal(size=(1, 1, 17, 2))
    seen = clean.copy()
    DetectorNoise(level=0.1, clean=0.4, gone=0.0, astray=0.0).disturb(seen, np.random.default_rng(1))
    offsets = (seen - clean)[..., :2] / sizes_of(clean)
    untouched = (offsets == 0).all(axis=(1, 2, 3))
    assert untouched.mean() == pytest.approx(0.4, abs=0.1)
    # the mean square of a level even in 0 to 0.1 is 0.1 ^ 2 / 3, and that of a factor exp(normal / 2) is exp(1 / 2)
    assert (offsets[~untouched] ** 2).mean() == pytest.approx(0.1**2 / 3 * np.exp(0.5), rel=0.3)


@pytest.mark.parametrize("frames", [9, 27, 200])
def test_the_share_of_missing_keypoints_is_that_asked_for_and_they_are_missing_for_runs_of_frames(frames: int):
    keypoints = np.ones((300, frames, 17, 3), dtype=np.float32)
    DetectorNoise(level=0.0, clean=0.0, gone=0.04, astray=0.0).disturb(keypoints, np.random.default_rng(0))
    missing = keypoints[..., 2] == 0
    assert (keypoints[missing] == 0).all()
    assert missing.mean() == pytest.approx(0.04, rel=0.15)
    assert (missing[:, 1:] & missing[:, :-1]).sum() > 0.7 * missing.sum() * (frames - 1) / frames
    already = np.zeros((4, frames, 17, 3), dtype=np.float32)
    DetectorNoise().disturb(already, np.random.default_rng(0))
    assert (already == 0).all()
