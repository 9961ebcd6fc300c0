"""The SE(3)-UNet's ONNX graph, laid out for ONNX Runtime on a CPU: the function and the weights of models/landmarks/se3_unet.py.

- What belongs to edges is (channels, edges) until it is whole: axis by axis, along contiguous memory. One transposition a level makes it a
  matrix a point.
- A map of rows is one matrix product. Sums over the three components of a vector are products with matrices of zeros and ones.
- Attention's weights are repeated for every channel before they multiply the edges, which then is one pass along contiguous memory.
- A learned scale of vectors is part of the matrices that follow it, and a query's matrix of its key's.
- Features are mapped to the width of the finer level before they are interpolated, not after.

The graph keeps the network's weights and assembled matrices by name. What is made of these alone, ONNX Runtime computes once, when it opens
the graph. The network itself is the slow twin: the exporter refuses a graph that differs from it.
"""

import math
from typing import Any

import numpy as np
import torch
from onnx import TensorProto

from models.landmarks.cloud import DECIMETRES, SPACING
from models.landmarks.voting_graph import answers
from models.layers.degrees import SMALL, Channels
from models.layers.freezing import Assembled
from models.layers.onnx_ops import Ops
from models.layers.pooling import MEETING

FURTHEST = 2.5  # mean edge lengths to the last radial function
HARMONICS = 4  # Y_0 and the three of Y_1


def laid_out(config: Any) -> bool:
    """Return whether `graph_of` knows the structure of an SE3UNetConfig: scalars and vectors, with the default layers."""
    return (
        all(len(channels) == 2 and all(channels) for channels in config.channels)
        and config.harmonics == 1
        and config.votes > 0
        and (config.nonlinearity, config.pooling, config.skip) == ("gate", "mean", "sum")
        and not (config.literal or config.attentive)
    )


def graph_of(network: Any) -> bytes:
    """Return the ONNX graph of an SE3UNet whose structure is `laid_out`."""
    return _Graph(network).build()


