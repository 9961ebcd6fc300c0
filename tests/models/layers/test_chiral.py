"""Tests of chiral layers: they commute with T, equal the paper's layers with `paper_exact`, and have the right parameter counts."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from chirality import BODY, BODY_3D, ENDS, FREE, H36M, HANDS, paper_linear
from torch import Tensor, nn

from models.layers.chiral import (
    ChiralBatchNorm,
    ChiralConv1d,
    ChiralGate,
    ChiralLinear,
    ChiralLogits,
    Pointwise,
    fold_norm,
    invariant,
)
from models.layers.chiral_spec import Spec, enter, leave, mirrored, order_of, paper_order, reordered, transform

HIDDEN = Spec.of_joints(pairs=6, centre=5, numbers=60, negated=20)  # 1020
PENN_HIDDEN = Spec.of_joints(pairs=6, centre=1, numbers=80, negated=40)  # 1040
HIDDEN_FREE = Spec(7, 13, 6, 9)
ends = pytest.mark.parametrize(("spec", "out"), ENDS.values(), ids=ENDS.keys())
whose = pytest.mark.parametrize("paper_exact", [False, True], ids=["full", "paper"])


def rows(spec: Spec, *frames: int, count: int = 5, seed: int = 0) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    return torch.randn(count, spec.width, *frames, dtype=torch.float64, generator=make)


def violation(layer: Callable[[Tensor], Tensor], x: Tensor, spec: Spec, out: Spec, dim: int = -1) -> float:
    """Return the largest difference between layer(T x) and T layer(x)."""
    with torch.no_grad():
        return float((layer(transform(x, spec, dim)) - transform(layer(x), out, dim)).abs().max())


M = TypeVar("M", bound=nn.Module)


def randomised(layer: M) -> M:
    """Randomise the vectors that are initialised to 0 or 1; return the layer in float64."""
    torch.manual_seed(1)
    for parameter in layer.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return layer.double()


def linear(spec: Spec, out: Spec, paper_exact: bool = False) -> ChiralLinear:
    torch.manual_seed(0)
    return randomised(ChiralLinear(spec, out, paper_exact=paper_exact))


def conv(
    spec: Spec, out: Spec, paper_exact: bool = False, *, stride: int = 1, dilation: int = 1, padding: int = 0
) -> ChiralConv1d:
    torch.manual_seed(0)
    layer = ChiralConv1d(spec, out, 3, stride=stride, dilation=dilation, padding=padding, paper_exact=paper_exact)
    return randomised(layer)


def matrix_of_t(spec: Spec) -> Tensor:
    return transform(torch.eye(spec.width, dtype=torch.float64), spec)


@ends
@whose
def test_a_linear_map_commutes_with_t(spec: Spec, out: Spec, paper_exact: bool):
    layer = linear(spec, out, paper_exact)
    weight, bias = layer.dense()
    assert bias is not None
    t, t_out = matrix_of_t(spec), matrix_of_t(out)
    torch.testing.assert_close(weight @ t, t_out @ weight, atol=1e-14, rtol=0)
    torch.testing.assert_close(t_out @ bias, bias, atol=1e-14, rtol=0)
    assert violation(layer, rows(spec), spec, out) < 1e-13


@ends
@whose
def test_a_convolution_commutes_with_t(spec: Spec, out: Spec, paper_exact: bool):
    assert violation(conv(spec, out, paper_exact), rows(spec, 9), spec, out, dim=1) < 1e-13


@ends
def test_the_parameters_span_all_maps_that_commute_with_t_without_redundancy(spec: Spec, out: Spec):
    t, t_out = matrix_of_t(spec), matrix_of_t(out)
    one, one_out = torch.eye(spec.width, dtype=torch.float64), torch.eye(out.width, dtype=torch.float64)
    commuting = torch.kron(t_out, one) - torch.kron(one_out, t.T.contiguous())  # acts on W, row after row
    dimension = spec.width * out.width - int(torch.linalg.matrix_rank(commuting))
    layer = linear(spec, out)
    made = []
    weights = layer.even.weight, layer.odd.weight
    for weight in weights:
        for place in range(weight.numel()):
            for each in weights:
                each.data.zero_()
            weight.data.view(-1)[place] = 1
            made.append(layer.dense()[0].detach().flatten())
    assert dimension == spec.even * out.even + spec.odd * out.odd == len(made)
    assert torch.linalg.matrix_rank(torch.stack(made)) == dimension


@pytest.mark.parametrize(
    ("spec", "out", "dense", "paper", "full"),
    [
        (BODY, HIDDEN, 34_680, 16_140, 17_340),
        (HIDDEN, HIDDEN, 1_040_400, 501_200, 525_200),
        (HIDDEN, BODY_3D, 52_020, 25_060, 26_260),
        (PENN_HIDDEN, PENN_HIDDEN, 1_081_600, 531_200, 540_800),
        (PENN_HIDDEN, PENN_HIDDEN.gates, 1_081_600, 521_600, 540_800),
        (HANDS, HANDS, 126 * 126, 126 * 126 // 2, 126 * 126 // 2),
    ],
)
def test_a_layer_has_the_papers_parameter_count_or_the_largest_possible(
    spec: Spec, out: Spec, dense: int, paper: int, full: int
):
    def count(paper_exact: bool) -> int:
        layer = ChiralLinear(spec, out, paper_exact=paper_exact)
        assert layer.bias is not None
        assert len(layer.bias) == out.even
        return sum(p.numel() for p in layer.parameters()) - len(layer.bias)

    with torch.device("meta"):
        assert (spec.width * out.width, count(True), count(False)) == (dense, paper, full)


@pytest.mark.parametrize(("paper_exact", "parameters"), [(False, 8_492_488), (True, 8_103_688)])
def test_the_convolutions_and_norms_of_a_lifter_of_243_frames_have_the_papers_parameter_count(
    paper_exact: bool, parameters: int
):
    with torch.device("meta"):
        convs = [ChiralConv1d(BODY, HIDDEN, 3, bias=False, paper_exact=paper_exact)]
        convs += [ChiralConv1d(HIDDEN, HIDDEN, kernel, bias=False, paper_exact=paper_exact) for kernel in (3, 1) * 4]
        norms = [ChiralBatchNorm(HIDDEN) for _ in convs]
        network = nn.ModuleList([*convs, *norms, ChiralConv1d(HIDDEN, BODY_3D, 1, paper_exact=paper_exact)])
    assert sum(p.numel() for p in network.parameters()) == parameters


@ends
@whose
def test_a_linear_map_equals_its_dense_form(spec: Spec, out: Spec, paper_exact: bool):
    layer, x = linear(spec, out, paper_exact), rows(spec)
    torch.testing.assert_close(layer.folded()(x), layer(x))


@pytest.mark.parametrize("options", [{}, {"stride": 3}, {"dilation": 2}, {"padding": 1}, {"stride": 2, "padding": 2}])
def test_a_convolution_equals_its_dense_form(options: dict[str, int]):
    layer, x = conv(FREE, BODY_3D, False, **options), rows(FREE, 11)
    torch.testing.assert_close(layer.folded()(x), layer(x))


@ends
def test_loading_a_dense_matrix_projects_it_onto_chiral_maps(spec: Spec, out: Spec):
    weight, bias = torch.randn(out.width, spec.width, dtype=torch.float64), rows(out, count=1)[0]
    layer = linear(spec, out)
    layer.load_dense(weight, bias)
    projected, projected_bias = layer.dense()
    t, t_out = matrix_of_t(spec), matrix_of_t(out)
    torch.testing.assert_close(projected, (weight + t_out @ weight @ t) / 2)
    torch.testing.assert_close(projected_bias, (bias + t_out @ bias) / 2)


def test_loading_a_dense_convolution_projects_every_tap():
    layer, dense = conv(FREE, BODY), nn.Conv1d(FREE.width, BODY.width, 3).double()
    assert dense.bias is not None
    layer.load_dense(dense.weight.detach(), dense.bias.detach())
    x = rows(FREE, 9)
    symmetrised = (dense(x) + transform(dense(transform(x, FREE, 1)), BODY, 1)) / 2
    torch.testing.assert_close(layer(x), symmetrised)


def test_a_step_of_gradient_descent_is_the_projected_dense_step():
    layer, x, target = linear(FREE, BODY), rows(FREE, count=9), rows(BODY, count=9, seed=1)
    dense, projected = layer.folded(), linear(FREE, BODY)
    for network in (layer, dense):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.01)
        F.mse_loss(network(x), target).backward()
        optimiser.step()
    assert dense.bias is not None
    projected.load_dense(dense.weight.detach(), dense.bias.detach())
    torch.testing.assert_close(layer(x), projected(x))
    assert (dense(x) - projected(x)).abs().max() > 1e-3


@ends
@whose
def test_loading_the_papers_layer_keeps_its_function(spec: Spec, out: Spec, paper_exact: bool):
    weight, bias = paper_linear(spec, out, full=not paper_exact)
    order, order_out = paper_order(spec), paper_order(out)
    layer = linear(spec, out, paper_exact)
    signs = torch.tensor(order_out.signs)
    layer.load_dense(reordered(weight, order, order_out), bias * signs)
    x = rows(spec)
    torch.testing.assert_close(leave(order_out)(layer(enter(order)(x))), F.linear(x, weight, bias))


def test_loading_a_layer_of_the_authors_code_keeps_its_function():
    """The authors' weight is five tiled blocks with a mask of signs and zeros; negated numbers come first in each joint."""
    mirror = (2, 3, 0, 1, 4)
    order, out = order_of(mirror, 3, (0,)), order_of(mirror, 5, (0, 1))
    w1, w2, w3, w4, w5 = (
        torch.randn(5 * m, 3 * n, dtype=torch.float64) for m, n in ((2, 2), (2, 2), (2, 1), (1, 2), (1, 1))
    )
    weight = torch.cat([torch.cat([w1, w2, w3], 1), torch.cat([w2, w1, w3], 1), torch.cat([w4, w4, w5], 1)])
    n_in, n_out = torch.arange(15) % 3 < 1, torch.arange(25) % 5 < 2
    left_in, right_in, centre_in = (torch.arange(15) // 3 // 2 == side for side in range(3))
    right_out, centre_out = torch.arange(25) // 5 // 2 == 1, torch.arange(25) // 5 // 2 == 2
    crosses = n_out[:, None] != n_in
    weight[right_out[:, None] & crosses] *= -1
    weight[centre_out[:, None] & n_out[:, None] & ~n_in & right_in] *= -1
    weight[centre_out[:, None] & ~n_out[:, None] & n_in & (left_in | right_in)] = 0
    weight[centre_out[:, None] & crosses & centre_in] = 0

    layer = ChiralLinear(order.spec, out.spec, bias=False, paper_exact=True).double()
    layer.load_dense(reordered(weight, order, out))
    x = rows(order.spec)
    torch.testing.assert_close(leave(out)(layer(enter(order)(x))), x @ weight.T)


def test_left_right_differences_reach_the_centre_except_in_the_papers_layer():
    widths = torch.zeros(1, FREE.width, dtype=torch.float64)
    widths[0, : FREE.ln] = 1
    widths[0, FREE.pairs : FREE.pairs + FREE.ln] = 1  # right numbers are stored negated, so l_n - r_n = 2
    for paper_exact, feeds in ((False, True), (True, False)):
        layer = ChiralLinear(FREE, invariant(4), bias=False, paper_exact=paper_exact).double()
        assert bool(layer(widths).abs().max() > 0) == feeds


def test_initial_weights_preserve_the_variance_of_every_part_of_a_row():
    torch.manual_seed(0)
    layer, x = ChiralLinear(HIDDEN, HIDDEN, bias=False, gain=1.0), torch.randn(400, HIDDEN.width)
    for part in layer(x).split(HIDDEN.sizes, -1):
        assert part.detach().std().item() == pytest.approx(1, abs=0.05)


def reference_norm(norm: ChiralBatchNorm) -> nn.BatchNorm1d:
    """Build a plain BatchNorm with the shared scales and shifts, for a batch together with its mirror image."""
    pairs, cn = norm.spec.pairs, norm.spec.cn
    reference = nn.BatchNorm1d(norm.spec.width).double()
    reference.weight.data = torch.cat([norm.weight[:pairs], norm.weight])
    reference.bias.data = torch.cat([norm.bias[:pairs], norm.bias[:pairs], torch.zeros(cn), norm.bias[pairs:]])
    return reference


def off_centre(spec: Spec, *frames: int) -> Tensor:
    """Return rows in which every column has its own mean and spread."""
    make = torch.Generator().manual_seed(3)
    mean, spread = (torch.randn(2, spec.width, *(1 for _ in frames), dtype=torch.float64, generator=make) * 3).unbind()
    return rows(spec, *frames, count=6) * spread + mean


@pytest.mark.parametrize("spec", [FREE, HANDS, Spec(lp=4), Spec(cn=2, cp=3)], ids=str)
@pytest.mark.parametrize("frames", [(), (7,)])
def test_a_batch_is_normalised_together_with_its_mirror_image(spec: Spec, frames: tuple[int, ...]):
    norm, x = randomised(ChiralBatchNorm(spec)), off_centre(spec, *frames)
    reference = reference_norm(norm)
    for _ in range(2):
        expected = reference(torch.cat([x, transform(x, spec, 1)]))[: len(x)]
        torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm.eval()(x), reference.eval()(x))
    assert norm.mean.abs().min() > 0


