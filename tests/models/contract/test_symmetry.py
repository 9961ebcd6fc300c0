"""Tests of group actions and of the measurement of violations, including functions that break a symmetry."""

import numpy as np
import pytest

from models.contract.symmetry import (
    SYMMETRIES,
    acted_on,
    mirror_swap,
    random_rotation,
    rotation,
    translation,
    violation,
)
from models.skeletons.hand import HAND_PAIR

POINTS = np.random.default_rng(0).normal(size=(2, 5, 42, 3))


def distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1)


def test_rotations_are_proper():
    for seed in range(20):
        matrix = random_rotation(np.random.default_rng(seed))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)


def test_rotations_are_uniform_over_all_directions():
    rng = np.random.default_rng(0)
    turned = np.array([random_rotation(rng) @ [0, 0, 1] for _ in range(4000)])
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(turned.T @ turned / len(turned), np.eye(3) / 3, atol=0.03)


def test_a_rotation_keeps_the_origin_and_all_distances():
    act = rotation(np.random.default_rng(1))
    np.testing.assert_allclose(distances(act(POINTS)), distances(POINTS), atol=1e-12)
    assert (act(np.zeros((1, 3))) == 0).all()
    assert not np.allclose(act(POINTS), POINTS)


def test_a_translation_moves_all_points_equally_by_up_to_ten_metres():
    moves = [translation(np.random.default_rng(seed))(POINTS) - POINTS for seed in range(200)]
    assert all(np.ptp(move.reshape(-1, 3), axis=0).max() < 1e-12 for move in moves)
    reach = np.abs([move.reshape(-1, 3)[0] for move in moves]).max()
    assert 9 < reach <= 10


def test_mirror_swap_reflects_points_and_exchanges_two_hands():
    pair, single = POINTS, POINTS[:, :, :21]
    seed = 3
    mirrored, alone = (mirror_swap(np.random.default_rng(seed))(points) for points in (pair, single))
    np.testing.assert_allclose(alone, mirrored[:, :, 21:])  # the left hand has become the right one
    np.testing.assert_allclose(distances(mirrored), distances(pair[:, :, list(HAND_PAIR.mirror)]), atol=1e-12)
    matrix = np.linalg.lstsq(single.reshape(-1, 3), alone.reshape(-1, 3))[0]
    assert np.linalg.det(matrix) == pytest.approx(-1)


def test_mirroring_twice_is_the_identity():
    act = mirror_swap(np.random.default_rng(0))
    np.testing.assert_allclose(act(act(POINTS)), POINTS, atol=1e-12)


@pytest.mark.parametrize("nodes", [21, 42])
def test_numbers_of_nodes_change_places_with_the_hands_and_stay_otherwise(nodes: int):
    numbers = np.arange(3 * nodes, dtype=np.float32).reshape(3, nodes)
    for symmetry in SYMMETRIES:
        image = acted_on(numbers, SYMMETRIES[symmetry](np.random.default_rng(0)), symmetry, "nodes")
        exchanged = symmetry == "mirror-swap" and nodes == 42
        assert np.array_equal(image, np.roll(numbers, 21, axis=1) if exchanged else numbers), symmetry


def test_a_function_whose_numbers_of_nodes_depend_on_the_side_breaks_the_mirror_swap():
    def first_hand_only(inputs):
        return {"std": inputs["seen"] * (np.arange(42) < 21)}

    seen = {"seen": np.random.default_rng(0).random((2, 42))}
    assert violation(first_hand_only, "mirror-swap", seen, moves={"seen": "nodes", "std": "nodes"}) > 0.1
    assert violation(lambda inputs: inputs, "mirror-swap", seen, moves={"seen": "nodes"}) == 0


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_an_action_keeps_single_precision_and_does_not_change_its_input(symmetry: str):
    points = POINTS.astype(np.float32)
    acted = SYMMETRIES[symmetry](np.random.default_rng(0))(points)
    assert acted.dtype == np.float32
    assert np.array_equal(points, POINTS.astype(np.float32))


def test_a_violation_is_the_size_of_the_difference():
    def constant(inputs):
        return {"future": inputs["past"] * 0}

    reach = violation(constant, "translation", {"past": POINTS}, trials=50)
    assert 9 < reach <= 10
    assert violation(lambda inputs: {"future": inputs["past"]}, "translation", {"past": POINTS}) == 0


def test_a_violation_in_any_output_counts():
    def two(inputs):
        return {"good": inputs["past"], "bad": inputs["past"] ** 2}

    assert violation(two, "rotation", {"past": POINTS}) > 0.1


def test_one_nan_is_a_violation():
    def sometimes(inputs):
        answer = inputs["past"].copy()
        answer[0, 0, 0, 0] = np.nan
        return {"future": answer}

    assert np.isnan(violation(sometimes, "rotation", {"past": POINTS}))


def test_an_unknown_symmetry_is_refused():
    with pytest.raises(KeyError, match="scale"):
        violation(lambda inputs: inputs, "scale", {"past": POINTS})


def test_rounding_of_moved_points_is_no_violation_of_a_function_that_multiplies_it():
    past = (0.01 * POINTS).astype(np.float32)

    def later(inputs):
        x = inputs["past"]
        return {"future": x[:, -1:] + 60 * (x[:, -1:] - x[:, -2:-1])}

    assert violation(later, "translation", {"past": past}) < 2e-6
    act = translation(np.random.default_rng(0))
    rounded = later({"past": act(past)})["future"] - act(later({"past": past})["future"])
    assert np.abs(rounded).max() > 1e-5


def test_rounding_inside_a_function_is_a_violation():
    def coarse(inputs):
        return {"future": inputs["past"].astype(np.float16).astype(np.float32)}

    assert violation(coarse, "translation", {"past": POINTS.astype(np.float32)}) > 1e-4
