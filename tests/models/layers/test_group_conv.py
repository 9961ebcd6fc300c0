"""Tests of correlations that commute with groups: definitions, exactness, what breaks it, parameters, folding and graphs."""

from collections import Counter
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract.tensor import TensorSpec
from models.layers.freezing import frozen
from models.layers.group import (
    C,
    D,
    Group,
    Planar,
    Representation,
    Scale,
    act_on_features,
    act_on_image,
    moved,
    sided,
    vectors,
)
from models.layers.group_conv import (
    Doubling,
    GroupCorrelation,
    Halving,
    Isotropic,
    Lifting,
    Projecting,
    Projection,
    SharedBatchNorm,
    sampling,
    spline,
)
from training.engine.export import onnx_runner, to_onnx

pytestmark = pytest.mark.long(20)

EXACT = {"C1": C(1), "D1": D(1), "C4": C(4), "D4": D(4)}
EIGHT, SCALES = C(8), Scale(4, 2**0.5)
TOLERANCE = 1e-5
BROKEN = 0.05
MIRROR = (1, 0, 2)

every_exact = pytest.mark.parametrize("group", EXACT.values(), ids=EXACT)


def with_statistics(network: nn.Module) -> nn.Module:
    """Give every normalisation random statistics and weights, and every bias a random value; return the network in evaluation mode."""
    for module in network.modules():
        if isinstance(module, SharedBatchNorm):
            for tensor in (module.running_mean, module.bias):
                nn.init.normal_(tensor, std=0.3)  # pyright: ignore[reportArgumentType] - it tracks statistics
            for tensor in (module.running_var, module.weight):
                nn.init.uniform_(tensor, 0.5, 2)  # pyright: ignore[reportArgumentType]
        elif isinstance(bias := getattr(module, "bias", None), nn.Parameter):
            nn.init.normal_(bias, std=0.3)
    return network.eval()


def unet(group: Planar, *, odd: bool = True, last: nn.Module | None = None) -> nn.Module:
    """Return a network with every kind of layer, from images to three heatmaps."""
    down = GroupCorrelation(group, 4, 4, 3, norm=True, stride=2) if odd else Halving()
    return with_statistics(
        nn.Sequential(
            Lifting(group, 1, 4, 5, norm=True),
            nn.ReLU(),
            down,
            GroupCorrelation(group, 4, 6, 3, norm=True),
            nn.ReLU(),
            Doubling(odd=odd),
            last or Projecting(group, 6, 3, 3, representation=sided(group, MIRROR)),
        )
    )


def apart(network: nn.Module, group: Group, image: Tensor, rho: Representation | None = None) -> float:
    """Return the largest |f(L_g x) - L_g f(x)| over the group, relative to the largest |f(x)|."""
    with torch.no_grad():
        answer = network(image)
        errors = [
            (network(act_on_image(group, g, image)) - act_on_image(group, g, answer, rho)).abs().max()
            for g in group.elements
        ]
    return float(max(errors) / answer.abs().max())


# --- exact equivariance ---


@every_exact
@pytest.mark.parametrize("odd", [True, False])
def test_a_network_of_all_layers_commutes_with_its_group(group: Planar, odd: bool):
    image = torch.randn(2, 1, 17 if odd else 16, 17 if odd else 16)
    network = unet(group, odd=odd)
    assert network(image).std() > BROKEN
    assert apart(network, group, image, sided(group, MIRROR)) <= TOLERANCE
    for how in ("mean", "max"):
        assert apart(unet(group, odd=odd, last=Projection(group, how)), group, image) <= TOLERANCE


@pytest.mark.parametrize("of", [C(1), D(1), C(4)], ids=["plain", "D1", "C4"])
def test_a_network_of_a_smaller_group_breaks_the_larger_one(of: Planar):
    assert apart(unet(of), D(4), torch.randn(2, 1, 17, 17), sided(D(4), MIRROR)) > BROKEN


def test_heatmaps_without_the_exchange_of_left_and_right_break_the_law():
    group = D(1)
    assert apart(unet(group), group, torch.randn(2, 1, 17, 17)) > BROKEN


