"""Errors of equivariance of networks of one family, from a plain one to turns, mirrors and scales, as tables for docs/symmetry.md.

The networks have random weights, because symmetry is a property of the layers and not of training. The image is the mean face of
ICT-FaceKit, seen from the front as depth.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from models.layers.group import C, D, Group, Planar, Scale, act_on_features, act_on_image, moved
from models.layers.group_conv import Correlation, GroupCorrelation, Lifting, Projection, sampling
from models.pictures.surfels import Frame, surfels, view
from models.scans.sampling import sample_surface
from training.tasks.faces.ict import read_model

SIZE, PIXEL_MM = 97, 2.4
CHANNELS, KERNEL, LAYERS, SEEDS = 24, 7, 3, 3
Images = Float[Tensor, "batch channels height width"]


def disk(size: int, inner: float, outer: float) -> Float[Tensor, "size size"]:
    """Return 1 up to `inner` times half the size from the centre, 0 beyond `outer`, and a smooth step between."""
    at = (torch.arange(size) - (size - 1) / 2) / (size / 2)
    radius = torch.hypot(at[None], at[:, None])
    return (1 + torch.cos(torch.pi * ((radius - inner) / (outer - inner)).clamp(0, 1))) / 2


def face(data: Path) -> Images:
    """Return the relief of the mean face: its depth less the depth around, smoothed, fading out towards the border."""
    model = read_model(data / "faces")
    kept = model.triangles[model.masks["front"][model.triangles].all(axis=1)]
    points = 1000 * sample_surface(model.mean, kept, 40_000)
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    half = SIZE * PIXEL_MM / 2
    depth = view(surfels(points), Frame((-half, -half), (half, half), PIXEL_MM), np.zeros((len(points), 0))).depth
    seen = np.isfinite(depth)
    depth = np.where(seen, depth, 0)

    def smooth(pixels: float) -> np.ndarray:
        return gaussian_filter(depth, pixels) / np.maximum(gaussian_filter(seen.astype(float), pixels), 1e-3)

    relief = np.where(seen, smooth(1.2) - smooth(7), 0)
    image = torch.from_numpy(gaussian_filter(relief, 1.2)).float()
    return (image / image.abs().max() * disk(SIZE, 0.7, 0.95))[None, None]


def network(group: Group, seed: int, *, how: str = "max", layers: int = LAYERS, channels: int = CHANNELS) -> nn.Module:
    """Return a random network from images to images whose feature maps have `channels` numbers a pixel, whatever the group."""
    torch.manual_seed(seed)
    width = max(1, channels // len(group.elements))
    hidden = [layer for _ in range(layers - 1) for layer in (nn.ReLU(), GroupCorrelation(group, width, width, KERNEL))]
    return nn.Sequential(Lifting(group, 1, width, KERNEL), *hidden, Projection(group, how)).eval()  # pyright: ignore


def with_tents(network: nn.Module) -> nn.Module:
    """Give a network kernels that are interpolated bilinearly, in place of cubic splines."""
    for layer in network.modules():
        if isinstance(layer, Correlation):
            layer.sampling = sampling(layer.group, KERNEL, degree=1)
            layer.coefficients = nn.Parameter(torch.randn(*layer.coefficients.shape[:-1], layer.sampling.shape[2]))
    return network


def apart(function: Callable[[Images], Images], image: Images, matrix: np.ndarray) -> float:
    """Return |f(L x) - L f(x)| / |L f(x)|, the L2 norms in a disk."""
    with torch.no_grad():
        expected, actual = moved(function(image), matrix), function(moved(image, matrix))
    inside = disk(image.shape[-1], 0.65, 0.66)
    return float(((actual - expected) * inside).norm() / (expected * inside).norm())


def turned(degrees: float) -> np.ndarray:
    """Return the matrix of a turn, exact at multiples of 90 degrees."""
    c, s = np.round([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], 15)
    return np.array([[c, -s], [s, c]])


MIRROR = np.diag([-1.0, 1.0])


def percent(value: float) -> str:
    """Return a relative error as a percentage, or as it is if it is rounding."""
    if value < 1e-4:
        return f"{value:.0e}" if value else "0"
    return f"{100 * value:.1f} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mean_error(build: Callable[[int], nn.Module], image: Images, matrix: np.ndarray) -> float:
    """Return the mean error over seeds."""
    return float(np.mean([apart(build(seed), image, matrix) for seed in range(SEEDS)]))


def table_of_turns(image: Images) -> str:
    """Return the errors of networks by their group and by the transformation."""
    columns = {"mirror": MIRROR, "90°": turned(90), "45°": turned(45), "30°": turned(30), "halfway": None}
    groups: dict[str, tuple[Planar, bool]] = {
        "C1, plain": (C(1), False), "D1": (D(1), False), "C4": (C(4), False), "D4": (D(4), False), "C8": (C(8), False),
        "D8": (D(8), False), "C12": (C(12), False), "C24": (C(24), False), "C12, bilinear": (C(12), True),
    }  # fmt: skip
    rows = []
    for name, (group, tents) in groups.items():

        def build(seed: int, group: Planar = group, tents: bool = tents) -> nn.Module:
            return with_tents(network(group, seed)) if tents else network(group, seed)

        parameters = sum(p.numel() for p in build(0).parameters())
        halfway = turned(180 / group.turns)
        errors = [mean_error(build, image, halfway if m is None else m) for m in columns.values()]
        rows.append([name, f"{parameters:,}", *map(percent, errors)])
    return table(["group", "parameters", *columns], rows)


class Circular(Scale):
    """A scale axis that wraps around, as an angle does: wrong, and here to be measured."""

    def product(self, g: int, h: int) -> int:
        """Return the sum of exponents modulo their number."""
        return (g + h) % self.steps

    @property
    def offsets(self) -> range:
        """Return all exponents."""
        return range(self.steps)


def table_of_scales(image: Images) -> str:
    """Return the errors of networks by their group and by the factor."""
    image = moved(image, 0.5 * np.eye(2))
    factors = {"1.19 (between samples)": 2**0.25, "1.41": 2**0.5, "1.68 (between)": 2**0.75, "2": 2.0}
    groups: dict[str, Group] = {
        "C1, plain": C(1),
        "6 scales of ratio 1.41": Scale(6, 2**0.5),
        "6 scales, wrapped around": Circular(6, 2**0.5),
    }
    rows = []
    for name, group in groups.items():

        def build(seed: int, group: Group = group) -> nn.Module:
            return small(group, seed)

        errors = [mean_error(build, image, factor * np.eye(2)) for factor in factors.values()]
        inner = ["", ""]
        if isinstance(group, Scale):
            inner = [percent(error_away_from_ends(build, group, image, steps)) for steps in (1, 2)]
        rows.append([name, *map(percent, errors), *inner])
    return table(["group", *factors, "1.41, away from the ends", "2, away from the ends"], rows)


def error_away_from_ends(build: Callable[[int], nn.Module], group: Scale, image: Images, steps: int) -> float:
    """Return the mean error over seeds, before projection, of the scales whose answers depend on no end of the axis."""
    inner = slice(steps + group.reach, len(group.elements) - group.reach)
    inside = disk(image.shape[-1], 0.65, 0.66)
    errors = []
    for seed in range(SEEDS):
        *layers, _ = build(seed).children()
        body = nn.Sequential(*layers)
        with torch.no_grad():
            pair = act_on_features(group, steps, body(image)), body(act_on_image(group, steps, image))
        expected, actual = (x.unflatten(1, (-1, len(group.elements)))[:, :, inner] * inside for x in pair)
        errors.append(float((actual - expected).norm() / expected.norm()))
    return float(np.mean(errors))


def small(group: Group, seed: int) -> nn.Module:
    """Return a random network with kernels of 5 pixels at the smallest scale."""
    torch.manual_seed(seed)
    width = 12 // len(group.elements)
    layers = Lifting(group, 1, width, 5), nn.ReLU(), GroupCorrelation(group, width, width, 5), nn.ReLU()
    return nn.Sequential(*layers, Projection(group, "max")).eval()
