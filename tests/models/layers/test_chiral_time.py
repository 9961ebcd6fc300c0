"""Convolutions over time on rows are the chiral ones with axes exchanged; networks made of them can be folded before they are frozen."""

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
def test_it_is_the_convolution_with_the_same_weights(spec: Spec, out: Spec, taps: int, stride: int, dilation: int):
    layer, x = taps_of(spec, out, taps), rows(spec)
    twin = ChiralConv1d(spec, out, taps, stride=stride, dilation=dilation).double()
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, stride, dilation), twin(x.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("paper_exact", [False, True], ids=["full", "paper"])
def test_so_it_is_without_bias_and_as_in_the_paper(bias: bool, paper_exact: bool):
    layer, x = taps_of(FREE, BODY, 3, bias=bias, paper_exact=paper_exact), rows(FREE)
    twin = ChiralConv1d(FREE, BODY, 3, stride=3, bias=bias, paper_exact=paper_exact).double()
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, stride=3), twin(x.transpose(1, 2)).transpose(1, 2))


@steps
def test_each_answer_sees_the_rows_under_its_taps_one_after_the_other(taps: int, stride: int, dilation: int):
    x = rows(FREE)
    reach = (taps - 1) * dilation
    slow = [torch.cat([x[:, t + k * dilation] for k in range(taps)], -1) for t in range(0, x.shape[1] - reach, stride)]
    assert torch.equal(side_by_side(x, taps, stride, dilation), torch.stack(slow, 1))


def test_a_kernel_lies_side_by_side_as_the_rows_do():
    weight = torch.arange(2 * 3 * 4).reshape(2, 3, 4).double()
    slow = [[float(weight[row, column, tap]) for tap in range(4) for column in range(3)] for row in range(2)]
    assert tap_by_tap(weight).tolist() == slow


@ends
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (3, 1), (1, 4)])
def test_it_commutes_with_t(spec: Spec, out: Spec, stride: int, dilation: int):
    layer, x = taps_of(spec, out, 3), rows(spec)
    straight, image = layer(x, stride, dilation), layer(transform(x, spec), stride, dilation)
    torch.testing.assert_close(image, transform(straight, out), atol=1e-12, rtol=0)


def test_a_plain_convolution_over_time_does_not():
    dense = nn.Conv1d(FREE.width, FREE.width, 3).double()

    def layer(x: Tensor) -> Tensor:
        return dense(x.transpose(1, 2)).transpose(1, 2)

    x = rows(FREE)
    assert (layer(transform(x, FREE)) - transform(layer(x), FREE)).abs().max() > 0.1


# --- normalisation of rows ---


@pytest.mark.parametrize("spec", [FREE, Spec(lp=4), Spec(cn=2, cp=3)], ids=str)
@pytest.mark.parametrize("dim", [-1, 2])
def test_normalising_rows_is_normalising_channels_with_the_axes_exchanged(spec: Spec, dim: int):
    along_rows, along_channels = ChiralBatchNorm(spec, dim=dim).double(), ChiralBatchNorm(spec).double()
    for seed in range(3):
        x = 3 * rows(spec, seed=seed) + 1
        wanted = along_channels(x.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(along_rows(x), wanted)
    torch.testing.assert_close(along_rows.mean, along_channels.mean)
    torch.testing.assert_close(along_rows.variance, along_channels.variance)
    x = rows(spec, seed=9)
    torch.testing.assert_close(along_rows.eval()(x), along_channels.eval()(x.transpose(1, 2)).transpose(1, 2))


def test_the_axis_matters():
    x = 3 * rows(FREE, frames=FREE.width) + torch.arange(FREE.width)
    assert (ChiralBatchNorm(FREE).double()(x) - ChiralBatchNorm(FREE, dim=-1).double()(x)).abs().max() > 0.1


# --- folding ---


def seen_a_batch(network: nn.Module, x: Tensor) -> nn.Module:
    """In evaluation, with scales, shifts and statistics that are not 0 and 1."""
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
def test_a_frozen_lifter_answers_the_same_and_has_no_normalisation_left(config: LifterConfig, receptive: int):
    torch.manual_seed(0)
    x = torch.randn(3, receptive + 4, 17, 2, dtype=torch.float64) + 0.5
    network = seen_a_batch(config.build(PoseLift(receptive=receptive)).double(), x)
    alone = frozen(network)
    wanted = network(x)
    torch.testing.assert_close(alone(x), wanted)
    assert norms_of(alone) == []
    assert len(norms_of(network)) >= 3  # what is frozen is a copy
    norms_of(network)[0].mean += 1
    assert (network(x) - wanted).abs().max() > 1e-3  # the statistics are in the answer


@pytest.mark.parametrize("mirrored", [None, (0, 2, 1)], ids=["invariant", "sided"])
def test_a_frozen_recogniser_answers_the_same_and_normalises_only_what_comes_in(mirrored: tuple[int, ...] | None):
    torch.manual_seed(0)
    task = ActionRecognition(order="h36m-17", classes=("bow", "left", "right"), frames=16, mirrored=mirrored)
    x = torch.randn(6, 1, 16, 17, 3, dtype=torch.float64) + 0.5
    network = seen_a_batch(RecogniserConfig(pairs(8)).build(task).double(), x)
    alone = frozen(network)
    torch.testing.assert_close(alone(x), network(x))
    assert norms_of(alone) == [alone.norm]  # no map is before it that could do it
    assert len(norms_of(network)) == 21


def test_a_folded_map_still_commutes_with_t():
    torch.manual_seed(0)
    network = seen_a_batch(LifterConfig(FREE).build(PoseLift(receptive=9)).double(), torch.randn(5, 12, 17, 2).double())
    x = torch.randn(2, 12, 17, 2, dtype=torch.float64)

    def image(y: Tensor) -> Tensor:
        swapped = y[:, :, list(H36M)].clone()
        swapped[..., 0] *= -1
        return swapped

    alone = frozen(network)
    torch.testing.assert_close(alone(image(x)), image(alone(x)), atol=1e-12, rtol=0)
    assert BODY_3D.width == alone(x).flatten(2).shape[2]
