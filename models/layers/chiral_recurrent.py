"""Chiral LSTM and GRU (Yeh, Hu and Schwing 2019, arXiv:1911.00029), on rows in the order of chiral_spec.py.

T exchanges the gates of the sides and negates none, and the candidate transforms as the state does. c' = f c + i g and h' = o tanh(c')
therefore commute with T. These layers are an LSTM and a GRU with fewer free weights: `folded` returns the nn.LSTM or nn.GRU that computes
the same, which exports as one ONNX operator. (The authors' LSTM overwrites both states with the candidate, which makes it a plain tanh
network.)
"""

# ruff: noqa: E741 - l is the paper's left

import math
from abc import ABC, abstractmethod
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.layers.chiral import ChiralLinear, Weights
from models.layers.chiral_spec import Spec, joined, parted

States = tuple[Float[Tensor, "layers batch hidden"], ...]  # (h, c) of an LSTM, (h,) of a GRU
Gates = list[Tensor]

R = TypeVar("R", nn.LSTM, nn.GRU)

CANDIDATE = 2  # its place in PyTorch's orders of gates: i, f, g, o and r, z, n


class ChiralRecurrent(nn.Module, ABC):
    """Recurrent layers, batch first, with the conventions of nn.LSTM and nn.GRU: two biases, weights uniform within 1 / sqrt(hidden), and
    dropout between layers."""

    count: int  # gates of a layer, its candidate included
    states: int  # state tensors of a layer

    def __init__(
        self, spec: Spec, hidden: Spec, layers: int = 1, *, dropout: float = 0.0, paper_exact: bool = False
    ) -> None:
        super().__init__()
        self.spec, self.hidden, self.dropout = spec, hidden, dropout
        gates, others = hidden.gates, self.count - 1
        stacked = Spec(lp=self.count * hidden.pairs, cn=hidden.cn, cp=others * gates.cp + hidden.cp)
        below = [spec] + [hidden] * (layers - 1)
        self.of_input = nn.ModuleList(ChiralLinear(s, stacked, paper_exact=paper_exact) for s in below)
        self.of_state = nn.ModuleList(ChiralLinear(hidden, stacked, paper_exact=paper_exact) for _ in below)
        bound = 1 / math.sqrt(hidden.width)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def weights(self) -> list[tuple[Weights, Weights]]:
        """Compute the matrices that `forward` multiplies with. A decoder that calls once a frame computes them once and passes them in."""
        return [(i.weights(), s.weights()) for i, s in self._maps()]

    def forward(
        self,
        x: Float[Tensor, "batch frames width"],
        states: States | None = None,
        weights: list[tuple[Weights, Weights]] | None = None,
    ) -> tuple[Float[Tensor, "batch frames hidden"], States]:
        """Return the last layer's h at every frame and the states after the last one. Initial states default to zero, which T keeps."""
        if states is None:
            states = (x.new_zeros(len(self.of_input), x.shape[0], self.hidden.width),) * self.states
        last = []
        for layer, ((i, s), (w_i, w_s)) in enumerate(zip(self._maps(), weights or self.weights(), strict=True)):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            state, outputs = tuple(part[layer] for part in states), []
            frames = [gate.unbind(1) for gate in self.gates(i.parts(x, w_i))]
            for now in zip(*frames, strict=True):
                state = self.step(list(now), self.gates(s.parts(state[0], w_s)), *state)
                outputs.append(state[0])
            x = torch.stack(outputs, 1)
            last.append(state)
        return x, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    @abstractmethod
    def step(self, x: Gates, h: Gates, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the states after a frame, given the inputs' and the state's contributions to the gates, and the states before it."""

    @abstractmethod
    def folded(self) -> nn.LSTM | nn.GRU:
        """Return the PyTorch layer that computes the same."""

    def gates(self, parts: list[Tensor]) -> Gates:
        """Return the gates, each in the order of the state, from l, r, c_n and c_p of all gates stacked."""
        l, r, cn, cp = parts
        centres = [self.hidden.centre] * self.count
        centres[CANDIDATE] = self.hidden.cp
        sizes = [[self.hidden.pairs] * self.count] * 2 + [centres]
        both = zip(*(parted(part, size) for part, size in zip((l, r, cp), sizes, strict=True)), strict=True)
        return [joined([*sides, cn, p] if k == CANDIDATE else [*sides, p]) for k, (*sides, p) in enumerate(both)]

    def _maps(self) -> list[tuple[ChiralLinear, ChiralLinear]]:
        return list(zip(self.of_input, self.of_state, strict=True))  # pyright: ignore[reportReturnType] - ModuleList forgets

    def _rows(self) -> Tensor:
        """Return, for each row of PyTorch's matrices, its index in the stacked rows."""
        stacked = self._maps()[0][0].out
        return torch.cat(self.gates(list(torch.arange(stacked.width).split(stacked.sizes))))

    def _folded(self, kind: type[R]) -> R:
        """Return a copy as a PyTorch layer, batch first."""
        maps, rows = self._maps(), self._rows()
        dropout = self.dropout if len(maps) > 1 else 0.0
        dense = kind(self.spec.width, self.hidden.width, len(maps), batch_first=True, dropout=dropout)
        with torch.no_grad():
            dense = dense.to(maps[0][0].even.weight)
            for layer, both in enumerate(maps):
                for name, part in zip(("ih", "hh"), both, strict=True):
                    weight, bias = part.dense()
                    assert bias is not None
                    getattr(dense, f"weight_{name}_l{layer}").copy_(weight[rows])
                    getattr(dense, f"bias_{name}_l{layer}").copy_(bias[rows])
        return dense.train(self.training)

    def load_dense(self, dense: nn.RNNBase) -> None:
        """Set the weights to the chiral network nearest to a dense one in the inside order; a chiral one is reproduced exactly."""
        ours = self._rows().argsort()
        for layer, maps in enumerate(self._maps()):
            for name, part in zip(("ih", "hh"), maps, strict=True):
                weight, bias = (getattr(dense, f"{kind}_{name}_l{layer}").detach() for kind in ("weight", "bias"))
                part.load_dense(weight[ours], bias[ours])


class ChiralLSTM(ChiralRecurrent):
    """The LSTM c' = f c + i g, h' = o tanh(c') with f, i, o = sigmoid(...) and g = tanh(...). Its states are (h, c)."""

    count, states = 4, 2

    def step(self, x: Gates, h: Gates, *state: Tensor) -> tuple[Tensor, ...]:
        """Return h and c after a frame."""
        i, f, g, o = (a + b for a, b in zip(x, h, strict=True))
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def folded(self) -> nn.LSTM:
        """Return the nn.LSTM that computes the same."""
        return self._folded(nn.LSTM)


class ChiralGRU(ChiralRecurrent):
    """The GRU n = tanh(W x + r (U h)), h' = n + z (h - n) with r, z = sigmoid(...). Its states are (h,)."""

    count, states = 3, 1

    def step(self, x: Gates, h: Gates, *state: Tensor) -> tuple[Tensor, ...]:
        """Return h after a frame."""
        r, z = ((a + b).sigmoid() for a, b in zip(x[:CANDIDATE], h[:CANDIDATE], strict=True))
        n = (x[CANDIDATE] + r * h[CANDIDATE]).tanh()
        return (n + z * (state[0] - n),)

    def folded(self) -> nn.GRU:
        """Return the nn.GRU that computes the same."""
        return self._folded(nn.GRU)