def test_flipping_one_sample_of_a_batch_changes_only_its_own_answer():
    norm, plain, x = randomised(ChiralBatchNorm(FREE)), nn.BatchNorm1d(FREE.width).double(), off_centre(FREE, 7)
    flipped = x.clone()
    flipped[2] = transform(x[2], FREE, 0)
    expected = norm(x)
    expected[2] = transform(expected[2], FREE, 0)
    torch.testing.assert_close(norm(flipped), expected, atol=1e-12, rtol=0)
    others = [0, 1, 3, 4, 5]
    assert (plain(flipped)[others] - plain(x)[others]).abs().max() > 0.1


@whose
@pytest.mark.parametrize("bias", [False, True])
def test_a_norm_folds_into_the_layer_before_it(paper_exact: bool, bias: bool):
    torch.manual_seed(0)
    before = randomised(ChiralConv1d(BODY, FREE, 3, bias=bias, paper_exact=paper_exact))
    norm, x = randomised(ChiralBatchNorm(FREE)), rows(BODY, 9)
    norm(before(off_centre(BODY, 9)))
    folded = fold_norm(before, norm.eval())
    torch.testing.assert_close(folded(x), norm(before(x)))
    assert violation(folded, x, BODY, FREE, dim=1) < 1e-13


@pytest.mark.parametrize("odd", [torch.tanh, F.hardtanh, F.softsign])
@pytest.mark.parametrize("function", [F.relu, F.gelu, torch.sigmoid, torch.tanh])
def test_a_pointwise_layer_applies_the_odd_function_to_central_negated_numbers_only(
    function: Callable[[Tensor], Tensor], odd: Callable[[Tensor], Tensor]
):
    layer, x = Pointwise(FREE, function, odd), rows(FREE)
    assert violation(layer, x, FREE, FREE) < 1e-15  # vectorised code rounds differently at the end of a row
    sides, cn, cp = x.split([2 * FREE.pairs, FREE.cn, FREE.cp], -1)
    assert (layer(x) - torch.cat([function(sides), odd(cn), function(cp)], -1)).abs().max() < 1e-15


