"""Tests of convolutions over time on rows: they equal chiral convolutions with axes exchanged, and norms fold into them."""

import pytest
import torch
from chirality import BODY, BODY_3D, ENDS, FREE, H36M
from torch import Tensor, nn

from models.contract.task import ActionRecognition, PoseLift
from models.layers.chiral import ChiralBatchNorm, ChiralConv1d
from models.layers.chiral_spec import Spec, transform
from models.layers.chiral_time import ChiralTaps, side_by_side, tap_by_tap
from models.layers.freezing import frozen
from models.pose.ends import pairs
from models.pose.lifter import LifterConfig
from models.pose.recogniser import RecogniserConfig

ends = pytest.mark.parametrize(("spec", "out"), ENDS.values(), ids=ENDS.keys())
steps = pytest.mark.parametrize(
    ("taps", "stride", "dilation"),
    [(1, 1, 1), (1, 2, 1), (1, 1, 3), (3, 1, 1), (3, 3, 1), (3, 1, 3), (3, 2, 1), (3, 3, 2), (5, 1, 1), (5, 2, 1), (5, 5, 1)],
)  # fmt: skip
FRAMES = 15  # a multiple of 3 and of 5


def rows(spec: Spec, frames: int = FRAMES, seed: int = 0) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    return torch.randn(4, frames, spec.width, dtype=torch.float64, generator=make)


def taps_of(spec: Spec, out: Spec, taps: int, *, bias: bool = True, paper_exact: bool = False) -> ChiralTaps:
    torch.manual_seed(0)
    layer = ChiralTaps(spec, out, taps, bias=bias, paper_exact=paper_exact).double()
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, 0.5, 1.5)
    return layer


@ends
@steps
def test_it_equals_the_convolution_with_the_same_weights(spec: Spec, out: Spec, taps: int, stride: int, dilation: int):
    layer, x = taps_of(spec, out, taps), rows(spec)
    reference = ChiralConv1d(spec, out, taps, stride=stride, dilation=dilation).double()
    reference.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, stride, dilation), reference(x.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("paper_exact", [False, True], ids=["full", "paper"])
def test_it_equals_the_convolution_without_bias_and_with_the_papers_weights(bias: bool, paper_exact: bool):
    layer, x = taps_of(FREE, BODY, 3, bias=bias, paper_exact=paper_exact), rows(FREE)
    reference = ChiralConv1d(FREE, BODY, 3, stride=3, bias=bias, paper_exact=paper_exact).double()
    reference.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, stride=3), reference(x.transpose(1, 2)).transpose(1, 2))


@steps
def test_side_by_side_concatenates_the_rows_under_the_taps(taps: int, stride: int, dilation: int):
    x = rows(FREE)
    reach = (taps - 1) * dilation
    slow = [torch.cat([x[:, t + k * dilation] for k in range(taps)], -1) for t in range(0, x.shape[1] - reach, stride)]
    assert torch.equal(side_by_side(x, taps, stride, dilation), torch.stack(slow, 1))


def test_tap_by_tap_orders_a_kernel_like_the_concatenated_rows():
    weight = torch.arange(2 * 3 * 4).reshape(2, 3, 4).double()
    slow = [[float(weight[row, column, tap]) for tap in range(4) for column in range(3)] for row in range(2)]
    assert tap_by_tap(weight).tolist() == slow


@ends
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (3, 1), (1, 4)])
def test_it_commutes_with_t(spec: Spec, out: Spec, stride: int, dilation: int):
    layer, x = taps_of(spec, out, 3), rows(spec)
    straight, image = layer(x, stride, dilation), layer(transform(x, spec), stride, dilation)
    torch.testing.assert_close(image, transform(straight, out), atol=1e-12, rtol=0)


def test_a_plain_convolution_over_time_does_not_commute_with_t():
    dense = nn.Conv1d(FREE.width, FREE.width, 3).double()

    def layer(x: Tensor) -> Tensor:
        return dense(x.transpose(1, 2)).transpose(1, 2)

    x = rows(FREE)
    assert (layer(transform(x, FREE)) - transform(layer(x), FREE)).abs().max() > 0.1


# --- normalisation of rows ---


