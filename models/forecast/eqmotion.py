"""EqMotion, Xu, Tan, Tan, Chen, Wang, Wang and Wang 2023 (arXiv:2303.10876): equivariant motion forecasting with invariant reasoning.

Names are the paper's: G geometric features (vectors), h pattern features (invariants), c interaction categories. The authors' code adds to
the paper's equations a factor network after the experts, the velocity inside the layers, reasoning on [G; V], and experts for K - 2 of the
K categories; so does this module. `REFERENCE` has the structure and the number of parameters of the authors' code. `STANDARD` is the
default. It differs where the authors' code loses accuracy or exact symmetry:

- The output is a learned correction of the last pose, so an untrained network repeats the last pose instead of being decimetres off.
- Tokens belong to joints, not nodes. Both hands share them, and only "same hand or not" enters, so the swap of mirrored hands is exact.
- Epsilons scale with the motion. The turn of a velocity is a smooth ratio, which is 0 for a joint at rest instead of a random angle.

Both evaluate the first layers on pairs as W1 h_i + W2 h_j + W3 d_ij, the same function at half the multiplications.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.layers.pairs import PairLinear, PairMap, distances, pair_perceptron, sum_over_others, towards
from models.layers.perceptron import perceptron
from models.layers.vectors import VectorLinear, VectorReLU
from models.skeletons.hand import HAND_PAIR, HANDS

DECIMETRES = 10.0  # metres to the unit inside, in which a hand has size 1
JOINTS = len(HANDS["assembly101"].joints)
NODES = len(HAND_PAIR.joints)


@dataclass(frozen=True)
class EqMotionConfig:
    """Sizes and options; the letters in comments are the paper's."""

    channels: int = 32  # C, vectors of a node
    hidden: int = 32  # D, invariants of a node
    layers: int = 2  # L
    categories: int = 4  # K
    experts: int = 2  # one for each of the first `experts` categories; the other categories mean "no interaction"
    temperature: float = 1.0
    tokens: Literal["none", "node", "joint"] = "joint"
    dct: bool = False
    residual_output: bool = True
    residual_features: bool = True
    relative_epsilons: bool = True

    def build(self, task: HandForecast) -> "EqMotion":
        """Build the network for a task."""
        return EqMotion(task, self)


STANDARD = EqMotionConfig()
REFERENCE = EqMotionConfig(tokens="none", dct=True, residual_output=False, relative_epsilons=False)


