"""Layers that commute with the chirality transform T, on rows in the order of chiral_spec.py.

From Chirality Nets, Yeh, Hu and Schwing 2019 (arXiv:1911.00029). A linear map with T_out W = W T_in is block diagonal, diag(W_E, W_O),
between the even and the odd parts of its ends. The two blocks are the weights, trained and served as two matmuls of half the size. Because
the basis is orthonormal, a step of gradient descent on the blocks equals the projected step on the dense map; weight decay and initial
variances carry over too.

The paper's layers omit one legal block: l_n - r_n, such as the width of the hips, is even and may feed c_p. Our layers include it unless
`paper_exact`. The authors' code also stores weights that its mask silences: 18 840 for 6 + 6 + 5 joints from 2 numbers to 60, where the
paper's map has 16 140 and the full map 17 340.

nn.Dropout needs no chiral form: in evaluation it is the identity, and in training it drops a number as often as its mirror image.
chiral_spec.py has the maps at the ends of a network, chiral_recurrent.py the recurrent layers.
"""

# ruff: noqa: E741 - l is the paper's left

import copy
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.layers.chiral_spec import HALF, Spec, basis, even_odd, joined, leave, order_of, parted, sides
from models.layers.freezing import Assembled

TANH = 5 / 3  # the gain that preserves variances through tanh: nn.init.calculate_gain("tanh")

Weights = tuple[Tensor, Tensor, Tensor | None]


class Block(Assembled):
    """W_E or W_O at every tap of a kernel: its weights are in the orthonormal basis, its matrix is for plain sums and differences.

    `matrix` contains the factors 1 / sqrt 2 of both ends, so that rows need no scaling. If the first `missing` inputs may not feed the
    centre, the weights of the centre are a parameter of their own, without the entries that would be zero. Weights are drawn from a normal
    distribution of variance gain^2 / fan-in, which multiplies the variance of a row by gain^2.
    """

    def __init__(
        self,
        pairs: int,
        centre: int,
        pairs_out: int,
        centre_out: int,
        kernel: tuple[int, ...],
        missing: int,
        gain: float,
    ) -> None:
        super().__init__()
        self.pairs, self.pairs_out, self.missing = pairs, pairs_out, missing
        rows, columns = pairs_out if missing else pairs_out + centre_out, pairs + centre
        self.weight = nn.Parameter(torch.empty(rows, columns, *kernel))
        self.centre = nn.Parameter(torch.empty(centre_out, columns - missing, *kernel)) if missing else None
        with torch.no_grad():
            for weight in self.parameters():
                weight.normal_(0, gain / math.sqrt(max(1, weight[:1].numel())))

    def orthonormal(self) -> Float[Tensor, "rows columns *kernel"]:
        """Return the block in the orthonormal basis, with zeros in place of missing weights."""
        if self.centre is None:
            return self.weight
        zeros = self.centre.new_zeros(len(self.centre), self.missing, *self.centre.shape[2:])
        return torch.cat([self.weight, torch.cat([zeros, self.centre], 1)])

    def load(self, block: Float[Tensor, "rows columns *kernel"]) -> None:
        """Set the weights from a block in the orthonormal basis; ignore entries that must be zero."""
        self.constant = None
        self.weight.data.copy_(block[: len(self.weight)])
        if self.centre is not None:
            self.centre.data.copy_(block[len(self.weight) :, self.missing :])

    def scale_rows(self, scales: Float[Tensor, " rows"]) -> None:
        """Multiply row i of the block by scales[i]."""
        columns = scales.view(-1, *(1 for _ in self.weight.shape[1:]))
        self.load(self.orthonormal() * columns)

    def matrix(self) -> Float[Tensor, "rows columns *kernel"]:
        """Return the block for plain sums and differences."""
        return self.assemble() if self.constant is None else self.constant

    def assemble(self) -> Float[Tensor, "rows columns *kernel"]:
        """Compute the block for plain sums and differences from the weights."""
        block = self.orthonormal()
        rows, columns, *kernel = block.shape
        scales = _scales(block, self.pairs_out, rows).outer(_scales(block, self.pairs, columns))
        return block * scales.view(rows, columns, *(1 for _ in kernel))