def test_a_pointwise_layer_commutes_with_t_along_frames():
    assert violation(Pointwise(FREE, F.relu, dim=1), rows(FREE, 5), FREE, FREE, dim=1) == 0


def test_only_an_odd_function_does_not_depend_on_the_storage_order():
    order, x = paper_order(FREE), rows(FREE)
    for function, same in ((torch.tanh, True), (F.relu, False)):
        assert torch.allclose(leave(order)(function(enter(order)(x))), function(x)) == same


def test_a_gate_commutes_with_t():
    torch.manual_seed(0)
    layer = randomised(ChiralGate(FREE))
    x = rows(FREE)
    assert violation(layer, x, FREE, FREE) < 1e-14
    assert (layer(x) / x).min() > 0


def test_t_exchanges_the_logits_of_sided_classes_only():
    torch.manual_seed(0)
    mirror = (0, 2, 1, 3)
    head, x = randomised(ChiralLogits(FREE, mirror)), rows(FREE)
    logits, flipped = head(x), head(transform(x, FREE))
    torch.testing.assert_close(flipped, logits[:, list(mirror)])
    assert (logits[:, 1] - logits[:, 2]).abs().min() > 1e-3


def test_logits_without_sided_classes_are_invariant():
    head, x = ChiralLogits(FREE, range(6)).double(), rows(FREE)
    assert torch.equal(head(transform(x, FREE)), head(x))