@every_exact
def test_layers_commute_with_the_left_regular_representations(group: Planar):
    image, features = torch.randn(2, 3, 9, 9), torch.randn(2, 3 * len(group.elements), 9, 9)
    lift, correlate = Lifting(group, 3, 2, 3), GroupCorrelation(group, 3, 2, 3)
    isotropic = Isotropic(group, 3, 2, 3)
    for g in group.elements:
        expected = act_on_features(group, g, lift(image))
        assert torch.allclose(lift(act_on_image(group, g, image)), expected, atol=TOLERANCE)
        expected = act_on_features(group, g, correlate(features))
        assert torch.allclose(correlate(act_on_features(group, g, features)), expected, atol=TOLERANCE)
        expected = act_on_image(group, g, isotropic(image))
        assert torch.allclose(isotropic(act_on_image(group, g, image)), expected, atol=TOLERANCE)


def test_normals_enter_by_the_representation_of_vectors():
    group, image = D(4), torch.randn(2, 2, 9, 9)
    lift = Lifting(group, 2, 3, 3, representation=vectors(group))
    for g in group.elements:
        turned = act_on_image(group, g, image, vectors(group))
        assert torch.allclose(lift(turned), act_on_features(group, g, lift(image)), atol=TOLERANCE)
        if g:
            as_scalars = lift(act_on_image(group, g, image))
            assert not torch.allclose(as_scalars, act_on_features(group, g, lift(image)), atol=BROKEN)


@every_exact
def test_a_training_step_keeps_the_symmetry(group: Planar):
    network, image = unet(group).train(), torch.randn(4, 1, 17, 17)
    image = torch.cat([act_on_image(group, g, image) for g in group.elements])  # a batch that the group permutes
    network(image).square().mean().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    assert apart(network.eval(), group, image, sided(group, MIRROR)) <= TOLERANCE


# --- definitions: the slow twins ---


def value(coefficients: Tensor, size: int, at: np.ndarray, degree: int) -> float:
    """Return the kernel at one place, a sum of splines over the pixels of a square grid."""
    half = (size - 1) // 2
    centres = product(range(-half, half + 1), repeat=2)  # rows, columns
    return sum(
        c * spline(at[:1] - x, degree)[0] * spline(at[1:] - y, degree)[0]
        for c, (y, x) in zip(coefficients.tolist(), centres, strict=True)
    )


def test_a_lifting_and_a_group_correlation_are_the_sums_of_their_definitions():
    group, size = D(4), 3
    image, features = torch.randn(1, 1, 5, 5), torch.randn(1, 8, 5, 5)
    lift, correlate = Lifting(group, 1, 1, size), GroupCorrelation(group, 1, 1, size)
    lifted, correlated = lift(image)[0], correlate(features)[0]
    x = np.array([2, 2])
    for h in group.elements:
        back = np.linalg.inv(group.matrix(h))
        places = [(np.array(place), back @ (np.array(place) - x)) for place in product(range(5), repeat=2)]
        expected = sum(value(lift.coefficients[0, 0], size, k, 1) * image[0, 0, p[1], p[0]] for p, k in places)
        assert torch.allclose(lifted[h, 2, 2], torch.as_tensor(expected), atol=TOLERANCE)
        expected = sum(
            value(correlate.coefficients[0, 0, group.product(group.inverse(h), to)], size, k, 1)
            * features[0, to, p[1], p[0]]
            for p, k in places
            for to in group.elements
        )
        assert torch.allclose(correlated[h, 2, 2], torch.as_tensor(expected), atol=TOLERANCE)


def test_kernels_of_scales_are_divided_by_the_determinant_and_do_not_reach_beyond_the_ends():
    layer = GroupCorrelation(SCALES, 1, 1, 5)
    kernel = layer.kernel()[:, :, 8, 8]  # (scale out, scale in) at the centre
    assert kernel.shape == (4, 4)
    reached = [[abs(j - i) <= 1 for j in range(4)] for i in range(4)]
    assert (kernel != 0).tolist() == reached
    sums = sampling(SCALES, 5).sum(1)  # integrals of splines, which are 1
    assert (sums - 1).abs().max() < 0.01