def _scales(like: Tensor, pairs: int, width: int) -> Float[Tensor, " width"]:
    """Return the factors from plain to orthonormal coordinates: 1 / sqrt 2 for a pair, 1 for the centre."""
    return F.pad(like.new_full((pairs,), HALF), (0, width - pairs), value=1.0)


class ChiralMap(nn.Module):
    """The weights of a chiral linear map or convolution: W_E, W_O and b_E. The odd part can have no bias."""

    def __init__(
        self,
        spec: Spec,
        out: Spec,
        kernel: tuple[int, ...] = (),
        *,
        bias: bool = True,
        paper_exact: bool = False,
        gain: float = TANH,
    ) -> None:
        super().__init__()
        self.spec, self.out, self.kernel = spec, out, kernel
        missing = spec.ln if paper_exact else 0
        self.even = Block(spec.pairs, spec.cp, out.pairs, out.cp, kernel, missing, gain)
        self.odd = Block(spec.pairs, spec.cn, out.pairs, out.cn, kernel, 0, gain)
        self.bias = nn.Parameter(torch.zeros(out.even)) if bias else None

    def extra_repr(self) -> str:
        """Return the specs and the kernel for `repr`."""
        return f"{self.spec} -> {self.out}" + (f", kernel={self.kernel}" if self.kernel else "")

    def weights(self) -> Weights:
        """Return W_E, W_O and b_E for plain sums and differences."""
        bias = None if self.bias is None else self.bias * _scales(self.bias, self.out.pairs, self.out.even)
        return self.even.matrix(), self.odd.matrix(), bias

    def dense(self) -> tuple[Tensor, Tensor | None]:
        """Return the map as one dense matrix (at each tap) and its bias."""
        even, odd = self.even.orthonormal(), self.odd.orthonormal()
        full = even.new_zeros(self.out.width, self.spec.width, *self.kernel)
        full[: self.out.even, : self.spec.even] = even
        full[self.out.even :, self.spec.even :] = odd
        q, q_out = basis(self.spec).to(even), basis(self.out).to(even)
        bias = None if self.bias is None else self.bias @ q_out[: self.out.even]
        return torch.einsum("ji,jk...,kl->il...", q_out, full, q), bias

    @torch.no_grad()
    def load_dense(self, weight: Float[Tensor, "width_out width_in *kernel"], bias: Tensor | None = None) -> None:
        """Set the weights to the chiral map nearest to a dense one in the inside order: (W + T W T) / 2 and (b + T b) / 2.

        A map that is chiral already, such as one in the paper's parametrisation, is reproduced exactly; `reordered` brings it into the
        inside order.
        """
        q, q_out = basis(self.spec).to(weight), basis(self.out).to(weight)
        full = torch.einsum("ij,jk...,lk->il...", q_out, weight, q)
        self.even.load(full[: self.out.even, : self.spec.even])
        self.odd.load(full[self.out.even :, self.spec.even :])
        if self.bias is not None:
            self.bias.copy_(torch.zeros_like(self.bias) if bias is None else (q_out.to(bias) @ bias)[: self.out.even])


class ChiralLinear(ChiralMap):
    """y = W x + b on the last axis, with T y = W T x + b."""

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width_out"]:
        return joined(self.parts(x, self.weights()))

    def parts(self, x: Float[Tensor, "*batch width"], weights: Weights) -> list[Tensor]:
        """Return l, r, c_n and c_p of W x + b. The caller passes the result of `weights`, so that a loop over frames computes it once."""
        even, odd = even_odd(x, self.spec)
        w_even, w_odd, bias = weights
        return sides(F.linear(even, w_even, bias), F.linear(odd, w_odd), self.out)

    def folded(self) -> nn.Linear:
        """Return the same map as a dense layer."""
        return _loaded(nn.Linear(self.spec.width, self.out.width, bias=self.bias is not None), *self.dense())


