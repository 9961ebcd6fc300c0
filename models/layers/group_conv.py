"""Lifting, group and isotropic correlations: linear maps that commute with a group, each as one conv2d.

By Bekkers' theorem (arXiv:1909.12057, theorem 1), a bounded linear map between functions on homogeneous spaces that commutes with a group
is an integral with one kernel, and the spaces determine what the kernel may be. With H acting on the plane and |h| = |det h|:

- `Lifting`, from images to the group: (k * f)(x, h) = 1 / |h| sum over x' of k(h^-1 (x' - x)) f(x');
- `GroupCorrelation`, on the group: (k * F)(x, h) = 1 / |h| sum over x', h' of k(h^-1 (x' - x), h^-1 h') F(x', h');
- `Projecting`, from the group to images: the mean over h of rho(h) (k * F)(x, h);
- `Isotropic`, from images to images: the kernel must satisfy k(h x) = k(x).

A kernel is a function on the plane, the sum of coefficients times B-splines at the pixels of a small grid. Element h sees it sampled at
h^-1 x, by one constant matrix. If all elements map pixels to pixels, splines of degree 1 are used: they are 1 at their own pixel and 0 at
others, so the coefficients are an ordinary kernel and nothing is interpolated. Other groups have cubic splines inside a disk.

The kernel of a conv2d is as large as that of a plain layer with as many channels, so a group saves parameters (1 / N) and no products.
`models.layers.freezing.frozen` turns each layer, its normalisation and its mean over the group into one ordinary convolution.
"""

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.layers.group import Group, Images, Representation

Sampling = Float[Tensor, "elements pixels coefficients"]
ROUNDING = 1e-9  # of a determinant
Mapped = Float[Tensor, "batch mapped mapped_height mapped_width"]


def spline(x: np.ndarray, degree: int) -> np.ndarray:
    """Return the centred cardinal B-spline of degree 1 or 3."""
    x = np.abs(x)
    if degree == 1:
        return np.maximum(1 - x, 0)
    return np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.maximum(2 - x, 0) ** 3 / 6)


def centres(group: Group, size: int, degree: int) -> Float[np.ndarray, "coefficients 2"]:
    """Return the (x, y) of the splines: those of all pixels, or of a disk that stays on the grid if the group interpolates."""
    half = (size - 1) / 2
    at = np.stack(np.meshgrid(*2 * [np.arange(size) - half]), -1).reshape(-1, 2)
    if group.permutes_pixels:
        return at
    return at[np.hypot(*at.T) <= half + (0.5 if degree == 1 else -0.5)]


def degree_of(group: Group, size: int) -> int:
    """Return the degree of the splines: 1 where nothing is interpolated, 3 elsewhere."""
    return 1 if group.permutes_pixels or size == 1 else 3


def sampling(group: Group, size: int, degree: int | None = None) -> Sampling:
    """Return phi_b(h^-1 x) / |h| for each element h, pixel x of a kernel and spline b; a kernel is this times its coefficients.

    The grid has `size` x `size` pixels, times the largest scale. Raises ValueError for an even size, which has no pixel at its centre.
    """
    if size % 2 == 0:
        raise ValueError(f"expected an odd kernel, which has a pixel at its centre, got {size}")
    degree = degree or degree_of(group, size)
    at = centres(group, size, degree)
    largest = max(math.sqrt(abs(np.linalg.det(group.matrix(h)))) for h in group.elements)
    reach = math.ceil((size + 1) / 2 * largest - ROUNDING) - 1 if size > 1 else 0
    x = np.stack(np.meshgrid(*2 * [np.arange(-reach, reach + 1)]), -1).reshape(-1, 2)
    rows = []
    for h in group.elements:
        matrix = group.matrix(h)
        back = x @ np.linalg.inv(matrix).T
        values = spline(back[:, None] - at, degree).prod(-1)
        rows.append(values / abs(np.linalg.det(matrix)) if size > 1 else values)  # one pixel is a point, and stays one
    return torch.from_numpy(np.stack(rows)).float()


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of feature maps on a group: the elements of a channel share statistics, scale and shift."""

    def __init__(self, channels: int, elements: int) -> None:
        super().__init__(channels)
        self.elements = elements

    def forward(self, input: Images) -> Images:
        shared = super().forward(input.unflatten(1, (-1, self.elements)).flatten(2, 3))
        return shared.unflatten(2, (self.elements, -1)).flatten(1, 2)

    def scale_and_shift(self) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
        """Return the scale and shift of each channel in evaluation, the same for all elements."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return scale.repeat_interleave(self.elements), shift.repeat_interleave(self.elements)