def test_sided_classes_from_invariant_features_are_refused():
    with pytest.raises(ValueError, match="to tell mirrored classes apart"):
        ChiralLogits(invariant(8), (1, 0))


def test_dropout_commutes_with_t_only_in_evaluation():
    layer, x = nn.Dropout(0.5), rows(FREE)
    assert violation(layer, x, FREE, FREE) > 0.1
    assert violation(layer.eval(), x, FREE, FREE) == 0


def evaluated(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    """Return the norm in evaluation mode, with the statistics of one batch. In training mode, flipping the whole batch commutes."""
    norm(off_centre(FREE).float())
    return norm.eval()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(FREE.width, FREE.width),
        Pointwise(FREE, torch.sigmoid, torch.sigmoid),
        evaluated(nn.BatchNorm1d(FREE.width)),
        nn.LayerNorm(FREE.width),
        nn.Sequential(ChiralLinear(FREE, FREE), nn.Hardtanh(-0.5, 1.0)),
    ],
    ids=[
        "plain linear",
        "sigmoid on odd channels",
        "ordinary batch norm",
        "LayerNorm over all",
        "function that is not odd",
    ],
)
def test_the_violation_of_a_plain_layer_is_large(layer: nn.Module):
    assert violation(layer.double(), off_centre(FREE), FREE, FREE) > 0.1


