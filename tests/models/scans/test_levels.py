"""Tests of the conversion of a scan to the tensors of its task: levels, neighbours, the second look, and invariance to rotation."""

from itertools import pairwise

import numpy as np
import pytest
from clouds import SMALL, bumpy_cloud

from models.contract.symmetry import random_rotation
from models.contract.task import check_inputs
from models.scans.cloud import Degenerate
from models.scans.levels import (
    APART_M,
    CONFIDENT,
    CONVINCING,
    DENSE,
    FEW_WINDOWS,
    REACH_M,
    WINDOW_M,
    levels,
    nose,
    windows,
)
from models.scans.looks import find
from models.scans.sampling import farthest_points, thinned


def test_the_tensors_fit_the_task():
    scan = bumpy_cloud(300) + 5
    result = levels(scan, SMALL)
    check_inputs(SMALL, result.tensors, "the network")
    assert np.abs(result.tensors["points"][0] + result.centroid - scan[result.sampled]).max() < 1e-7


def test_neighbours_are_the_nearest_points_of_a_level_and_parents_those_of_the_next():
    result = levels(bumpy_cloud(300), SMALL)
    points = result.tensors["points"][0].astype(float)
    begin = 0
    for size in SMALL.levels:
        distance = np.linalg.norm(points[:size, None] - points[None, :size], axis=2)
        np.fill_diagonal(distance, np.inf)
        expected = np.argsort(distance, axis=1)[:, : SMALL.neighbours]
        assert np.array_equal(result.tensors["neighbours"][0, begin : begin + size], expected)
        begin += size
    begin = 0
    for fine, coarse in pairwise(SMALL.levels):
        parents = result.tensors["parents"][0, begin : begin + fine]
        distance = np.linalg.norm(points[:fine, None] - points[None, :coarse], axis=2)
        assert np.array_equal(parents, np.argsort(distance, axis=1)[:, : SMALL.parents])
        assert np.array_equal(parents[:coarse, 0], np.arange(coarse))
        begin += fine


def test_a_rotated_and_translated_scan_has_the_same_indices():
    scan, turn = bumpy_cloud(300), random_rotation(np.random.default_rng(0))
    straight, turned = levels(scan, SMALL), levels(scan @ turn.T + [3, -7, 10], SMALL)
    for name in ("neighbours", "parents"):
        assert np.array_equal(turned.tensors[name], straight.tensors[name])
    assert np.abs(turned.tensors["points"] - straight.tensors["points"] @ turn.T).max() < 1e-7


def test_of_a_denser_scan_some_points_are_drawn_by_their_place_and_the_rest_has_no_effect():
    rng, turn = np.random.default_rng(0), random_rotation(np.random.default_rng(1))
    scan = bumpy_cloud(DENSE + 5000)
    drawn = thinned(len(scan), DENSE)
    result = levels(scan, SMALL)
    assert np.array_equal(result.sampled, drawn[farthest_points(scan[drawn], SMALL.levels[0])])
    turned = levels(scan @ turn.T + [3, -7, 10], SMALL)
    assert np.array_equal(turned.sampled, result.sampled)
    for name in ("neighbours", "parents"):
        assert np.array_equal(turned.tensors[name], result.tensors[name])
    others = np.setdiff1d(np.arange(len(scan)), drawn)
    scan[others] = rng.normal(size=(len(others), 3))
    assert np.array_equal(levels(scan, SMALL).sampled, result.sampled)
    assert np.array_equal(levels(scan[drawn], SMALL).tensors["points"], result.tensors["points"])


def test_a_scan_of_fewer_points_than_the_task_needs_is_refused():
    with pytest.raises(Degenerate, match="96"):
        levels(bumpy_cloud(50), SMALL)


# --- the search ---


def bust(seed: int = 0) -> np.ndarray:
    """Return a small cloud and, 0.4 m below it, one three times as wide."""
    return np.concatenate([bumpy_cloud(400, seed), 3 * bumpy_cloud(400, seed + 1) - [0.0, 0.4, 0.0]])


def network_peaking(at: np.ndarray, looks: list[dict[str, np.ndarray]]):
    """Return a network whose heatmaps peak at `at`, relative to the centroid; it appends its inputs to `looks`."""

    def run(tensors):
        looks.append(tensors)
        points = tensors["points"]
        near = np.exp(-np.square(points - at).sum(-1) / 0.001)
        heatmaps = np.repeat(near[:, None], 68, axis=1).astype(np.float32)
        landmarks = np.repeat(points[:, :1], 68, axis=1)
        return {"heatmaps": heatmaps, "landmarks": landmarks, "confidence": np.full((1, 68), 0.5, np.float32)}

    return run


