"""Tests of rendered point clouds."""

import numpy as np

from models.pictures.surfels import EDGE_ON, Frame, Surfels, surfels, view


def test_depth_matches_a_loop_over_discs_and_pixels():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    cloud = Surfels(rng.uniform(-1, 1, size=(30, 3)), normals, radius=0.3)
    frame = Frame((-1.2, -1.1), (1.2, 1.1), 0.04)
    expected = np.full(frame.shape, -np.inf)
    for point, normal in zip(cloud.points, normals * np.sign(normals[:, 2:]), strict=True):
        for row in range(frame.shape[0]):
            for column in range(frame.shape[1]):
                x = frame.low[0] + (column + 0.5) * frame.pixel - point[0]
                y = frame.high[1] - (row + 0.5) * frame.pixel - point[1]
                z = -(normal[0] * x + normal[1] * y) / max(normal[2], EDGE_ON)
                if x * x + y * y + z * z <= cloud.radius**2:
                    expected[row, column] = max(expected[row, column], point[2] + z)
    rendered = view(cloud, frame, np.zeros((30, 0)))
    middles = frame.place(cloud.points[:, :2])[:2]
    expected[middles] = rendered.depth[middles]  # even a small disc covers the pixel of its centre
    np.testing.assert_allclose(rendered.depth, expected, atol=1e-12)


def ball(points: int = 5000) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(points, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_a_rendered_ball_has_outward_normals_no_holes_and_a_hidden_back():
    cloud = surfels(ball())
    assert np.abs(np.einsum("ij,ij->i", cloud.normals, cloud.points)).min() > 0.95
    frame = Frame((-1.1, -1.1), (1.1, 1.1), 0.01)
    rendered = view(cloud, frame, np.ones((5000, 1)))
    x, y = np.meshgrid(np.linspace(-1.095, 1.095, 220), np.linspace(1.095, -1.095, 220))
    inside = x * x + y * y < 0.95**2
    np.testing.assert_allclose(rendered.depth[inside], np.sqrt(np.maximum(1 - x * x - y * y, 0))[inside], atol=0.05)
    assert not np.isfinite(rendered.depth[x * x + y * y > 1.07**2]).any()
    np.testing.assert_allclose(rendered.values[inside], 1)
    middle = np.abs(cloud.points[:, 2]) > 0.3
    np.testing.assert_array_equal(rendered.hidden(cloud.points, 0.2)[middle], cloud.points[middle, 2] < 0)


def test_points_outside_the_frame_are_not_hidden():
    rendered = view(surfels(ball()), Frame((-0.5, -0.5), (0.5, 0.5), 0.01), np.zeros((5000, 0)))
    assert not rendered.hidden(np.array([[0.9, 0.0, -5.0], [0.0, -3.0, -5.0]]), 0.1).any()