class EqMotion(nn.Module):
    """A forecaster of poses, equivariant to rotation, translation and, unless tokens belong to nodes, mirroring with swapped hands."""

    dct: Tensor
    idct: Tensor

    def __init__(self, task: HandForecast, config: EqMotionConfig = STANDARD) -> None:
        super().__init__()
        c, d = config.channels, config.hidden
        self.task, self.config = task, config
        self.symmetries = ("translation", "rotation") + (("mirror-swap",) if config.tokens != "node" else ())
        self.embed_speed = nn.Linear(task.past, d // 2)
        self.embed_turn = nn.Linear(task.past, d - d // 2)
        if config.tokens != "none":
            self.tokens = nn.Parameter(torch.randn(JOINTS if config.tokens == "joint" else NODES, d))
            self.embed_tokens = perceptron(2 * d, d, d)
        self.embed_position = VectorLinear(task.past, c)  # W_x
        self.embed_velocity = VectorLinear(task.past, c)  # W_v
        self.reasoning = Reasoning(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.read_out = VectorLinear(c, task.modes * task.future)
        if config.residual_output:
            with torch.no_grad():  # mode 0 initially repeats the last pose, and the others are close to it
                self.read_out.weight[: task.future] = 0
                self.read_out.weight[task.future :] *= 0.01
        if config.dct:
            self.register_buffer("dct", dct_matrix(task.past), persistent=False)
            self.register_buffer("idct", dct_matrix(task.future).T.contiguous(), persistent=False)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x = past.permute(0, 3, 1, 2) * DECIMETRES  # (batch, 3, past, nodes)
        mean = x.mean(dim=(2, 3), keepdim=True)
        x = x - mean
        v = x[:, :, 1:] - x[:, :, :-1]
        v = torch.cat([v[:, :, :1], v], dim=2)  # v_0 := v_1
        last = x[:, :, -1:]

        speed = v.square().sum(1).clamp_min(1e-12).sqrt()
        turn = self._turn(v, speed)
        h = torch.cat([self.embed_speed(speed.transpose(1, 2)), self.embed_turn(turn.transpose(1, 2))], dim=-1)
        if self.config.tokens != "none":
            tokens = torch.cat([self.tokens, self.tokens]) if self.config.tokens == "joint" else self.tokens
            h = self.embed_tokens(torch.cat([h, tokens[: h.shape[1]].expand(h.shape[0], -1, -1)], dim=-1))
        if self.config.dct:
            x, v = self.dct @ x, self.dct @ v
        g, v = self.embed_position(x), self.embed_velocity(v)  # (batch, 3, C, nodes), free of the mean

        c = self.reasoning(h, torch.cat([g, v], dim=2))
        for layer in self.layers:
            g, h = layer(g, v, h, c)

        y = self.read_out(g - g.mean(dim=(2, 3), keepdim=True)).unflatten(2, (self.task.modes, self.task.future))
        if self.config.dct:
            y = self.idct @ y
        y = y + (last.unsqueeze(2) if self.config.residual_output else 0.0) + mean.unsqueeze(2)
        return y.permute(0, 2, 3, 4, 1) / DECIMETRES

    def _turn(
        self, v: Float[Tensor, "batch 3 past nodes"], speed: Float[Tensor, "batch past nodes"]
    ) -> Float[Tensor, "batch past nodes"]:
        """Return how much each velocity turned from the one before it: the angle in radians, or with relative epsilons a smooth cosine."""
        before = torch.cat([v[:, :, :1], v[:, :, :-1]], dim=2)
        speed_before = torch.cat([speed[:, :1], speed[:, :-1]], dim=1)
        along = (before * v).sum(1)
        if not self.config.relative_epsilons:
            cosine = along / ((speed_before + 1e-6) * (speed + 1e-6))
            return torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
        square = speed.square()
        floor = 0.1 * square.mean(
            dim=(1, 2), keepdim=True
        )  # relative to the clip, so that the turn of a joint at rest is 0
        return along / (0.5 * (square + speed_before.square()) + floor)


class Reasoning(nn.Module):
    """Invariant reasoning (sec. 4.3): category probabilities of every ordered pair of nodes, from h and the distances of [G; V]."""

    def __init__(self, config: EqMotionConfig) -> None:
        super().__init__()
        c, d, k = 2 * config.channels, config.hidden, config.categories
        self.temperature = config.temperature
        self.distance = pair_perceptron(c, d, c)
        self.edge_first = PairLinear(d, c, d)
        self.edge_second = PairMap(d, d)
        self.node = perceptron(2 * d, d, d)
        self.category_first = PairLinear(d, c, d)
        self.category_second = PairMap(d, k)
        self.same_hand = nn.Parameter(torch.zeros(d)) if config.tokens == "joint" else None

    def forward(
        self, h: Float[Tensor, "batch nodes D"], gv: Float[Tensor, "batch 3 C2 nodes"]
    ) -> Float[Tensor, "batch K nodes nodes"]:
        d = self.distance(distances(gv))
        m = F.silu(self.edge_second(F.silu(self.edge_first(h, d))))
        h = self.node(torch.cat([h, sum_over_others(m)], dim=-1))
        first = self.category_first(h, d)
        if self.same_hand is not None:
            hand = torch.arange(h.shape[1], device=h.device) // JOINTS
            first = first + self.same_hand[:, None, None] * (hand[:, None] == hand)
        logits = F.silu(self.category_second(F.silu(first)))
        return torch.softmax(logits / self.temperature, dim=1)


class Layer(nn.Module):
    """One equivariant layer for G (sec. 4.1) and one invariant layer for h (sec. 4.2)."""

    def __init__(self, config: EqMotionConfig) -> None:
        super().__init__()
        c, d, e = config.channels, config.hidden, config.experts
        self.residual_features = config.residual_features
        # The first layers of the message network and of every expert, side by side: all read [h_i, h_j, |G_i - G_j|].
        self.pair_first = PairLinear(d, c, (1 + e) * d)
        self.pair_second = nn.ModuleList(PairMap(d, d) for _ in range(1 + e))
        self.factor = pair_perceptron(d, d, c)
        self.node = perceptron(2 * d, d, d)
        self.gate = nn.Linear(d, c)
        self.velocity = VectorLinear(c, c)
        self.nonlinearity = VectorReLU(c, relative=config.relative_epsilons)

    def forward(
        self,
        g: Float[Tensor, "batch 3 C nodes"],
        v: Float[Tensor, "batch 3 C nodes"],
        h: Float[Tensor, "batch nodes D"],
        c: Float[Tensor, "batch K nodes nodes"],
    ) -> tuple[Float[Tensor, "batch 3 C nodes"], Float[Tensor, "batch nodes D"]]:
        first = F.silu(self.pair_first(h, distances(g))).chunk(len(self.pair_second), dim=1)
        m, *experts = (F.silu(second(x)) for second, x in zip(self.pair_second, first, strict=True))
        f = experts[0] * c[:, :1]
        for k, expert in enumerate(experts[1:], start=1):
            f = torch.addcmul(f, expert, c[:, k : k + 1])
        apart = towards(self.factor(f), g)  # from the layer's input G, as in the authors' code

        gate = F.silu(self.gate(h)).transpose(1, 2).unsqueeze(1)
        g = g + gate * (g - g.mean(dim=(2, 3), keepdim=True)) + apart + self.velocity(v)
        update = self.node(torch.cat([h, sum_over_others(m)], dim=-1))
        return self.nonlinearity(g), h + update if self.residual_features else update


def dct_matrix(n: int) -> Float[Tensor, "n n"]:
    """Return the orthonormal DCT-II of n samples; row k has frequency k."""
    k, t = np.arange(n)[:, None], np.arange(n)[None, :]
    matrix = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * t + 1) / (2 * n))
    matrix[0] /= np.sqrt(2)
    return torch.tensor(matrix, dtype=torch.float32)