class Correlation(nn.Module):
    """A linear map between functions that commutes with a group, optionally with batch normalisation after it.

    `coefficients` are the free numbers of the kernel; subclasses say by `kernel` what they determine. `stride` 2 needs odd heights and
    widths: then the pixels that are kept lie symmetrically about the centre, and size 2 n + 1 becomes n + 1. Outside the image counts as 0.
    """

    sampling: Sampling

    def __init__(
        self,
        group: Group,
        shape: tuple[int, ...],
        size: int,
        *,
        elements: int,
        norm: bool,
        stride: int,
    ) -> None:
        super().__init__()
        self.group, self.stride, self.elements = group, stride, elements
        self.register_buffer("sampling", sampling(group, size), persistent=False)
        self.coefficients = nn.Parameter(torch.empty(*shape, self.sampling.shape[2]))
        self.bias = None if norm else nn.Parameter(torch.zeros(shape[0]))
        self.norm = SharedBatchNorm(shape[0], elements) if norm else nn.Identity()
        self.plain: nn.Conv2d | None = None
        size_of_splines = self.sampling.square().sum() / len(
            self.sampling
        )  # as many as coefficients, without interpolation
        with torch.no_grad():
            self.coefficients.normal_(0, math.sqrt(2 / (math.prod(shape[1:]) * float(size_of_splines))))

    def kernel(self) -> Float[Tensor, "rows columns height width"]:
        """Return the kernel of the conv2d; each kind of correlation has its own."""
        raise NotImplementedError

    def forward(self, x: Images) -> Mapped:
        if self.stride == 2 and not (x.shape[-1] % 2 and x.shape[-2] % 2):
            raise ValueError(f"expected odd height and width before stride 2, got {tuple(x.shape[-2:])}")
        if self.plain is not None:
            return self.plain(x)
        kernel = self.kernel()
        return self.norm(F.conv2d(x, kernel, self.shift(), self.stride, kernel.shape[-1] // 2))

    def shift(self) -> Float[Tensor, " rows"] | None:
        """Return the bias of the conv2d, or None if normalisation follows; the elements of a channel share one."""
        return None if self.bias is None else self.bias.repeat_interleave(self.elements)

    @torch.no_grad()
    def fold(self) -> None:
        """Become one ordinary convolution, which contains the normalisation and can no longer be trained."""
        kernel = self.kernel()
        scale, shift = torch.ones(len(kernel)), torch.zeros(len(kernel))
        if isinstance(self.norm, SharedBatchNorm):
            scale, shift = self.norm.scale_and_shift()
        elif (bias := self.shift()) is not None:
            shift = bias
        self._become(kernel * scale.to(kernel)[:, None, None, None], shift)

    def _become(self, kernel: Tensor, bias: Tensor) -> None:
        out, into, size, _ = kernel.shape
        self.plain = nn.Conv2d(into, out, size, self.stride, size // 2).to(kernel)
        self.plain.weight.data.copy_(kernel)
        self.plain.bias.data.copy_(bias)  # pyright: ignore[reportOptionalMemberAccess] - it has one
        del self.coefficients, self.bias, self.norm, self.sampling

    def _square(self, kernel: Float[Tensor, "rows columns pixels"]) -> Float[Tensor, "rows columns height width"]:
        return kernel.unflatten(-1, (math.isqrt(kernel.shape[-1]), -1))


class Lifting(Correlation):
    """A correlation from images to feature maps on the group, for each element with the kernel that it moves.

    `representation` is that of the channels of the image, trivial by default: (k * f)(x, h) = 1 / |h| sum over x' of
    k(h^-1 (x' - x)) rho(h)^-1 f(x').
    """

    representation: Representation | None

    def __init__(
        self,
        group: Group,
        cin: int,
        cout: int,
        size: int,
        *,
        norm: bool = False,
        stride: int = 1,
        representation: Representation | None = None,
    ) -> None:
        super().__init__(group, (cout, cin), size, elements=len(group.elements), norm=norm, stride=stride)
        self.register_buffer("representation", representation, persistent=False)

    def kernel(self) -> Float[Tensor, "rows columns height width"]:
        kernel = torch.einsum("hpb,cib->chip", self.sampling, self.coefficients)
        if self.representation is not None:  # its matrices are orthogonal, so that the inverse is the transpose
            kernel = torch.einsum("chip,hji->chjp", kernel, self.representation)
        return self._square(kernel.flatten(0, 1))


class GroupCorrelation(Correlation):
    """A correlation from feature maps on the group to feature maps on the group."""

    relative: Tensor

    def __init__(
        self, group: Group, cin: int, cout: int, size: int, *, norm: bool = False, stride: int = 1, elements: int = 0
    ) -> None:
        offsets = group.offsets
        super().__init__(
            group, (cout, cin, len(offsets)), size, elements=elements or len(group.elements), norm=norm, stride=stride
        )
        table = [[group.product(group.inverse(h), to) for to in group.elements] for h in group.elements]
        places = [[offsets.index(o) if o in offsets else len(offsets) for o in row] for row in table]
        self.register_buffer("relative", torch.tensor(places), persistent=False)  # the place of h^-1 h'; beyond is 0

    def kernel(self) -> Float[Tensor, "rows columns height width"]:
        coefficients = F.pad(self.coefficients, (0, 0, 0, 1))[:, :, self.relative]
        kernel = torch.einsum("hpb,cihkb->chikp", self.sampling, coefficients)
        return self._square(kernel.flatten(2, 3).flatten(0, 1))


class Projecting(GroupCorrelation):
    """A correlation from feature maps on the group to images: a group correlation, and the mean of rho(h) F(x, h) over the elements.

    `representation` is that of the channels of the answer, trivial by default. With `sided(D(1), mirror)` a mirrored input gives the
    mirrored heatmaps with left and right exchanged.
    """

    representation: Representation | None

    def __init__(
        self, group: Group, cin: int, cout: int, size: int, *, representation: Representation | None = None
    ) -> None:
        super().__init__(group, cin, cout, size, elements=1)
        self.register_buffer("representation", representation, persistent=False)

    def kernel(self) -> Float[Tensor, "rows columns height width"]:
        return project(super().kernel(), self.group, self.representation)

    def shift(self) -> Float[Tensor, " rows"] | None:
        """Return the mean of rho(h) times the bias: channels that a mirror exchanges have the same."""
        if self.bias is None or self.representation is None:
            return self.bias
        return self.representation.to(self.bias).mean(0) @ self.bias


class Isotropic(Correlation):
    """A correlation from images to images whose kernel the group keeps, because it is the mean of its images under the group."""

    def __init__(self, group: Group, cin: int, cout: int, size: int, *, norm: bool = False, stride: int = 1) -> None:
        super().__init__(group, (cout, cin), size, elements=1, norm=norm, stride=stride)

    def kernel(self) -> Float[Tensor, "rows columns height width"]:
        return self._square(torch.einsum("pb,cib->cip", self.sampling.mean(0), self.coefficients))


def project(
    features: Float[Tensor, "..."], group: Group, representation: Representation | None, dim: int = 0
) -> Tensor:
    """Return the mean of rho(h) F(h) over the elements; channels and elements are the axis `dim`."""
    stored = features.unflatten(dim, (-1, len(group.elements))).movedim(dim, 0).movedim(dim + 1, 1)
    if representation is None:
        answer = stored.mean(1)
    else:
        answer = torch.einsum("hij,jh...->i...", representation.to(stored), stored) / len(group.elements)
    return answer.movedim(0, dim)


class Projection(nn.Module):
    """The mean or maximum of feature maps over the group: images, which the group moves and does not change otherwise."""

    def __init__(self, group: Group, how: Literal["mean", "max"] = "mean") -> None:
        super().__init__()
        self.group, self.how = group, how

    def forward(self, x: Images) -> Mapped:
        stored = x.unflatten(1, (-1, len(self.group.elements)))
        return stored.mean(2) if self.how == "mean" else stored.amax(2)


class Halving(nn.Module):
    """The mean of 2 x 2 pixels, for even heights and widths: mirrors and quarter turns map its squares to squares."""

    def forward(self, x: Images) -> Mapped:
        if x.shape[-1] % 2 or x.shape[-2] % 2:
            raise ValueError(f"expected even height and width, got {tuple(x.shape[-2:])}")
        return F.avg_pool2d(x, 2)


class Doubling(nn.Module):
    """Interpolation to twice the pixels: from n + 1 to 2 n + 1 after stride 2 (`odd`), from n to 2 n after `Halving`."""

    def __init__(self, *, odd: bool) -> None:
        super().__init__()
        self.odd = odd

    def forward(self, x: Images) -> Mapped:
        height, width = (2 * n - self.odd for n in x.shape[-2:])
        return F.interpolate(x, (height, width), mode="bilinear", align_corners=self.odd)
