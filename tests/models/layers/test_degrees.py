"""Tests of layers on features of several degrees: equivariance, and each layer against its formula."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from turns import rows, turn_of

from models.layers.degrees import (
    AttentiveSelfInteraction,
    DegreeLinear,
    DegreeNorm,
    Gate,
    NormNonlinearity,
    invariants,
    pack,
    split,
    width,
)
from models.layers.freezing import frozen

CHANNELS = (5, 4, 3)
OUT = (2, 6, 4)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: DegreeLinear(CHANNELS, OUT, bias=True), OUT),
    "linear to fewer degrees": (lambda: DegreeLinear(CHANNELS, (3, 2)), (3, 2)),
    "attentive": (lambda: AttentiveSelfInteraction(CHANNELS, OUT), OUT),
    "norm": (lambda: DegreeNorm(CHANNELS), CHANNELS),
    "norm nonlinearity": (lambda: NormNonlinearity(CHANNELS), CHANNELS),
    "gate": (lambda: Gate(CHANNELS), CHANNELS),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def features(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(7, width(CHANNELS), dtype=dtype, generator=torch.Generator().manual_seed(0))


def layer_of(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    build, out = LAYERS[name]
    return build(), out


@every_layer
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_layer_commutes_with_rotation(name: str, dtype: torch.dtype, atol: float):
    layer, out = layer_of(name)
    layer, f = layer.to(dtype), features(dtype)
    torch.testing.assert_close(layer(rows(f, CHANNELS, turn_of())), rows(layer(f), out, turn_of()), atol=atol, rtol=0)


def test_a_relu_on_components_and_a_bias_on_vectors_do_not_commute_with_rotation():
    f = features()
    for breaking in (torch.relu, lambda x: x + 1):
        difference = breaking(rows(f, CHANNELS, turn_of())) - rows(breaking(f), CHANNELS, turn_of())
        assert difference.abs().max() > 0.1


@every_layer
def test_zero_features_give_finite_answers_and_gradients(name: str):
    layer, _ = layer_of(name)
    f = torch.zeros(2, width(CHANNELS), requires_grad=True)
    layer(f).square().sum().backward()
    assert f.grad is not None
    assert f.grad.isfinite().all()


def test_pack_inverts_split():
    f = features()
    parts = split(f, CHANNELS)
    assert [tuple(part.shape) for part in parts] == [(7, 1, 5), (7, 3, 4), (7, 5, 3)]
    assert torch.equal(pack(parts), f)


def test_invariants_are_scalars_and_norms():
    f = features()
    parts = split(f, CHANNELS)
    torch.testing.assert_close(
        invariants(f, CHANNELS), torch.cat([parts[0][:, 0], *(p.norm(dim=1) for p in parts[1:])], 1)
    )


def test_a_linear_map_mixes_the_channels_of_each_degree():
    layer, f = DegreeLinear(CHANNELS, OUT).double(), features()
    for before, after, weight in zip(split(f, CHANNELS), split(layer(f), OUT), layer.weights, strict=True):
        torch.testing.assert_close(after, before @ weight)


def test_the_norm_nonlinearity_changes_lengths_and_keeps_directions():
    layer, f = NormNonlinearity(CHANNELS).double(), features()
    for before, after, bias in zip(split(f, CHANNELS), split(layer(f), CHANNELS), layer.biases, strict=True):
        lengths = before.norm(dim=1, keepdim=True)
        torch.testing.assert_close(after, before / lengths * (lengths + bias).clamp_min(0))


def test_a_normalised_row_has_scalars_of_mean_0_and_vectors_of_size_1_at_any_scale():
    layer, f = DegreeNorm(CHANNELS).double(), features()
    scalars, vectors, _ = split(layer(100 * f), CHANNELS)
    torch.testing.assert_close(scalars.mean(dim=2), torch.zeros(7, 1, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(vectors.square().mean(dim=(1, 2)), torch.ones(7, dtype=torch.float64))


def test_freezing_returns_a_copy_of_constants_with_the_same_answers():
    network = nn.Sequential(DegreeLinear(CHANNELS, OUT), Gate(OUT), DegreeLinear(OUT, CHANNELS))
    constant, f = frozen(network), features(torch.float32)
    assert torch.equal(constant(f), network(f))
    assert not any(parameter.requires_grad for parameter in constant.parameters())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    assert not torch.equal(constant(f), network(f))
    assert network.state_dict().keys() == constant.state_dict().keys()