class ChiralConv1d(ChiralMap):
    """A convolution over time with a chiral map at every tap. It pads with zeros, which T keeps."""

    def __init__(
        self,
        spec: Spec,
        out: Spec,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        padding: int = 0,
        bias: bool = True,
        paper_exact: bool = False,
        gain: float = TANH,
    ) -> None:
        super().__init__(spec, out, (kernel_size,), bias=bias, paper_exact=paper_exact, gain=gain)
        self.stride, self.dilation, self.padding = stride, dilation, padding

    def forward(self, x: Float[Tensor, "batch width frames"]) -> Float[Tensor, "batch width_out frames_out"]:
        even, odd = even_odd(x, self.spec, 1)
        w_even, w_odd, bias = self.weights()
        even = F.conv1d(even, w_even, bias, self.stride, self.padding, self.dilation)
        odd = F.conv1d(odd, w_odd, None, self.stride, self.padding, self.dilation) if self.out.odd else even[:, :0]
        return joined(sides(even, odd, self.out, 1), 1)

    def folded(self) -> nn.Conv1d:
        """Return the same convolution as a dense layer."""
        dense = nn.Conv1d(
            self.spec.width,
            self.out.width,
            self.kernel[0],
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            bias=self.bias is not None,
        )
        return _loaded(dense, *self.dense())


M = TypeVar("M", nn.Linear, nn.Conv1d)


@torch.no_grad()
def _loaded(dense: M, weight: Tensor, bias: Tensor | None) -> M:
    dense = dense.to(weight)
    dense.weight.copy_(weight)
    if dense.bias is not None and bias is not None:
        dense.bias.copy_(bias)
    return dense


class ChiralBatchNorm(nn.Module):
    """Batch normalisation over all axes but `dim`, with the statistics of the batch together with its image under T.

    The statistics follow from the batch alone: a pair has the mean (mean l + mean r) / 2 and the variance about it over both sides, and c_n
    has mean 0. Mirroring one sample of a training batch therefore changes the output of that sample only. Both sides share their scales;
    c_n has no shift. As in nn.BatchNorm1d, a batch is normalised by its biased variance and the running variance is unbiased, here over
    2 x batch x frames samples.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, spec: Spec, *, momentum: float = 0.1, eps: float = 1e-5, dim: int = 1) -> None:
        super().__init__()
        self.spec, self.momentum, self.eps, self.dim = spec, momentum, eps, dim
        self.weight = nn.Parameter(torch.ones(spec.pairs + spec.centre))  # of pairs, c_n, c_p
        self.bias = nn.Parameter(torch.zeros(spec.even))  # of pairs, c_p
        self.register_buffer("mean", torch.zeros(spec.even))
        self.register_buffer("variance", torch.ones(spec.pairs + spec.centre))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.training:
            mean, variance, count = self.statistics(x.to(self.mean.dtype))  # under mixed precision x may be bfloat16
            with torch.no_grad():
                self.mean.lerp_(mean, self.momentum)
                self.variance.lerp_(variance * (2 * count / (2 * count - 1)), self.momentum)
        else:
            mean, variance = self.mean, self.variance
        scale, shift = self.affine(mean, variance)
        shape = (-1, *(1 for _ in x.shape[self.dim % x.ndim + 1 :]))
        return x * self._spread(scale).view(shape) + self._spread(shift).view(shape)

    def statistics(self, x: Float[Tensor, "..."]) -> tuple[Tensor, Tensor, int]:
        """Return the means of pairs and c_p, the biased variances of pairs, c_n and c_p, and the number of samples of each."""
        axes = tuple(axis for axis in range(x.ndim) if axis != self.dim % x.ndim)
        variance, mean = torch.var_mean(x, axes, correction=0)
        l, r, n, p = mean.split(self.spec.sizes)
        vl, vr, vn, vp = variance.split(self.spec.sizes)
        both = joined([(vl + vr) / 2 + ((l - r) / 2).square(), vn + n.square(), vp])
        return joined([(l + r) / 2, p]), both, x.numel() // x.shape[self.dim]

    def affine(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scale and shift of pairs, c_n and c_p for these statistics; the shift of c_n is 0."""
        pairs, kept = self.spec.pairs, self.spec.pairs + self.spec.cn
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * joined([scale[:pairs], scale[kept:]])
        return scale, joined([shift[:pairs], shift.new_zeros(self.spec.cn), shift[pairs:]])

    def _spread(self, x: Tensor) -> Tensor:
        """Repeat the numbers of pairs for both sides: (pairs, c_n, c_p) to (l, r, c_n, c_p)."""
        return joined([x[: self.spec.pairs], x])


