"""EqMotion's ONNX graph, laid out for ONNX Runtime on a CPU: the function and the weights of models/forecast/eqmotion.py.

- A pair of nodes is a row, and its channels are columns. A map of pairs is one matrix product with its bias inside.
- What is symmetric in i and j is computed for one of (i, j) and (j, i): distances, their perceptron, and their part of first layers. Row 0
  stands for every (i, i).
- What is linear in the past is one product: the embeddings of positions and velocities, and the velocities' part in every layer.
- The last layer has no messages, since nothing reads its h.

The graph keeps the network's weights by name. What is made of weights alone, ONNX Runtime computes once, when it opens the graph. The
network itself is the slow twin: the exporter refuses a graph that differs from it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.layers.onnx_ops import Ops
from models.layers.pairs import MEETING
from models.layers.trajectories import DECIMETRES


def laid_out(config: Any) -> bool:
    """Return whether `graph_of` knows the structure of an EqMotionConfig; the authors' has parts that are traced."""
    return (
        config.residual_output
        and config.relative_epsilons
        and config.expert_count > 0
        and not (config.dct or config.place_features)
    )


def graph_of(network: Any) -> bytes:
    """Return the ONNX graph of an EqMotion whose structure is `laid_out`."""
    return _Graph(network).build()


class _Graph:
    """The graph of one network. Vectors are (batch, 3, nodes, C), invariants are rows (batch * nodes, D)."""

    def __init__(self, network: Any) -> None:
        self.config, self.task, self.temperature = network.config, network.task, network.reasoning.temperature
        self.o = o = Ops(network.state_dict())
        self.n = o.op("Shape", "past", start=2, end=3)
        self.nn = o.op("Concat", self.n, self.n, axis=0)
        joints = len(self.task.layout.joints)
        self.nodes = 2 * joints
        pairs = o.op("Div", o.op("Mul", self.n, o.op("Sub", self.n, o.integers(1))), o.integers(2))
        self.rows = o.op("Add", pairs, o.integers(1))
        first, second, of = pair_rows(self.nodes)
        self.first = o.until(o.constant("rows.i", first), self.rows)
        self.second = o.until(o.constant("rows.j", second), self.rows)
        self.of = o.until(o.constant("rows.of", of), self.nn, (0, 1))
        self.others = o.until(
            o.constant("others", (1 - np.eye(self.nodes, dtype=np.float32))[:, None]), self.nn, (0, 2)
        )
        self.same_hand = None
        if self.config.tokens == "joint":
            same = o.constant("rows.same_hand", (first // joints == second // joints).astype(np.float32)[:, None])
            self.same_hand = o.until(o.op("Mul", same, "reasoning.same_hand"), self.rows)

    def build(self) -> bytes:
        """Return the whole graph."""
        o, c, layers = self.o, self.config.channels, self.config.layers
        past = o.op("Transpose", "past", perm=[0, 3, 2, 1])
        centre = o.mean(past, 2, 3)
        x = o.op("Mul", o.op("Sub", past, centre), o.number(DECIMETRES))
        steps, before = steps_of(self.task.past)
        v = o.op("MatMul", x, o.constant("steps", steps))
        h = self._invariants(v, before)
        of_v = "embed_velocity.weight"
        pushes = [o.op("MatMul", f"layers.{k}.velocity.weight", of_v) for k in range(layers)]
        first = o.blocks("embed_position.weight", o.op("Concat", of_v, *pushes, axis=0))
        vectors = o.op("MatMul", o.op("Concat", x, v, axis=3), o.transposed(first))
        gv, *pushes = o.split(vectors, [2 * c] + [c] * layers, 3)
        g, _ = o.split(gv, [c, c], 3)
        chances = self._reasoning(h, gv)
        for k, push in enumerate(pushes):
            g, h = self._layer(f"layers.{k}.", g, push, h, chances, last=k == layers - 1)
        y = o.op("Sub", g, o.mean(g, 2, 3))
        read_out = o.op("Div", "read_out.weight", o.number(DECIMETRES))
        y = o.op("MatMul", y, o.transposed(read_out))
        last = o.op("Slice", past, o.integers(-1), o.integers(np.iinfo(np.int64).max), o.integers(3))
        y = o.op("Transpose", o.op("Add", y, last), perm=[0, 3, 2, 1])
        modes, future = self.task.modes, self.task.future
        y = o.op("Unsqueeze", y, o.integers(1)) if modes == 1 else o.reshape(y, -1, modes, future, self.n, 3)
        return o.model(self.task.inputs, {"future": (y, self.task.outputs["future"])})

    def _invariants(self, v: str, before: Tensor) -> str:
        """Return h of every node, from its speeds and the turns of its velocity."""
        o, d = self.o, self.config.hidden
        square = o.op("Clip", o.sum(o.op("Mul", v, v), 1), o.number(1e-12))
        along = o.sum(o.op("Mul", o.op("MatMul", v, o.constant("before", before)), v), 1)
        both = o.constant("both", 0.5 * (torch.eye(self.task.past) + before))
        floor = o.op("Mul", o.mean(square, 1, 2), o.number(0.1))
        turn = o.op("Div", along, o.op("Add", o.op("MatMul", square, both), floor))
        features = o.op("Concat", o.op("Sqrt", square), turn, axis=2)
        weight = o.blocks("embed_speed.weight", "embed_turn.weight")
        bias = o.op("Concat", "embed_speed.bias", "embed_turn.bias", axis=0)
        if self.config.tokens == "none":
            return o.op("Gemm", o.reshape(features, -1, 2 * self.task.past), weight, bias, transB=1)
        tokens, count = "tokens", o.shape("tokens")[0]
        if self.config.tokens == "joint" and count < (joints := self.nodes // 2):
            tokens, count = (
                o.op("Gather", tokens, o.constant("kinds", np.array(self.task.layout.kinds)), axis=0),
                joints,
            )
        tokens = o.op("Concat", *[tokens] * (self.nodes // count), axis=0)
        of_h, of_token = o.split("embed_tokens.0.weight", [d, d], 1)
        fixed = o.op("Gemm", of_h, o.reshape(bias, d, 1), o.reshape("embed_tokens.0.bias", d, 1))
        token = o.op("Gemm", tokens, of_token, o.reshape(fixed, d), transB=1)
        h = o.op("MatMul", features, o.transposed(o.op("MatMul", of_h, weight)))
        h = o.silu(o.op("Add", h, o.until(token, self.n)))
        return o.silu(o.linear(o.reshape(h, -1, d), "embed_tokens.2"))

    def _reasoning(self, h: str, gv: str) -> list[str]:
        """Return the probabilities of the categories that have experts, each (1, all pairs)."""
        o, c = self.o, 2 * self.config.channels
        d = o.reshape(self._distances(gv), -1, c)
        for k in (0, 2):
            d = o.silu(o.linear(d, f"reasoning.distance.{k}"))
        d = o.reshape(d, -1, 1, self.rows, c)
        m = o.silu(o.linear(self._pairs("reasoning.edge_first.", h, d), "reasoning.edge_second"))
        h = self._node("reasoning.node.", h, m, activated=True)
        e = self._pairs("reasoning.category_first.", h, d, self.same_hand)
        logits = o.silu(self._columns("reasoning.category_second", e, rows=True))
        if self.temperature != 1:
            logits = o.op("Div", logits, o.number(self.temperature))
        likely = o.op("Exp", o.op("Sub", logits, o.op("ReduceMax", logits, o.integers(0), keepdims=1)))
        total, experts = o.sum(likely, 0, keep=True), self.config.expert_count
        return o.split(o.op("Div", o.until(likely, o.integers(experts)), total), [1] * experts, 0)

    def _layer(self, name: str, g: str, push: str, h: str, chances: list[str], *, last: bool) -> tuple[str, str]:
        """Return the new vectors and invariants; those of the last layer are not computed."""
        o, d, c = self.o, self.config.hidden, self.config.channels
        pairs = self._pairs(f"{name}pair_first.", h, self._distances(g), lowest=d if last else 0)
        parts = o.split(pairs, [d] * (len(chances) + (not last)), 1)
        f = ""
        for k, (part, chance) in enumerate(zip(parts[-len(chances) :], chances, strict=True), start=1):
            one = o.op("Mul", o.silu(self._columns(f"{name}pair_second.{k}", part, rows=True)), chance)
            f = o.op("Add", f, one) if f else one
        for k in (0, 2):
            f = o.silu(self._columns(f"{name}factor.{k}", f))
        apart = self._towards(o.reshape(f, c, -1, self.n, self.n), g)
        gate = o.reshape(o.silu(o.linear(h, f"{name}gate")), -1, 1, self.n, c)
        out = o.op("Mul", gate, o.op("Sub", g, o.mean(g, 2, 3)))
        for more in (g, apart, push):
            out = o.op("Add", out, more)
        if self.config.centred_nonlinearity:
            about = o.mean(out, 2, 3)
            out = o.op("Add", self._bend(f"{name}nonlinearity.", o.op("Sub", out, about)), about)
        else:
            out = self._bend(f"{name}nonlinearity.", out)
        if last:
            return out, h
        m = o.silu(o.linear(parts[0], f"{name}pair_second.0"))
        update = self._node(f"{name}node.", h, m, activated=self.config.activated_features)
        return out, o.op("Add", h, update) if self.config.residual_features else update

    def _distances(self, g: str) -> str:
        """Return |G_i - G_j| (batch, 1, rows, C), one axis at a time, which stays in the cache."""
        o, total = self.o, ""
        for axis in o.split(g, (1, 1, 1), 1):
            apart = o.op("Sub", o.op("Gather", axis, self.first, axis=2), o.op("Gather", axis, self.second, axis=2))
            square = o.op("Mul", apart, apart)
            total = o.op("Add", total, square) if total else square
        return o.op("Sqrt", o.op("Clip", total, o.number(MEETING * MEETING)))

    def _pairs(self, name: str, h: str, d: str, more: str | None = None, lowest: int = 0) -> str:
        """Return a PairLinear with SiLU (all pairs, out), from h and the distances of half of the pairs.

        `more` is added to the part of distances. Outputs below `lowest` are left out.
        """
        o = self.o
        out = o.shape(f"{name}of_i.bias")[0] - lowest
        parts = ["of_distance.weight", "of_i.weight", "of_i.bias", "of_j.weight"]
        of_d, of_i, bias, of_j = (o.beyond(f"{name}{part}", lowest) for part in parts)
        symmetric = o.op("MatMul", d, o.transposed(o.reshape(of_d, out, -1)))
        if more is not None:
            symmetric = o.op("Add", symmetric, more)
        pairs = o.op("Gather", symmetric, self.of, axis=2)  # (batch, 1, nodes, nodes, out)
        pairs = o.op("Add", pairs, o.reshape(o.op("Gemm", h, of_j, transB=1), -1, 1, 1, self.n, out))
        pairs = o.op("Add", pairs, o.reshape(o.op("Gemm", h, of_i, bias, transB=1), -1, 1, self.n, 1, out))
        return o.reshape(o.silu(pairs), -1, out)

    def _node(self, name: str, h: str, m: str, *, activated: bool) -> str:
        """Return a perceptron of h and of the sum of the others' messages."""
        o, d = self.o, self.config.hidden
        total = o.op("MatMul", self.others, o.reshape(m, -1, self.n, self.n, d))
        x = o.op("Concat", h, o.reshape(total, -1, d), axis=1)
        x = o.linear(o.silu(o.linear(x, f"{name}0")), f"{name}2")
        return o.silu(x) if activated else x

    def _columns(self, name: str, x: str, *, rows: bool = False) -> str:
        """Return a map of pairs as (out, all pairs), from such columns or from `rows`."""
        o, out = self.o, self.o.shape(f"{name}.bias")[0]
        weight, bias = o.reshape(f"{name}.weight", out, -1), o.reshape(f"{name}.bias", out, 1)
        return o.op("Gemm", weight, x, bias, transB=int(rows))

    def _towards(self, f: str, g: str) -> str:
        """Return sum_j f_ij (G_i - G_j), from f (C, batch, nodes, nodes)."""
        o = self.o
        across = o.op("Transpose", g, perm=[3, 0, 1, 2])  # (C, batch, 3, nodes)
        gathered = o.op("MatMul", across, o.op("Transpose", f, perm=[0, 1, 3, 2]))
        total = o.op("Unsqueeze", o.sum(f, 3), o.integers(2))
        return o.op("Transpose", o.op("Sub", o.op("Mul", total, across), gathered), perm=[1, 2, 3, 0])

    def _bend(self, name: str, g: str) -> str:
        """Return VectorReLU of g."""
        o, c = self.o, self.config.channels
        q, k = (o.op("MatMul", g, o.transposed(f"{name}{part}.weight")) for part in ("query", "key"))
        along = o.op("Min", o.sum(o.op("Mul", q, k), 1, keep=True), o.number(0.0))
        floor = o.constant("floor", torch.eye(c) + 1e-3 / c)  # a thousandth of the mean over the channels
        square = o.op("MatMul", o.sum(o.op("Mul", k, k), 1, keep=True), floor)
        share = o.op("Div", along, o.op("Clip", square, o.number(1e-12)))
        return o.op("Sub", q, o.op("Mul", share, k))


def pair_rows(nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return i and j of every row, and the row of every (i, j); the rows of fewer nodes are the first of these."""
    pairs = [(0, 0), *((i, j) for j in range(nodes) for i in range(j))]
    first, second = np.array(pairs).T
    of = np.zeros((nodes, nodes), np.int64)
    of[first, second] = of[second, first] = np.arange(len(pairs))
    return first, second, of


def steps_of(past: int) -> tuple[Tensor, Tensor]:
    """Return the matrices from rows of positions to velocities, with v_0 = v_1, and from rows of velocities to those a frame before."""
    before = torch.diag(torch.ones(past - 1), 1)
    before[0, 0] = 1
    steps = torch.eye(past) - before
    steps[:, 0] = steps[:, 1]
    return steps, before
