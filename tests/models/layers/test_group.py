"""Tests of groups of the plane: axioms, homomorphisms, and the left-regular representations of images and of feature maps."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch

from models.layers.group import (
    C,
    D,
    Group,
    Planar,
    Scale,
    SemiDirect,
    act_on_features,
    act_on_image,
    moved,
    sided,
    trivial,
    vectors,
)

PLANAR = {f"C{n}": C(n) for n in (1, 2, 3, 4, 8, 12)} | {f"D{n}": D(n) for n in (1, 2, 3, 4, 6)}
GROUPS: dict[str, Group] = {**PLANAR, "scales": Scale(5, math.sqrt(2))}
EXACT = {name: group for name, group in PLANAR.items() if group.permutes_pixels}
MIRROR = (1, 0, 2)

every_group = pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
every_planar = pytest.mark.parametrize("group", PLANAR.values(), ids=PLANAR)
every_exact = pytest.mark.parametrize("group", EXACT.values(), ids=EXACT)


def elements(group: Group) -> range:
    """Return elements to try: of scales also those that no feature map stores."""
    return range(-4, 5) if isinstance(group, Scale) else group.elements


def some(group: Group, count: int, tries: int = 40) -> Iterator[tuple[int, ...]]:
    """Yield all tuples of `count` elements, or `tries` random ones if they are more."""
    every = list(product(elements(group), repeat=count))
    chosen = range(len(every)) if len(every) <= tries else np.random.default_rng(0).choice(len(every), tries, False)
    yield from (every[i] for i in chosen)


# --- axioms ---


@every_group
def test_products_are_associative(group: Group):
    for g, h, k in product(elements(group), repeat=3):
        assert group.product(group.product(g, h), k) == group.product(g, group.product(h, k))


@every_group
def test_zero_is_the_identity_and_every_element_has_an_inverse(group: Group):
    for g in elements(group):
        assert group.product(0, g) == group.product(g, 0) == g
        assert group.product(g, group.inverse(g)) == group.product(group.inverse(g), g) == 0


@every_planar
def test_products_of_a_finite_group_belong_to_it(group: Planar):
    table = {(g, h): group.product(g, h) for g, h in product(group.elements, repeat=2)}
    assert set(table.values()) == set(group.elements)
    assert all(len({table[g, h] for h in group.elements}) == len(group.elements) for g in group.elements)


def test_mirrors_make_a_group_that_does_not_commute_from_three_turns_on():
    def commutes(group: Planar) -> bool:
        return all(group.product(g, h) == group.product(h, g) for g, h in product(group.elements, repeat=2))

    assert [commutes(D(n)) for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert commutes(C(8))


# --- matrices ---


def furthest_from_homomorphism(group: Group) -> float:
    """Return the largest difference between the matrix of a product and the product of the matrices."""
    return max(
        float(np.abs(group.matrix(group.product(g, h)) - group.matrix(g) @ group.matrix(h)).max())
        for g, h in product(elements(group), repeat=2)
    )


@every_group
def test_the_matrix_of_a_product_is_the_product_of_the_matrices(group: Group):
    assert np.array_equal(group.matrix(0), np.eye(2))
    assert furthest_from_homomorphism(group) <= 1e-13


def test_a_product_that_forgets_that_a_mirror_reverses_turns_is_detected():
    class Forgetful(Planar):
        def product(self, g: int, h: int) -> int:
            (m, j), (n, k) = divmod(g, self.turns), divmod(h, self.turns)
            return (m + n) % 2 * self.turns + (j + k) % self.turns

    assert furthest_from_homomorphism(Forgetful(4, mirrored=True)) >= 1


def test_only_mirrors_and_quarter_turns_map_pixels_to_pixels():
    assert set(EXACT) == {"C1", "C2", "C4", "D1", "D2", "D4"}
    assert not Scale(2, 2).permutes_pixels


def test_a_quarter_turn_takes_the_columns_axis_to_the_rows_axis_and_a_mirror_negates_columns():
    assert np.array_equal(C(4).matrix(1) @ [1, 0], [0, 1])
    assert np.array_equal(D(1).matrix(1) @ [1, 2], [-1, 2])


@pytest.mark.parametrize(
    "make", [lambda: C(0), lambda: Scale(0, 2), lambda: Scale(3, 1), lambda: Scale(3, 2, reach=-1)]
)
def test_a_group_without_elements_is_refused(make):
    with pytest.raises(ValueError, match=r"expected a"):
        make()


# --- the semi-direct product with translations ---


@every_group
def test_moves_of_the_plane_are_a_group_that_acts_on_it(group: Group):
    moves, rng = SemiDirect(group), np.random.default_rng(0)
    points = rng.normal(size=(4, 2))
    for linear in some(group, 3):
        a, b, c = zip(rng.normal(size=(3, 2)), linear, strict=True)
        assert np.allclose(moves.act(moves.product(a, b), points), moves.act(a, moves.act(b, points)))
        assert np.allclose(moves.act(moves.product(a, moves.inverse(a)), points), points)
        left, right = moves.product(moves.product(a, b), c), moves.product(a, moves.product(b, c))
        assert np.allclose(left[0], right[0])
        assert left[1] == right[1]


# --- representations on channels ---


@every_planar
def test_representations_are_homomorphisms_to_orthogonal_matrices(group: Planar):
    for matrices in (trivial(group, 3), sided(group, MIRROR), vectors(group)):
        assert torch.equal(matrices[0], torch.eye(matrices.shape[1]))
        for g, h in some(group, 2):
            assert torch.allclose(matrices[group.product(g, h)], matrices[g] @ matrices[h], atol=1e-6)
            assert torch.allclose(matrices[group.inverse(g)], matrices[g].T, atol=1e-6)


def test_a_mirror_exchanges_left_and_right_channels_and_a_turn_keeps_them():
    channels = torch.tensor([1.0, 2.0, 3.0])
    swapped = [(matrix @ channels).tolist() == [2.0, 1.0, 3.0] for matrix in sided(D(4), MIRROR)]
    assert swapped == [False] * 4 + [True] * 4


# --- left-regular representations ---


@every_exact
def test_acting_twice_is_acting_with_the_product(group: Planar):
    image = torch.arange(75.0).reshape(1, 3, 5, 5)
    features = torch.arange(2.0 * 25 * len(group.elements)).reshape(1, -1, 5, 5)
    rho = sided(group, MIRROR)
    for g, h in some(group, 2):
        twice = act_on_image(group, g, act_on_image(group, h, image, rho), rho)
        assert torch.equal(twice, act_on_image(group, group.product(g, h), image, rho))
        twice = act_on_features(group, g, act_on_features(group, h, features))
        assert torch.equal(twice, act_on_features(group, group.product(g, h), features))


@every_exact
def test_a_moved_image_has_at_a_moved_pixel_the_value_of_the_pixel(group: Planar):
    image = torch.randn(1, 1, 5, 5)
    for g in group.elements:
        turned = act_on_image(group, g, image)
        for x, y in product(range(-2, 3), repeat=2):
            to_x, to_y = (group.matrix(g) @ [x, y]).astype(int)
            assert turned[0, 0, to_y + 2, to_x + 2] == image[0, 0, y + 2, x + 2]


def test_a_moved_feature_map_has_at_a_moved_place_and_element_the_value_of_the_place_and_element():
    group, features = D(4), torch.randn(1, 8, 3, 3)
    for g, h in product(group.elements, repeat=2):
        expected = moved(features[:, h : h + 1], group.matrix(g))
        to = group.product(g, h)
        assert torch.equal(act_on_features(group, g, features)[:, to : to + 1], expected)


def blob(x: float, y: float, width: float, size: int = 65) -> torch.Tensor:
    at = torch.arange(size) - (size - 1) / 2
    return torch.exp(-((at[None] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * width**2))[None, None]


def test_an_image_moved_between_pixels_is_the_image_of_the_moved_object():
    turn, scale = C(8).matrix(1), Scale(2, 1.4).matrix(1)
    x, y = turn @ [6, 2]
    assert (moved(blob(6, 2, 3), turn) - blob(float(x), float(y), 3)).abs().max() < 1e-4
    assert (moved(blob(6, 2, 2), scale) - blob(8.4, 2.8, 2.8)).abs().max() < 1e-3


def test_scales_beyond_the_ends_are_zero_and_do_not_wrap_around():
    group, features = Scale(3, 2), torch.ones(1, 3, 9, 9)
    up, down = (act_on_features(group, g, features)[0, :, 4, 4] for g in (1, -1))
    assert up.tolist() == [0, 1, 1]
    assert down.tolist() == [1, 1, 0]
