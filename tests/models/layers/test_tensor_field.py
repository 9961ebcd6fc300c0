"""Tests of attention with tensor field kernels: equivariance, and equality with the paper's kernels on each edge."""

import pytest
import torch
from torch import Tensor
from turns import rows, turn_of

from models.layers.degrees import width
from models.layers.freezing import frozen
from models.layers.tensor_field import Attention, Edges, Kernel, LiteralAttention, edges

NODES, NEAR, FUNCTIONS, KEY_FUNCTIONS = 12, 5, 4, 2
VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict]] = {
    "degrees 0 and 1": ((4, 3), (5, 2), {"degree": 1}),
    "degrees 0 and 1, all harmonics": ((4, 3), (5, 2), {"degree": 2}),
    "degrees 0 to 2, all harmonics": ((3, 2, 2), (2, 3, 2), {"degree": 4}),
    "degrees 0 to 2, few harmonics": ((3, 2, 2), (2, 3, 2), {"degree": 1}),
    "degree 2 from 0 and 1": ((3, 2), (2, 2, 3), {"degree": 2}),
    "no scalars": ((0, 3), (4, 2), {"degree": 1}),
    "no cross product": ((4, 3), (5, 2), {"degree": 2, "handed": False}),
    "attentive": ((4, 3), (5, 2), {"degree": 1, "attentive": True}),
    "attentive, degree 2 from 0 and 1": ((4, 3), (5, 2, 2), {"degree": 2, "attentive": True}),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


def layers_of(name: str) -> tuple[Attention, LiteralAttention]:
    """Build the fast and the literal form with the same weights."""
    channels, out, options = VARIANTS[name]
    torch.manual_seed(0)
    fast = Attention(channels, out, functions=FUNCTIONS, key_functions=KEY_FUNCTIONS, **options).double()
    literal = LiteralAttention(channels, out, functions=FUNCTIONS, key_functions=KEY_FUNCTIONS, **options).double()
    literal.load_state_dict(fast.state_dict())
    return fast, literal


def surroundings(degree: int, turn: Tensor | None = None, dtype: torch.dtype = torch.float64) -> Edges:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(1, NODES, 3, dtype=torch.float64, generator=generator)
    points = points if turn is None else points @ turn.T
    near = torch.cdist(points, points)[0].topk(NEAR + 1, largest=False).indices[:, 1:]
    offsets = points[0][near] - points[0][:, None]
    return edges(offsets[None].to(dtype), near, FUNCTIONS, KEY_FUNCTIONS, degree)[0]


def features(channels: tuple[int, ...]) -> Tensor:
    return torch.randn(NODES, width(channels), dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@every_variant
def test_the_fast_form_equals_the_literal_form(name: str):
    fast, literal = layers_of(name)
    channels, _, options = VARIANTS[name]
    around, f = surroundings(options["degree"]), features(channels)
    torch.testing.assert_close(fast(f, around), literal(f, around), atol=1e-12, rtol=1e-12)
    for parameter in fast.parameters():
        parameter.grad = None
    gradients = [
        torch.autograd.grad(layer(f, around).square().sum(), list(layer.parameters())) for layer in (fast, literal)
    ]
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-10, rtol=1e-10)


def test_a_changed_weight_is_detected():
    fast, literal = layers_of("degrees 0 and 1")
    around, f = surroundings(1), features((4, 3))
    with torch.no_grad():
        literal.value.weights["111"][0, 0, 0] += 0.01  # the cross product
    assert (fast(f, around) - literal(f, around)).abs().max() > 1e-5


@every_variant
@pytest.mark.parametrize("form", ["fast", "literal"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_attention_commutes_with_rotation_of_features_and_points(name: str, form: str, dtype: torch.dtype, atol: float):
    layer = layers_of(name)[form == "literal"].to(dtype)
    channels, out, options = VARIANTS[name]
    f, turn = features(channels), turn_of()
    straight = layer(f.to(dtype), surroundings(options["degree"], dtype=dtype))
    turned = layer(rows(f, channels, turn).to(dtype), surroundings(options["degree"], turn, dtype))
    torch.testing.assert_close(turned, rows(straight, out, turn), atol=atol, rtol=0)


def test_rotating_only_the_points_breaks_equivariance():
    layer, _ = layers_of("degrees 0 and 1")
    f, turn = features((4, 3)), turn_of()
    difference = layer(f, surroundings(1, turn)) - rows(layer(f, surroundings(1)), (5, 2), turn)
    assert difference.abs().max() > 0.1


@pytest.mark.parametrize("name", ["degrees 0 and 1", "no cross product"])
def test_attention_without_the_cross_product_commutes_with_the_mirror(name: str):
    layer, _ = layers_of(name)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    f, handed = features((4, 3)), VARIANTS[name][2].get("handed", True)
    degree = VARIANTS[name][2]["degree"]

    def reflected(rows_: Tensor, channels: tuple[int, int]) -> Tensor:
        s, v = rows_.split([channels[0], 3 * channels[1]], dim=1)
        return torch.cat([s, (mirror @ v.unflatten(1, (3, -1))).flatten(1)], dim=1)

    difference = layer(reflected(f, (4, 3)), surroundings(degree, mirror)) - reflected(
        layer(f, surroundings(degree)), (5, 2)
    )
    assert difference.abs().max() > 0.1 if handed else difference.abs().max() < 1e-11


def test_attention_does_not_depend_on_the_order_of_neighbours():
    layer, _ = layers_of("degrees 0 and 1")
    around, f = surroundings(1), features((4, 3))
    order = torch.randperm(NEAR, generator=torch.Generator().manual_seed(0))
    shuffled = Edges(around.neighbours[:, order], *(x[..., order] for x in around[1:]))
    torch.testing.assert_close(layer(f, shuffled), layer(f, around), atol=1e-12, rtol=0)


def test_coincident_points_have_finite_features_and_no_direction():
    near = torch.zeros(NODES, NEAR, dtype=torch.long)
    around, length = edges(torch.zeros(1, NODES, NEAR, 3), near, FUNCTIONS, KEY_FUNCTIONS, 2)
    assert around.basis.isfinite().all()
    assert (length == 1e-6).all()
    assert (around.harmonics[:, 1:] == 0).all()


def test_lengths_are_relative_to_the_size_of_each_cloud():
    offsets = torch.randn(2, NODES, NEAR, 3, generator=torch.Generator().manual_seed(0))
    near = torch.zeros(2 * NODES, NEAR, dtype=torch.long)
    together, _ = edges(offsets * torch.tensor([1.0, 50.0]).view(2, 1, 1, 1), near, FUNCTIONS, KEY_FUNCTIONS, 1)
    alone, _ = edges(offsets[:1], near[:NODES], FUNCTIONS, KEY_FUNCTIONS, 1)
    torch.testing.assert_close(together.basis[:NODES], alone.basis)


def test_a_kernel_has_all_allowed_paths():
    paths = set(Kernel((1, 1), (1, 1), FUNCTIONS, 2, handed=True).paths)
    assert paths == {(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1)}
    assert (1, 1, 1) not in Kernel((1, 1), (1, 1), FUNCTIONS, 2, handed=False).paths


def test_freezing_a_layer_keeps_its_answers():
    layer, _ = layers_of("degrees 0 and 1")
    around, f = surroundings(1), features((4, 3))
    torch.testing.assert_close(frozen(layer)(f, around), layer(f, around))


def test_keys_use_sums_of_groups_of_radial_functions():
    around = surroundings(1)
    torch.testing.assert_close(around.key_radial, around.radial.unflatten(1, (2, 2)).sum(2))
    with pytest.raises(ValueError, match="a multiple of 3 radial functions, to make as many groups, got 4"):
        edges(torch.ones(1, NODES, NEAR, 3), torch.zeros(NODES, NEAR, dtype=torch.long), FUNCTIONS, 3, 1)
