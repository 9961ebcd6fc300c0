"""Tests of depth maps and of the camera that sees a face: laws, hidden and stray points, and refusals."""

import numpy as np
import pytest

from models.contract.face_map import FaceMap
from models.contract.symmetry import OnMap, quarter_turn, random_rotation
from models.scans.cloud import Degenerate
from models.scans.depth import Camera, camera_axes, depth_map, towards_camera, without_strays

TASK = FaceMap(size=33)
FIELD = OnMap(form="fields")
AHEAD = np.array([0.1, -0.2, 0.97])


def dome(points: int = 4000, seed: int = 0) -> np.ndarray:
    """Return a bulge of the size of a face towards +z, with a nose that is off its middle, in metres."""
    rng = np.random.default_rng(seed)
    x, y = 0.08 * rng.uniform(-1, 1, (2, points))
    inside = (x / 0.065) ** 2 + (y / 0.08) ** 2 < 1
    x, y = x[inside], y[inside]
    z = 0.09 * np.sqrt(1.2 - (x / 0.065) ** 2 - (y / 0.08) ** 2) + 0.03 * np.exp(-((x - 0.01) ** 2 + y**2) / 2e-4)
    return np.column_stack([x, y, z])


def map_of(points: np.ndarray, ahead: np.ndarray = AHEAD) -> dict[str, np.ndarray]:
    return depth_map(points, Camera(points.mean(axis=0), camera_axes(ahead)), TASK).tensors


def test_a_map_has_the_depths_of_the_surface():
    points = dome(20_000)
    shown = depth_map(points, Camera(np.zeros(3), np.eye(3)), TASK)
    seen = shown.tensors["seen"][0] > 0.9
    assert 0.5 < seen.mean() < 0.9
    at = np.rint(points / TASK.pitch_m).astype(int) + TASK.size // 2
    inside = (at[:, :2] >= 2).all(axis=1) & (at[:, :2] < TASK.size - 2).all(axis=1)
    error = np.abs(shown.tensors["depth"][0][at[inside, 1], at[inside, 0]] - points[inside, 2])
    assert np.median(error) < 0.002  # a pixel is 4.5 mm wide, and the surface is steep
    np.testing.assert_allclose(shown.tensors["depth"].max(), points[:, 2].max(), atol=0.004)


def test_a_quarter_turn_or_a_mirror_image_of_a_scan_turns_or_mirrors_its_map_exactly():
    points = dome()
    straight = map_of(points)
    for act in (quarter_turn(np.random.default_rng(0)), lambda x: x * [-1, 1, 1], lambda x: x * [-1, -1, 1]):
        turned = map_of(act(points), act(AHEAD))
        for name, tensor in straight.items():
            np.testing.assert_allclose(turned[name], FIELD.of(tensor, act), atol=1e-7)


def test_a_moved_scan_has_the_same_map_and_a_rolled_one_another():
    points = dome()
    straight, moved = map_of(points), map_of(points + np.array([3.0, -1.0, 2.0]))
    np.testing.assert_allclose(moved["depth"], straight["depth"], atol=1e-7)
    c, s = np.cos(0.4), np.sin(0.4)
    rolled = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert np.abs(map_of(points @ rolled.T, rolled @ AHEAD)["depth"] - straight["depth"]).max() > 1e-3


def test_axes_are_a_rotation_that_looks_ahead_for_every_direction():
    rng = np.random.default_rng(0)
    for ahead in (*rng.normal(size=(50, 3)), *np.eye(3), *-np.eye(3)):
        axes = camera_axes(ahead)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)
        np.testing.assert_allclose(axes[2], ahead / np.linalg.norm(ahead), atol=1e-12)


def test_points_behind_the_front_are_hidden():
    front = dome(8000)
    both = np.concatenate([front, front - [0, 0, 0.06]])
    camera = Camera(front.mean(axis=0), np.eye(3))
    shown = depth_map(both, camera, TASK)
    assert (shown.visible < len(front)).mean() > 0.97  # the edge of what is behind is seen beside the front
    middle = np.s_[0, 12:21, 12:21]
    alone = depth_map(front, camera, TASK).tensors["depth"]
    np.testing.assert_allclose(shown.tensors["depth"][middle], alone[middle], atol=1e-3)


def test_stray_points_are_found_and_points_of_the_surface_are_not():
    rng = np.random.default_rng(0)
    points = np.concatenate([dome(), rng.uniform(-0.2, 0.2, (30, 3)) + np.array([0, 0, 0.4])])
    kept = without_strays(points)
    assert not kept[-30:].any()
    assert kept[:-30].mean() > 0.99


def test_a_scan_bulges_towards_the_camera_in_any_pose():
    points, rng = dome(), np.random.default_rng(0)
    for _ in range(5):
        turn = random_rotation(rng)
        directions, bulge = towards_camera(points @ turn.T)
        assert np.degrees(np.arccos(directions[0] @ turn[:, 2])) < 5
        assert bulge > 0.4
        np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-9)
    assert towards_camera(rng.normal(size=(4000, 3)))[1] < 0.2  # a ball bulges to no side


def test_a_camera_that_sees_next_to_nothing_is_refused():
    with pytest.raises(Degenerate, match="at least 200 points"):
        depth_map(dome(), Camera(np.array([1.0, 0, 0]), np.eye(3)), TASK)