N = TypeVar("N", bound=ChiralMap)


@torch.no_grad()
def fold_norm(before: N, norm: ChiralBatchNorm) -> N:
    """Return one map that equals `before` followed by `norm` in evaluation."""
    after = copy.deepcopy(before)
    scale, shift = norm.affine(norm.mean, norm.variance)
    pairs, cn, cp = scale.split([norm.spec.pairs, norm.spec.cn, norm.spec.cp])
    after.even.scale_rows(joined([pairs, cp]))
    after.odd.scale_rows(joined([pairs, cn]))
    of_pairs, _, of_centre = shift.split([norm.spec.pairs, norm.spec.cn, norm.spec.cp])
    bias = joined([of_pairs / HALF, of_centre])
    after.bias = nn.Parameter(bias if before.bias is None else bias + before.bias * joined([pairs, cp]))
    return after


class Pointwise(nn.Module):
    """Any elementwise function on l, r and c_p, and an odd one, f(-x) = -f(x), on c_n.

    The paper needs odd functions everywhere, because it does not store the right side mirrored; here a ReLU is legal.
    """

    def __init__(
        self,
        spec: Spec,
        function: Callable[[Tensor], Tensor],
        odd: Callable[[Tensor], Tensor] = torch.tanh,
        dim: int = -1,
    ) -> None:
        super().__init__()
        self.spec, self.function, self.odd, self.dim = spec, function, odd, dim

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.function is self.odd:  # in one piece: at batch 1, splitting and joining take as long as the products
            return self.function(x)
        sides, cn, cp = parted(x, [2 * self.spec.pairs, self.spec.cn, self.spec.cp], self.dim)
        return joined([self.function(sides), self.odd(cn), self.function(cp)], self.dim)


class ChiralGate(nn.Module):
    """x * sigmoid(W x + b). T exchanges the gates of the sides and negates none, so the product transforms as x does."""

    def __init__(self, spec: Spec, *, paper_exact: bool = False) -> None:
        super().__init__()
        self.gates = ChiralLinear(spec, spec.gates, paper_exact=paper_exact, gain=1.0)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return x * self.gates(x).sigmoid()


def invariant(width: int) -> Spec:
    """Return the spec of a row that T keeps. A map to it is the paper's invariance layer; without l_n - r_n it drops all negated inputs."""
    return Spec(cp=width)


class ChiralLogits(nn.Module):
    """Logits of classes, where class i becomes `mirror[i]` in the mirror: T exchanges those of "wave left" and "wave right" and keeps
    others.

    Raises ValueError if classes exchange their logits and the input is invariant.
    """

    def __init__(self, spec: Spec, mirror: Sequence[int], *, paper_exact: bool = False) -> None:
        super().__init__()
        order = order_of(mirror)
        if order.spec.pairs and not spec.odd:
            raise ValueError(
                f"expected features that T changes, to tell mirrored classes apart; got the invariant {spec}"
            )
        self.linear = ChiralLinear(spec, order.spec, paper_exact=paper_exact, gain=1.0)
        self.leave = leave(order)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch classes"]:
        return self.leave(self.linear(x))