@pytest.mark.parametrize("group", [D(1), C(4)], ids=["D1", "C4"])
def test_every_convolution_that_commutes_is_a_group_correlation(group: Planar):
    """The kernels that the group keeps are a space; those of the layer are as many dimensions of it."""
    n, size = len(group.elements), 3
    basis = torch.eye(n * n * size * size).reshape(-1, n, n, size, size)
    kept = [
        torch.stack(
            [moved(k[[group.product(group.inverse(g), h) for h in group.elements]], group.matrix(g)) for k in basis]
        )
        for g in group.elements
    ]  # fmt: skip - the same permutation of columns follows
    back = [[group.product(group.inverse(g), h) for h in group.elements] for g in group.elements]
    mean = torch.stack([k[:, :, back[g]] for g, k in zip(group.elements, kept, strict=True)]).mean(0).flatten(1)
    layer = GroupCorrelation(group, 1, 1, size)
    free = layer.coefficients.numel()
    assert torch.linalg.matrix_rank(mean) == free
    kernel = layer.kernel().flatten()
    assert torch.allclose(mean.T @ kernel, kernel, atol=TOLERANCE)  # and each kernel of the layer is in it


def test_an_isotropic_kernel_is_kept_by_the_group():
    kernel = Isotropic(D(4), 2, 3, 5).kernel()
    assert all(torch.allclose(moved(kernel, D(4).matrix(g)), kernel, atol=TOLERANCE) for g in D(4).elements)
    assert len({round(x, 4) for x in kernel[0, 0].flatten().tolist()}) == 6  # orbits of 25 pixels


# --- what breaks exactness ---


def test_stride_2_on_even_sizes_is_refused_because_it_breaks_the_symmetry():
    group = C(4)
    layer = GroupCorrelation(group, 2, 2, 3, stride=2).requires_grad_(False)
    features = torch.randn(1, 8, 16, 16)
    with pytest.raises(ValueError, match="odd height and width"):
        layer(features)

    def strided(features: Tensor) -> Tensor:
        return F.conv2d(features, layer.kernel(), None, 2, 1)

    def error(features: Tensor) -> float:
        turned, expected = strided(act_on_features(group, 1, features)), act_on_features(group, 1, strided(features))
        return float((turned - expected).abs().max())

    assert error(features) > BROKEN
    assert error(torch.randn(1, 8, 17, 17)) <= TOLERANCE


def test_halving_odd_sizes_is_refused_because_it_breaks_the_symmetry():
    image = torch.randn(1, 1, 9, 9)
    with pytest.raises(ValueError, match="even height and width"):
        Halving()(image)
    assert (F.avg_pool2d(image.flip(-1), 2) - F.avg_pool2d(image, 2).flip(-1)).abs().max() > BROKEN