@pytest.mark.parametrize("spec", [FREE, Spec(lp=4), Spec(cn=2, cp=3)], ids=str)
@pytest.mark.parametrize("dim", [-1, 2])
def test_normalising_rows_equals_normalising_channels_with_the_axes_exchanged(spec: Spec, dim: int):
    along_rows, along_channels = ChiralBatchNorm(spec, dim=dim).double(), ChiralBatchNorm(spec).double()
    for seed in range(3):
        x = 3 * rows(spec, seed=seed) + 1
        expected = along_channels(x.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(along_rows(x), expected)
    torch.testing.assert_close(along_rows.mean, along_channels.mean)
    torch.testing.assert_close(along_rows.variance, along_channels.variance)
    x = rows(spec, seed=9)
    torch.testing.assert_close(along_rows.eval()(x), along_channels.eval()(x.transpose(1, 2)).transpose(1, 2))


def test_normalising_the_wrong_axis_gives_another_answer():
    x = 3 * rows(FREE, frames=FREE.width) + torch.arange(FREE.width)
    assert (ChiralBatchNorm(FREE).double()(x) - ChiralBatchNorm(FREE, dim=-1).double()(x)).abs().max() > 0.1


# --- folding ---


def evaluated(network: nn.Module, x: Tensor) -> nn.Module:
    """Return the network in evaluation mode, with scales, shifts and statistics other than 0 and 1."""
    for norm in norms_of(network):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -1.0, 1.0)
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(x)
    return network.eval()


def norms_of(network: nn.Module) -> list[ChiralBatchNorm]:
    return [module for module in network.modules() if isinstance(module, ChiralBatchNorm)]


LIFTERS = {
    "lifter": LifterConfig(pairs(16)),
    "lifter, free channels": LifterConfig(FREE),
    "lifter, the paper's": LifterConfig(FREE, nonlinearity="tanh", paper_exact=True),
    "lifter, plain": LifterConfig(pairs(16), chiral=False),
}


@pytest.mark.parametrize("config", LIFTERS.values(), ids=LIFTERS)
@pytest.mark.parametrize("receptive", [1, 27])
def test_freezing_a_lifter_folds_all_norms_and_keeps_its_answers(config: LifterConfig, receptive: int):
    torch.manual_seed(0)
    x = torch.randn(3, receptive + 4, 17, 2, dtype=torch.float64) + 0.5
    network = evaluated(config.build(PoseLift(receptive=receptive)).double(), x)
    folded = frozen(network)
    expected = network(x)
    torch.testing.assert_close(folded(x), expected)
    assert norms_of(folded) == []
    assert len(norms_of(network)) >= 3  # `frozen` returns a copy
    norms_of(network)[0].mean += 1
    assert (network(x) - expected).abs().max() > 1e-3  # control: the statistics affect the answer


@pytest.mark.parametrize("mirrored", [None, (0, 2, 1)], ids=["invariant", "sided"])
def test_freezing_a_recogniser_folds_all_norms_but_the_first(mirrored: tuple[int, ...] | None):
    torch.manual_seed(0)
    task = ActionRecognition(order="h36m-17", classes=("bow", "left", "right"), frames=16, mirrored=mirrored)
    x = torch.randn(6, 1, 16, 17, 3, dtype=torch.float64) + 0.5
    network = evaluated(RecogniserConfig(pairs(8)).build(task).double(), x)
    folded = frozen(network)
    torch.testing.assert_close(folded(x), network(x))
    assert norms_of(folded) == [folded.norm]  # no layer before it can absorb it
    assert len(norms_of(network)) == 21


def test_a_folded_network_commutes_with_t():
    torch.manual_seed(0)
    network = evaluated(LifterConfig(FREE).build(PoseLift(receptive=9)).double(), torch.randn(5, 12, 17, 2).double())
    x = torch.randn(2, 12, 17, 2, dtype=torch.float64)

    def image(y: Tensor) -> Tensor:
        swapped = y[:, :, list(H36M)].clone()
        swapped[..., 0] *= -1
        return swapped

    folded = frozen(network)
    torch.testing.assert_close(folded(image(x)), image(folded(x)), atol=1e-12, rtol=0)
    assert BODY_3D.width == folded(x).flatten(2).shape[2]