class _Graph:
    """The graph of one network. Features are rows (batch * points, width), edges are (batch * points, channels, neighbours)."""

    def __init__(self, network: Any) -> None:
        self.network, self.config, self.task = network, network.config, network.task
        matrices = {
            f"{name}.constant": module.matrix()
            for name, module in network.named_modules()
            if isinstance(module, Assembled)
        }
        self.o = Ops({**network.state_dict(), **dict(network.named_buffers()), **matrices})

    def build(self) -> bytes:
        """Return the whole graph."""
        o, sizes = self.o, self.task.levels
        self.batch = o.op("Shape", "points", start=0, end=1)
        centre = o.mean("points", 1)
        x = o.op("Mul", o.op("Sub", "points", centre), o.constant("decimetres", np.array(DECIMETRES)))
        self.x = [o.op("Slice", x, o.integers(0), o.integers(size), o.integers(1)) for size in sizes]
        near = o.split("neighbours", sizes, 1)
        self.near = [self._rows(indices, size, self.task.neighbours) for indices, size in zip(near, sizes, strict=True)]
        self.basis, self.key_basis = [], []
        f = self._edges(0)
        for level in range(1, len(sizes)):
            self._edges(level)
        skips = []
        for level in range(len(sizes)):
            f = self._block(f"down.{level}", self._pooled(f, level) if level else f, level)
            skips.append(f)
        parents = o.split("parents", sizes[:-1], 1)
        for level in reversed(range(len(sizes) - 1)):
            f = self._upsampled(o.op("MatMul", f, f"widths.{level}.constant"), parents[level], level)
            f = self._block(f"up.{level}", o.op("Add", skips[level], f), level)
        logits, votes = self._head(f)
        found = answers(o, self.network, self.x[0], centre, logits, votes)
        return o.model(self.task.inputs, {name: (x, self.task.outputs[name]) for name, x in found.items()})

    def _rows(self, indices: str, size: int, near: int) -> str:
        """Return indices of points as rows through all clouds of the batch, (batch * points, near)."""
        o = self.o
        numbers = o.op(
            "Range",
            o.constant("zero", np.array(0)),
            o.op("Squeeze", self.batch),
            o.constant("one", np.array(1)),
        )
        first = o.op("Mul", o.reshape(numbers, -1, 1, 1), o.integers(size))
        return o.reshape(o.op("Add", indices, first), -1, near)

    def _edges(self, level: int) -> str:
        """Prepare the functions of a level's edges, and return its points' features before the first layer."""
        o, config, size, k = self.o, self.config, self.task.levels[level], self.task.neighbours
        rows = o.reshape(self.x[level], -1, 3)
        others = o.op("Transpose", o.op("Gather", rows, self.near[level], axis=0), perm=[2, 0, 1])
        x = o.op("Transpose", rows, perm=[1, 0])
        offsets = o.op("Cast", o.op("Sub", others, o.op("Unsqueeze", x, o.integers(2))), to=TensorProto.FLOAT)
        square = o.op("Clip", o.sum(o.op("Mul", offsets, offsets), 0), o.number(SMALL * SMALL))
        length = o.reshape(o.op("Sqrt", square), -1, size, k)
        spacing = o.mean(length, 1, 2)  # (batch, 1, 1)
        functions, keys = config.functions, config.key_functions
        spread = FURTHEST / max(functions - 1, 1) * math.sqrt(2)
        relative = o.reshape(o.op("Div", length, o.op("Mul", spacing, o.number(spread))), 1, -1)
        centres = torch.linspace(0, FURTHEST, functions).unsqueeze(1) / spread
        apart = o.op("Sub", relative, o.constant("centres", centres))
        radial = o.op("Exp", o.op("Neg", o.op("Mul", apart, apart)))  # (functions, edges)
        unit = o.op("Mul", o.reshape(length, 1, -1), o.number(1 / math.sqrt(3)))
        y = o.op("Div", o.op("Concat", unit, o.reshape(offsets, 3, -1), axis=0), unit)  # Y_0 = 1 and the three of Y_1
        basis = self._basis(radial, y, functions)
        self.basis.append(o.reshape(basis, -1, functions * HARMONICS * k))
        grouped = o.sum(o.reshape(radial, keys, functions // keys, -1), 1)
        self.key_basis.append(self._basis(grouped, y, keys, last=True))
        if level:
            return ""
        near = o.op("Div", o.mean(length, 2), spacing)  # (batch, points, 1)
        bend = o.op("Div", o.reshape(o.mean(offsets, 2), 3, -1, size), o.reshape(spacing, -1, 1))
        bend = o.reshape(bend, 3, -1)
        x = o.op("Cast", x, to=TensorProto.FLOAT)
        ratio = o.op("Log", o.op("Mul", spacing, o.number(1 / SPACING)))
        near = o.reshape(near, 1, -1)
        scalars = [
            o.op("Add", o.op("Mul", near, o.number(0.0)), o.number(1.0)),
            near,
            o.reshape(
                o.op("Add", o.op("Mul", o.reshape(near, -1, size), o.number(0.0)), o.reshape(ratio, -1, 1)), 1, -1
            ),
            *(
                o.op("Sqrt", o.op("Clip", o.sum(o.op("Mul", v, v), 0, keep=True), o.number(SMALL * SMALL)))
                for v in (x, bend)
            ),
        ]
        pair = o.op("Concat", o.op("Unsqueeze", x, o.integers(1)), o.op("Unsqueeze", bend, o.integers(1)), axis=1)
        features = o.op("Concat", *scalars, o.reshape(pair, 6, -1), axis=0)
        return o.op("Transpose", features, perm=[1, 0])

    def _basis(self, radial: str, y: str, functions: int, *, last: bool = False) -> str:
        """Return every radial function times every harmonic as channels, which are the `last` axis or before neighbours."""
        o = self.o
        products = o.op("Mul", o.op("Unsqueeze", radial, o.integers(1)), y)
        edges_last = o.reshape(products, functions * HARMONICS, -1, self.task.neighbours)
        return o.op("Transpose", edges_last, perm=[1, 2, 0] if last else [1, 0, 2])

    def _block(self, name: str, f: str, level: int) -> str:
        """Return f after the attention layers of a block."""
        o, block = self.o, self.network.get_submodule(name)
        for layer, attention in enumerate(block.attentions):
            y = self._attention(f"{name}.attentions.{layer}", f"{name}.norms.{layer}", attention, f, level)
            y = self._gated(f"{name}.bends.{layer}.gates", y, block.out)
            f = o.op("Add", f, y) if attention.channels == block.out else y
        return f

    def _attention(self, name: str, norm: str, attention: Any, f: str, level: int) -> str:
        """Return attention of the normalised features."""
        o, (s, v) = self.o, attention.channels
        width, keys, functions = s + 3 * v, self.config.key_functions * HARMONICS, self.config.functions * HARMONICS
        scale = self._scale(norm, attention.channels)
        f = self._normed(norm, f, attention.channels)
        column = o.reshape(scale, width, 1)
        key = o.op("Div", o.transposed(f"{name}.key.constant"), o.number(attention.temperature))
        key = o.op("Mul", o.op("MatMul", f"{name}.query.constant", key), column)
        key = o.op("Mul", key, o.op("Concat", *[scale] * keys, axis=0))
        key = o.op("Transpose", o.reshape(key, width, keys, width), perm=[0, 2, 1])
        value = o.op("Mul", f"{name}.value.constant", o.op("Concat", *[column] * functions, axis=0))
        own = o.op("Mul", f"{name}.self_interaction.constant", column)
        f_j = o.op("Gather", f, self.near[level], axis=0)
        query = o.reshape(o.op("MatMul", f, o.reshape(key, width, -1)), -1, width, keys)
        logits = o.sum(o.op("Mul", self.key_basis[level], o.op("MatMul", f_j, query)), 2)
        alpha = o.op("Tile", o.op("Softmax", logits, axis=1), o.integers(1, functions))
        weighted = o.reshape(o.op("Mul", self.basis[level], alpha), -1, functions, self.task.neighbours)
        moments = o.op("MatMul", weighted, f_j)
        return o.op("Gemm", o.reshape(moments, -1, functions * width), value, o.op("MatMul", f, own))

    def _normed(self, name: str, f: str, channels: Channels) -> str:
        """Return DegreeNorm of f, without the scale of vectors."""
        o, (s, v) = self.o, channels
        scalars, vectors = o.split(f, (s, 3 * v), 1)
        scalars = o.op(
            "LayerNormalization", scalars, f"{name}.scalars.weight", f"{name}.scalars.bias", axis=-1, epsilon=1e-5
        )
        square = o.op("Clip", o.mean(o.op("Mul", vectors, vectors), 1), o.number(1e-8))
        return o.op("Concat", scalars, o.op("Div", vectors, o.op("Sqrt", square)), axis=1)

    def _scale(self, name: str, channels: Channels) -> str:
        """Return the learned scale of every number of a normalised row, 1 for scalars."""
        s, _ = channels
        return self.o.op("Concat", self.o.constant(f"ones_{s}", torch.ones(s)), *[f"{name}.scales.0"] * 3, axis=0)

    def _lengths(self, f: str, channels: Channels) -> str:
        """Return the norms of vectors."""
        o, (s, v) = self.o, channels
        sums = o.constant(f"sums_{s}_{v}", torch.cat([torch.zeros(s, v), torch.eye(v).repeat(3, 1)]))
        return o.op("Sqrt", o.op("Clip", o.op("MatMul", o.op("Mul", f, f), sums), o.number(SMALL * SMALL)))

    def _of_invariants(self, f: str, weight: str, bias: str, channels: Channels) -> str:
        """Return a linear map of the scalars and norms in rows; `weight` is (all channels, out)."""
        o, (s, v) = self.o, channels
        of_scalars, of_norms = o.split(weight, (s, v), 0)
        of_scalars = o.op("Pad", of_scalars, o.integers(0, 0, 3 * v, 0))
        return o.op("Gemm", self._lengths(f, channels), of_norms, o.op("Gemm", f, of_scalars, bias))

    def _gated(self, name: str, f: str, channels: Channels) -> str:
        """Return Gate of f: the scalars gate themselves, and a vector's three components have one gate."""
        o, (s, v) = self.o, channels
        gates = self._of_invariants(f, o.transposed(f"{name}.weight"), f"{name}.bias", channels)
        scalars = o.split(f, (s, 3 * v), 1)[0]
        return o.op("Mul", f, o.op("Sigmoid", o.op("Concat", scalars, gates, gates, gates, axis=1)))

    def _pooled(self, f: str, level: int) -> str:
        """Return the mean of each kept point and its neighbours on the finer level."""
        o, finer, kept, k = self.o, self.task.levels[level - 1], self.task.levels[level], self.task.neighbours
        c, d = self.config.channels[level - 1]
        width = c + 3 * d

        def first(rows: str, of: int) -> str:
            cut = o.op("Slice", o.reshape(rows, -1, finer, of), o.integers(0), o.integers(kept), o.integers(1))
            return o.reshape(cut, -1, of)

        total = o.op("Add", first(f, width), o.sum(o.op("Gather", f, first(self.near[level - 1], k), axis=0), 1))
        return o.op("Mul", total, o.number(1 / (k + 1)))

    def _upsampled(self, f: str, parents: str, level: int) -> str:
        """Return rows of the next coarser level, interpolated at a level's points."""
        o, size, n = self.o, self.task.levels[level + 1], self.task.parents
        rows = self._rows(parents, size, n)
        apart = o.op("Sub", o.op("Gather", o.reshape(self.x[level + 1], -1, 3), rows, axis=0),
                     o.reshape(self.x[level], -1, 1, 3))  # fmt: skip
        squares = o.op("Cast", o.sum(o.op("Mul", apart, apart), 2), to=TensorProto.FLOAT)
        squares = o.op("Clip", squares, o.number(MEETING))
        if self.config.distance_power != 2:
            squares = o.op("Pow", squares, o.number(0.5 * self.config.distance_power))
        weights = o.op("Reciprocal", squares)
        weights = o.op("Div", weights, o.sum(weights, 1, keep=True))
        mean = o.op("MatMul", o.op("Unsqueeze", weights, o.integers(1)), o.op("Gather", f, rows, axis=0))
        return o.op("Squeeze", mean, o.integers(1))

    def _head(self, f: str) -> tuple[str, str]:
        """Return the logits of heatmaps and the voting vectors of every point."""
        o, channels, votes = self.o, self.config.channels[0], self.config.votes
        f = o.op("Mul", self._normed("head.norm", f, channels), self._scale("head.norm", channels))
        weight = o.transposed("head.hidden.weight")
        hidden = o.silu(self._of_invariants(f, weight, "head.hidden.bias", channels))
        mix = o.transposed("head.mix.weight")
        rows = [o.op("Pad", mix, o.integers(0, at * votes, 0, (2 - at) * votes)) for at in range(3)]
        nothing = o.constant("no_votes", torch.zeros(channels[0], 3 * votes))
        vectors = o.op("MatMul", f, o.op("Concat", nothing, *rows, axis=0))
        gates = o.op("Concat", *["head.gates.weight"] * 3, axis=0)
        biases = o.op("Concat", *["head.gates.bias"] * 3, axis=0)
        gate = o.op("Sigmoid", o.op("Gemm", hidden, gates, biases, transB=1))
        return o.linear(hidden, "head.logits"), o.op("Mul", vectors, gate)
