"""Tests of specs: T in our order of rows and in others, conversion between orders, and even and odd parts."""

import pytest
import torch
from chirality import BODY_3D, ENDS, FREE, H36M, paper_transform
from torch import Tensor, nn

from models.layers.chiral_spec import (
    FlipAveraged,
    Order,
    Spec,
    WrongMirror,
    basis,
    enter,
    even_odd,
    leave,
    mirrored,
    order_of,
    paper_order,
    reordered,
    sides,
    transform,
)

ORDERS: dict[str, Order] = {
    "the paper's": paper_order(FREE),
    "h36m in 3D": order_of(H36M, 3, (0,)),
    "x last, and a number more": order_of(H36M, 4, (3, 1)),
    "sides one after the other": order_of((2, 3, 0, 1), 3, (0,)),
    "classes": order_of((0, 2, 1, 3, 5, 4)),
}
every_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
specs = pytest.mark.parametrize("spec", {spec for pair in ENDS.values() for spec in pair}, ids=str)


def rows(width: int, count: int = 4) -> Tensor:
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_spec_counts_the_numbers_of_joints():
    assert Spec.of_joints(pairs=6, centre=5, numbers=60, negated=20) == Spec(120, 240, 100, 200)
    spec = Spec.of_joints(6, 5, 3, 1)
    assert (spec.width, spec.even, spec.odd) == (51, 28, 23)
    assert order_of(H36M, 3, (0,)).spec == spec == BODY_3D


@specs
def test_t_is_an_involution_and_the_basis_separates_even_from_odd(spec: Spec):
    x, q = rows(spec.width), basis(spec)
    assert torch.equal(transform(transform(x, spec), spec), x)
    signs = torch.tensor([1.0] * spec.even + [-1.0] * spec.odd, dtype=torch.float64)
    torch.testing.assert_close(q @ q.T, torch.eye(spec.width, dtype=torch.float64))
    torch.testing.assert_close(transform(x, spec) @ q.T, x @ q.T * signs)
    for part, moved, sign in zip(even_odd(x, spec), even_odd(transform(x, spec), spec), (1, -1), strict=True):
        torch.testing.assert_close(moved, sign * part)


@specs
def test_sides_inverts_even_odd(spec: Spec):
    x = rows(spec.width)
    l, r, *centre = sides(*even_odd(x, spec), spec)  # noqa: E741 - l is the paper's left
    torch.testing.assert_close(torch.cat([l / 2, r / 2, *centre], -1), x)


def test_t_in_the_papers_order_equals_the_papers_transform():
    x, order = rows(FREE.width), ORDERS["the paper's"]
    torch.testing.assert_close(mirrored(order)(x), paper_transform(x, FREE))


@pytest.mark.parametrize(("numbers", "negated"), [(3, (0,)), (2, (0,)), (4, (3, 1)), (1, ())])
def test_t_in_joint_order_exchanges_mirror_partners(numbers: int, negated: tuple[int, ...]):
    x = rows(17 * numbers).unflatten(-1, (17, numbers))
    expected = x[:, list(H36M)].clone()
    expected[..., list(negated)] *= -1
    assert torch.equal(mirrored(order_of(H36M, numbers, negated))(x.flatten(-2)), expected.flatten(-2))


@every_order
def test_enter_commutes_with_t_and_leave_inverts_it(order: Order):
    x = rows(order.spec.width)
    ours = enter(order)(x)
    assert torch.equal(enter(order)(mirrored(order)(x)), transform(ours, order.spec))
    assert torch.equal(leave(order)(ours), x)


def test_a_reordered_matrix_is_the_same_map_in_our_order():
    order, out = ORDERS["h36m in 3D"], ORDERS["x last, and a number more"]
    weight = torch.randn(out.spec.width, order.spec.width, 2, dtype=torch.float64)
    x = rows(order.spec.width)
    for tap in range(2):
        expected = enter(out)(x @ weight[..., tap].T)
        torch.testing.assert_close(enter(order)(x) @ reordered(weight, order, out)[..., tap].T, expected)


def test_mirrored_classes_form_pairs_and_other_classes_are_invariant():
    assert ORDERS["classes"].spec == Spec(lp=2, cp=2)
    assert order_of(range(5)).spec == Spec(cp=5)


@pytest.mark.parametrize(
    ("mirror", "numbers", "negated"),
    [((1, 2, 0), 1, ()), ((0, 0), 1, ()), ((1, 0, 3), 1, ()), ((1, 0), 2, (2,)), ((1, 0), 2, (0, 0))],
)
def test_an_invalid_mirror_is_refused(mirror: tuple[int, ...], numbers: int, negated: tuple[int, ...]):
    with pytest.raises(WrongMirror):
        order_of(mirror, numbers, negated)


def test_a_spec_has_no_negative_counts():
    with pytest.raises(ValueError, match="at least 0, got"):
        Spec(ln=-1)


def test_flip_averaging_makes_a_plain_network_chiral():
    order, out = order_of(H36M, 2, (0,)), order_of(H36M, 3, (0,))
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(order.spec.width, 40), nn.ReLU(), nn.Linear(40, out.spec.width)).double()
    averaged, flip, flip_back = FlipAveraged(plain, order, out).double(), mirrored(order), mirrored(out)
    x = rows(order.spec.width)
    torch.testing.assert_close(averaged(x), (plain(x) + flip_back(plain(flip(x)))) / 2)
    torch.testing.assert_close(averaged(flip(x)), flip_back(averaged(x)), atol=1e-14, rtol=0)
    assert (plain(flip(x)) - flip_back(plain(x))).abs().max() > 0.1
