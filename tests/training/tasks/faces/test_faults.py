"""Tests of the faults of cheap scanners, on planes, where what each of them does is known."""

import numpy as np

from training.tasks.faces.data import KINDS, FaceData
from training.tasks.faces.faults import FARTHEST_M, flown, in_steps, seamed, smoothed
from training.tasks.faces.runs.se3unet import TASK
from training.tasks.faces.scanner import CLEAN, HALF, VARIED, WIDE, Mix


def plane(count: int = 4000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.1, 0.1, (count, 3)) * [1, 1, 0]


def test_depth_comes_in_steps_of_one_length():
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (500, 3))
    coarse = in_steps(points, 0.004, np.random.default_rng(1))
    assert np.array_equal(coarse[:, :2], points[:, :2])
    depths = np.unique(coarse[:, 2].round(9))
    step = np.diff(depths).min()
    assert 0.0008 <= step <= 0.004
    assert np.abs(depths / step - (depths / step).round()).max() < 1e-4
    assert np.abs(coarse - points).max() <= step / 2 + 1e-9


def test_pixels_fly_at_edges_only_and_away_from_the_camera():
    points = plane()
    cells = (points[:, 0] > 0).astype(int) + 2 * (points[:, 1] > 0)
    nearest = np.array([0.0, -0.2, 0.0, 0.0])  # what is beside cell 0 is 20 cm behind
    moved = flown(points, cells, nearest, 1.0, np.random.default_rng(3))
    back = points[:, 2] - moved[:, 2]
    assert (back[cells != 0] == 0).all()
    assert 0 < (back[cells == 0] > 0).mean() < 1
    assert back.min() == 0
    assert back.max() <= FARTHEST_M
    level = flown(points, cells, np.zeros(4), 1.0, np.random.default_rng(3))
    assert np.array_equal(level, points), "expected nothing to fly without an edge"


def test_smoothing_keeps_a_plane_and_lowers_a_spike():
    points = plane()
    points[0] = [0, 0, 0.05]
    level = smoothed(points, 12, np.random.default_rng(0))
    assert level.shape == points.shape
    assert 0 < level[0, 2] < 0.026
    assert np.abs(level[:, 2])[1:].max() < 0.026
    assert smoothed(points[:3], 12, np.random.default_rng(0)).shape == (3, 3)


def test_a_seam_moves_one_part_as_a_whole():
    points = plane()
    for seed in range(5):
        moved = seamed(points, np.zeros(3), 0.002, np.random.default_rng(seed))
        assert len(points) * 0.9 < len(moved) <= len(points)
        depths = np.unique(moved[:, 2].round(12))
        assert len(depths) == 2, "expected one part to stay, and one shift for the other"
        assert depths[0] == 0 or depths[1] == 0
        assert np.abs(depths).max() <= 0.002


def test_a_mix_draws_its_scanners_by_their_shares():
    mix = Mix(((1.0, CLEAN), (3.0, VARIED)))
    drawn = [mix.drawn(np.random.default_rng(seed)) for seed in range(2000)]
    assert set(drawn) == {CLEAN, VARIED}
    assert abs(np.mean([one is VARIED for one in drawn]) - 0.75) < 0.05
    assert any(scanner.half for _, scanner in WIDE.parts)
    assert HALF not in [scanner for _, scanner in WIDE.parts], (
        "expected training scans to differ from those that are measured"
    )


def test_every_kind_of_scan_is_validated_and_a_batch_repeats(data_folder):
    data = FaceData(TASK, scanner=WIDE, batch=4, validation=2, kinds=tuple(KINDS))
    batches = data.load(data_folder)
    assert [kind for kind, _ in batches.validation_batches()] == list(KINDS)
    (first, true), (again, _), (other, _) = (batches.training_batch(0, step) for step in (5, 5, 6))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["points"], other["points"])
    assert np.isfinite(true).all()