def blobs(size: int = 49) -> Tensor:
    """Return a smooth image that vanishes at its border."""
    at = torch.arange(size) - (size - 1) / 2
    image = torch.zeros(size, size)
    for x, y, width, height in [(6.0, 3.0, 3.0, 1.0), (-7.0, 5.0, 2.5, -0.8), (1.0, -8.0, 4.0, 0.7)]:
        image += height * torch.exp(-((at[None] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * width**2))
    return image[None, None]


def lifting_error(kernels: Tensor, group: Group, g: int, image: Tensor) -> float:
    """Return the largest relative |k * L_g f - L_g (k * f)| of a lifting with these kernels, one for each element."""

    def lift(image: Tensor) -> Tensor:
        return F.conv2d(image, kernels[:, None], None, 1, kernels.shape[-1] // 2)

    expected = act_on_features(group, g, lift(image))
    return float((lift(act_on_image(group, g, image)) - expected).abs().max() / expected.abs().max())


def test_square_corners_break_eighths_of_a_turn_and_a_disk_of_cubic_splines_does_not():
    corner = torch.zeros(9, 9)
    corner[0, 0] = 1
    square = torch.stack([moved(corner[None, None], EIGHT.matrix(h))[0, 0] for h in EIGHT.elements])
    assert lifting_error(square, EIGHT, 1, blobs()) > 0.3
    rounded = Lifting(EIGHT, 1, 1, 9).kernel()[:, 0].detach()
    assert lifting_error(rounded, EIGHT, 1, blobs()) < 0.01


def test_tents_turn_worse_than_cubic_splines():
    errors = []
    for degree in (1, 3):
        made = sampling(EIGHT, 5, degree)
        coefficients = torch.randn(made.shape[2])
        kernels = (made @ coefficients).unflatten(1, (5, 5))
        errors.append(lifting_error(kernels, EIGHT, 1, blobs()))
    assert errors[1] < errors[0] / 2


def test_a_scale_axis_that_wraps_around_breaks_equivariance_and_one_with_ends_does_not():
    class Circle(Scale):
        def product(self, g: int, h: int) -> int:
            return (g + h) % self.steps

        @property
        def offsets(self) -> range:
            return range(self.steps)

    def error(group: Scale) -> float:
        torch.manual_seed(0)
        lift, correlate = Lifting(SCALES, 1, 2, 5), GroupCorrelation(group, 2, 2, 5)
        with torch.no_grad():
            features, scaled = (correlate(F.relu(lift(x))) for x in (blobs(97), moved(blobs(97), SCALES.matrix(1))))
        inner = slice(2, 3)  # scales 0 and 3 are ends, and so is 1 before it is scaled
        expected = act_on_features(SCALES, 1, features).unflatten(1, (2, 4))[:, :, inner]
        return float((scaled.unflatten(1, (2, 4))[:, :, inner] - expected).norm() / expected.norm())

    assert error(SCALES) < 0.05
    assert error(Circle(4, 2**0.5)) > 0.15


@pytest.mark.parametrize("size", [2, 4])
def test_an_even_kernel_is_refused(size: int):
    with pytest.raises(ValueError, match="odd kernel"):
        Lifting(C(4), 1, 1, size)


# --- parameters ---


def weights(network: nn.Module) -> int:
    return sum(p.numel() for name, p in network.named_parameters() if name.endswith("coefficients"))


@every_exact
def test_a_group_correlation_has_the_parameters_of_an_ordinary_one_divided_by_the_order(group: Planar):
    n, channels = len(group.elements), 8
    plain = nn.Conv2d(channels, channels, 3)
    layer = GroupCorrelation(group, channels // n, channels // n, 3)
    assert layer.kernel().shape == plain.weight.shape
    assert weights(layer) * n == plain.weight.numel()


def test_without_a_group_the_layer_is_an_ordinary_convolution():
    layer, x = GroupCorrelation(C(1), 3, 4, 3), torch.randn(2, 3, 8, 8)
    kernel = layer.coefficients.reshape(4, 3, 3, 3)
    assert torch.equal(layer(x), F.conv2d(x, kernel, layer.bias, padding=1))


# --- folding and graphs ---


@every_exact
def test_a_folded_network_consists_of_plain_convolutions_and_gives_the_same_answers(group: Planar):
    network, image = unet(group), torch.randn(2, 1, 17, 17)
    twin = frozen(network)
    assert {type(m) for m in twin.modules() if next(m.children(), None) is None} == {nn.Conv2d, nn.ReLU, Doubling}
    assert (twin(image) - network(image)).abs().max() <= TOLERANCE
    assert weights(network) > 0  # the network itself is not folded


@pytest.mark.parametrize(
    ("last", "operations"),
    [
        (None, {"Conv": 4, "Relu": 2}),
        (Projection(D(1), "max"), {"Conv": 3, "Relu": 2, "Reshape": 1, "ReduceMax": 1}),
        (Projection(D(1), "mean"), {"Conv": 3, "Relu": 2, "Reshape": 1, "ReduceMean": 1}),
    ],
    ids=["projecting", "max", "mean"],
)
def test_the_graph_has_convolutions_nonlinearities_and_what_projection_needs(
    last: nn.Module | None, operations: dict[str, int]
):
    group = D(1)
    network: Any = with_statistics(
        nn.Sequential(
            Lifting(group, 1, 4, 3, norm=True),
            nn.ReLU(),
            GroupCorrelation(group, 4, 4, 3, norm=True, stride=2),
            nn.ReLU(),
            GroupCorrelation(group, 4, 3, 3, norm=True),
            last or Projecting(group, 3, 3, 3, representation=sided(group, MIRROR)),
        )
    )
    folded: Any = frozen(network)
    folded.task = SimpleNamespace(
        axes={},
        inputs={"image": TensorSpec(shape=("batch", 1, 17, 17), unit="")},
        outputs={"heatmaps": TensorSpec(shape=("batch", 3, 9, 9), unit="")},
    )
    image = torch.randn(2, 1, 17, 17)
    graph = to_onnx(folded, {"image": image[:1].numpy()})
    assert Counter(node.op_type for node in onnx.load_from_string(graph).graph.node) == operations
    with torch.no_grad():
        expected = network(image).numpy()
    assert np.abs(onnx_runner(graph)({"image": image.numpy()})["heatmaps"] - expected).max() <= TOLERANCE