@pytest.mark.parametrize(
    "nonlinearity", [nn.Tanh(), Pointwise(HIDDEN_FREE, F.gelu, dim=1)], ids=["tanh", "gelu and tanh"]
)
def test_a_network_in_float32_commutes_with_t_to_1e_6(nonlinearity: nn.Module):
    torch.manual_seed(0)
    order, out, hidden = order_of(H36M, 2, (0,)), order_of(H36M, 3, (0,)), HIDDEN_FREE
    body = nn.Sequential(
        *(ChiralConv1d(order.spec, hidden, 3), ChiralBatchNorm(hidden), nonlinearity, nn.Dropout(0.25)),
        *(ChiralConv1d(hidden, hidden, 3, dilation=3), ChiralBatchNorm(hidden), nonlinearity, nn.Dropout(0.25)),
        ChiralConv1d(hidden, out.spec, 1, gain=1.0),
    )

    def network(x: Tensor) -> Tensor:
        return leave(out)(body(enter(order)(x).transpose(1, 2)).transpose(1, 2))

    x = torch.randn(4, 20, 34)
    network(x)
    body.eval()
    flipped, answer = network(mirrored(order)(x)), network(x)
    torch.testing.assert_close(flipped, mirrored(out)(answer), atol=1e-6, rtol=0)
    assert answer.std() > 0.1