def test_a_scan_that_is_mostly_a_face_is_sampled_once():
    scan, looks = bumpy_cloud(400), []
    result = find(scan, SMALL, network_peaking(np.zeros(3), looks))
    assert (result.looks, len(looks)) == (1, 1)
    assert result.heatmaps.shape == (68, SMALL.levels[0])
    assert np.array_equal(result.sampled, levels(scan, SMALL).sampled)


def test_a_scan_with_much_besides_the_face_is_sampled_again_around_the_nose():
    scan, looks = bust(), []
    result = find(scan, SMALL, network_peaking(-scan.mean(axis=0), looks))
    assert (result.looks, len(looks)) == (2, 2)
    middle = scan[nose(network_peaking(-scan.mean(axis=0), [])(looks[0]), levels(scan, SMALL))]
    assert np.linalg.norm(scan[result.sampled] - middle, axis=1).max() <= REACH_M
    assert np.allclose(result.landmarks, scan[result.sampled[0]], atol=1e-6)  # in the scan's frame


def test_a_scan_with_few_points_around_the_nose_is_not_sampled_again():
    scan = np.concatenate([bumpy_cloud(60), 3 * bumpy_cloud(400, 1) - [0.0, 0.4, 0.0]])
    assert find(scan, SMALL, network_peaking(-scan.mean(axis=0), [])).looks == 1


def test_both_looks_select_the_same_points_in_any_pose():
    scan, rng = bust(), np.random.default_rng(0)
    straight = find(scan, SMALL, network_peaking(-scan.mean(axis=0), []))
    for _ in range(5):
        turn, shift = random_rotation(rng), rng.uniform(-10, 10, 3)
        turned = scan @ turn.T + shift
        result = find(turned, SMALL, network_peaking(-scan.mean(axis=0) @ turn.T, []))
        assert np.array_equal(result.sampled, straight.sampled)
        assert np.abs(result.landmarks - (straight.landmarks @ turn.T + shift)).max() < 1e-6


def person(seed: int = 0) -> np.ndarray:
    """Return a cloud that is 2 m long and has a dense small cloud at its end."""
    rng = np.random.default_rng(seed)
    body = rng.uniform(-0.05, 0.05, (4000, 3)) + rng.uniform(0, 2, (4000, 1)) * np.array([0, 1, 0])
    return np.concatenate([bumpy_cloud(400, seed) + np.array([0, 2.1, 0]), body])


def network_confident_of(number: int, sizes: list[float]):
    """Return a network that is confident only in its call of this number; it appends the radius of each input to `sizes`."""

    def run(tensors):
        points = tensors["points"]
        sizes.append(float(np.linalg.norm(points[0], axis=1).max()))
        heatmaps = np.repeat(np.exp(points[..., 1] - points[..., 1].max())[:, None], 68, axis=1).astype(np.float32)
        confidence = np.full((1, 68), 0.9 if len(sizes) == number else 0.1, np.float32)
        return {"heatmaps": heatmaps, "landmarks": np.repeat(points[:, :1], 68, axis=1), "confidence": confidence}

    return run


def test_windows_of_a_large_scan_are_searched_until_the_network_is_confident():
    sizes: list[float] = []
    result = find(person(), SMALL, network_confident_of(6, sizes))
    assert result.looks == len(sizes) == 6
    assert sizes[0] > 1 > 2 * WINDOW_M > max(sizes[2:])
    assert result.confidence.mean() > CONVINCING


def test_the_first_answer_is_returned_if_the_network_is_confident_in_no_window():
    sizes: list[float] = []
    result = find(person(), SMALL, network_confident_of(0, sizes))
    assert result.looks == len(sizes) > FEW_WINDOWS
    assert result.confidence.mean() < CONFIDENT


@pytest.mark.parametrize(("scale", "searched"), [(1, False), (3, True), (30, False)], ids=["head", "person", "room"])
def test_only_a_scan_of_the_size_of_a_person_has_windows(scale: float, searched: bool):
    sample = bumpy_cloud(3000)
    sample = scale * sample[levels(sample, SMALL).sampled]
    middles = windows(sample)
    assert (len(middles) > 0) == searched
    if searched:
        distances = np.linalg.norm(sample[:, None] - middles[None], axis=2)
        assert distances.min(axis=1).max() <= APART_M


def test_the_same_windows_are_searched_in_any_pose():
    scan, rng = person(), np.random.default_rng(0)
    straight = find(scan, SMALL, network_confident_of(0, []))
    turn, shift = random_rotation(rng), rng.uniform(-10, 10, 3)
    turned = scan @ turn.T + shift
    run = network_confident_of(0, [])
    result = find(turned, SMALL, lambda tensors: run({**tensors, "points": tensors["points"] @ turn}))
    assert result.looks == straight.looks
    assert np.array_equal(result.sampled, straight.sampled)
