"""EqMotion, Xu, Tan, Tan, Chen, Wang, Wang and Wang 2023 (arXiv:2303.10876): equivariant motion forecasting with invariant reasoning.

Names are the paper's: G geometric features (vectors), h pattern features (invariants), c interaction categories. The authors' code adds to
the paper's equations a factor network after the experts, the velocity inside the layers, reasoning on [G; V], and experts for K - 2 of the
K categories; so does this module. `REFERENCE` is the authors' network. A test holds it to a slow independent one. `STANDARD` is the
default. It keeps these differences from `REFERENCE`:

- The output is a learned correction of the last pose, so an untrained network repeats the last pose instead of being decimetres off.
- Tokens belong to joints, not nodes. Both hands share them, and only "same hand or not" enters, so the swap of mirrored hands is exact.
- Epsilons scale with the motion. The turn of a velocity is a smooth ratio, which is 0 for a joint at rest instead of a random angle.
- It has no DCT, whose effect alone has not been measured here.
- The nonlinearity acts about the origin, which is the mean of the past, not about the mean of the features. It is one operation less.
- SiLU follows both layers of a layer's node network, as in every other perceptron here.

The last two are not known to help: in short trainings the network was slightly better on validation data without them. `STANDARD` keeps
them because the published results and weights were made with them.

Both evaluate the first layers on pairs as W1 h_i + W2 h_j + W3 d_ij, the same function at half the multiplications. Both move the mean of
the past to the origin first, so the layers see the same numbers wherever the hands are.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.eqmotion_graph import graph_of, laid_out
from models.layers.pairs import PairLinear, PairMap, distances, pair_perceptron, sum_over_others, towards
from models.layers.perceptron import perceptron
from models.layers.vectors import VectorLinear, VectorReLU
from models.skeletons.hand import HAND_PAIR

DECIMETRES = 10.0  # metres to the unit inside, in which a hand has size 1
NODES = len(HAND_PAIR.joints)
# Metadata of an option younger than results: at its default it does not count in a run's fingerprint.
LATER = {"fingerprint": "changed"}


@dataclass(frozen=True)
class EqMotionConfig:
    """Sizes and options; the letters in comments are the paper's."""

    channels: int = 32  # C, vectors of a node
    hidden: int = 32  # D, invariants of a node
    layers: int = 2  # L
    categories: int = 4  # K
    # One for each of the first categories; the others mean "no interaction". None is K - 2, at least 0.
    experts: int | None = field(default=None, metadata={"described_as": "expert_count"})
    temperature: float = 1.0  # tau
    tokens: Literal["none", "node", "joint"] = "joint"
    dct: bool = False
    place_features: bool = field(default=False, metadata=LATER)  # inputs of h beside the speed; see EqMotion._features
    residual_output: bool = True  # add to the last pose, not to the mean of G(L)
    residual_features: bool = True
    relative_epsilons: bool = True
    centred_nonlinearity: bool = field(default=False, metadata=LATER)
    activated_features: bool = field(default=True, metadata=LATER)  # SiLU after a layer's node network

    def __post_init__(self) -> None:
        """Refuse more experts than categories with ValueError."""
        if not 0 <= self.expert_count <= self.categories:
            raise ValueError(
                f"expected 0 to {self.categories} experts for {self.categories} categories, got {self.experts}"
            )

    @property
    def expert_count(self) -> int:
        """The number of categories that have an expert."""
        return max(self.categories - 2, 0) if self.experts is None else self.experts

    def build(self, task: HandForecast) -> "EqMotion":
        """Build the network for a task."""
        return EqMotion(task, self)


STANDARD = EqMotionConfig()
REFERENCE = EqMotionConfig(
    tokens="none",
    dct=True,
    residual_output=False,
    relative_epsilons=False,
    centred_nonlinearity=True,
    activated_features=False,
)


class EqMotion(nn.Module):
    """A forecaster of poses, equivariant to rotation, translation and, unless tokens belong to nodes, mirroring with swapped hands."""

    dct: Tensor
    idct: Tensor
    kinds: Tensor | None

    def __init__(self, task: HandForecast, config: EqMotionConfig = STANDARD) -> None:
        super().__init__()
        c, d = config.channels, config.hidden
        self.task, self.config = task, config
        self.symmetries = ("translation", "rotation") + (("mirror-swap",) if config.tokens != "node" else ())
        self.embed_speed = nn.Linear(task.past + (task.past + 2 if config.place_features else 0), d // 2)
        self.embed_turn = nn.Linear(task.past, d - d // 2)
        if config.tokens != "none":
            kinds = task.layout.kinds
            by_joint = config.tokens == "joint"
            self.tokens = nn.Parameter(torch.randn(max(kinds) + 1 if by_joint else 2 * len(kinds), d))
            shared = by_joint and len(set(kinds)) < len(kinds)  # a joint and its mirror image share a token
            self.register_buffer("kinds", torch.tensor(kinds) if shared else None, persistent=False)
            self.embed_tokens = perceptron(2 * d, d, d)
        self.embed_position = VectorLinear(task.past, c)  # W_x
        self.embed_velocity = VectorLinear(task.past, c)  # W_v
        self.reasoning = Reasoning(config, len(task.layout.joints))
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
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands), or those of a skeleton of one's own."""
        x = past.permute(0, 3, 1, 2) * DECIMETRES  # (batch, 3, past, nodes)
        centre = mean(x)
        x = x - centre
        v = x[:, :, 1:] - x[:, :, :-1]
        v = torch.cat([v[:, :, :1], v], dim=2)  # v_0 := v_1
        last = x[:, :, -1:]

        speed = length(v)
        turn = self._turn(v, speed)
        h = torch.cat(
            [self.embed_speed(self._features(x, speed).transpose(1, 2)), self.embed_turn(turn.transpose(1, 2))], dim=-1
        )
        if self.config.tokens != "none":
            tokens = self.tokens if self.kinds is None else self.tokens[self.kinds]
            tokens = torch.cat([tokens, tokens]) if self.config.tokens == "joint" else tokens
            h = self.embed_tokens(torch.cat([h, tokens[: h.shape[1]].expand(h.shape[0], -1, -1)], dim=-1))
        if self.config.dct:
            x, v = self.dct @ x, self.dct @ v
            offset = mean(x)  # the mean of the coefficients; without the DCT it is 0
            g = self.embed_position(x - offset) + offset
        else:
            g = self.embed_position(x)  # (batch, 3, C, nodes)
        v = self.embed_velocity(v)

        c = self.reasoning(h, torch.cat([g, v], dim=2))
        for layer in self.layers:
            g, h = layer(g, v, h, c)

        about = mean(g)
        y = self.read_out(g - about)
        if not self.config.residual_output:
            y = y + about
        y = y.unflatten(2, (self.task.modes, self.task.future))
        if self.config.dct:
            y = self.idct @ y
        y = y + ((last + centre) if self.config.residual_output else centre).unsqueeze(2)
        return y.permute(0, 2, 3, 4, 1) / DECIMETRES

    def onnx_graph(self) -> bytes | None:
        """Return the graph that is laid out for ONNX Runtime, or None for a structure that is traced."""
        return graph_of(self) if laid_out(self.config) else None

    def _features(
        self, x: Float[Tensor, "batch 3 past nodes"], speed: Float[Tensor, "batch past nodes"]
    ) -> Float[Tensor, "batch features nodes"]:
        """Return the invariants of each node that enter h with the turns: its speeds, and with `place_features` where it is.

        A parameter count of EqMotion on two hands implies T + 2 inputs more than the speeds. Which ones is not published. The choice here
        is inferred: the distance from the mean of all nodes in each frame, the node's displacement over the past, and the mean's.
        """
        if not self.config.place_features:
            return speed
        way = x[:, :, -1:] - x[:, :, :1]
        mean_way = way.mean(dim=3, keepdim=True).expand_as(way)
        return torch.cat([speed, length(x - x.mean(dim=3, keepdim=True)), length(way), length(mean_way)], dim=1)

    def _turn(
        self, v: Float[Tensor, "batch 3 past nodes"], speed: Float[Tensor, "batch past nodes"]
    ) -> Float[Tensor, "batch past nodes"]:
        """Return how much each velocity turned from the one before it: the angle in radians, or with relative epsilons a smooth cosine."""
        before = torch.cat([v[:, :, :1], v[:, :, :-1]], dim=2)
        speed_before = torch.cat([speed[:, :1], speed[:, :-1]], dim=1)
        along = (before * v).sum(1)
        if not self.config.relative_epsilons:
            cosine = along / ((speed_before + 1e-6) * (speed + 1e-6))
            return torch.acos(cosine.clamp(-1, 1))
        square = speed.square()
        floor = 0.1 * square.mean(
            dim=(1, 2), keepdim=True
        )  # relative to the clip, so that the turn of a joint at rest is 0
        return along / (0.5 * (square + speed_before.square()) + floor)


class Reasoning(nn.Module):
    """Invariant reasoning (sec. 4.3): category probabilities of every ordered pair of nodes, from h and the distances of [G; V]."""

    def __init__(self, config: EqMotionConfig, joints: int) -> None:
        super().__init__()
        self.joints = joints  # of one hand
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
            hand = torch.arange(h.shape[1], device=h.device) // self.joints
            first = first + self.same_hand[:, None, None] * (hand[:, None] == hand)
        logits = F.silu(self.category_second(F.silu(first)))
        return torch.softmax(logits / self.temperature, dim=1)


class Layer(nn.Module):
    """One equivariant layer for G (sec. 4.1) and one invariant layer for h (sec. 4.2).

    Without experts, the factor network reads 0 for every pair: one learned factor, the same for all. The published parameter counts of
    K = 2 have this network, too.
    """

    def __init__(self, config: EqMotionConfig) -> None:
        super().__init__()
        c, d, experts = config.channels, config.hidden, config.expert_count
        self.residual_features, self.centred = config.residual_features, config.centred_nonlinearity
        # The first layers of the message network and of every expert, side by side: all read [h_i, h_j, |G_i - G_j|].
        self.pair_first = PairLinear(d, c, (1 + experts) * d)
        self.pair_second = nn.ModuleList(PairMap(d, out) for out in (d, *experts * (c,)))
        self.factor = pair_perceptron(c, c, c)
        node = perceptron(2 * d, d, d)
        self.node = node if config.activated_features else node[:-1]
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
        f = c.new_zeros(c.shape[0], g.shape[2], c.shape[2], c.shape[3]) if not experts else experts[0] * c[:, :1]
        for k, expert in enumerate(experts[1:], start=1):
            f = torch.addcmul(f, expert, c[:, k : k + 1])
        apart = towards(self.factor(f), g)  # from the layer's input G, as in the authors' code

        gate = F.silu(self.gate(h)).transpose(1, 2).unsqueeze(1)
        g = g + gate * (g - mean(g)) + apart + self.velocity(v)
        about = mean(g) if self.centred else None
        g = self.nonlinearity(g) if about is None else self.nonlinearity(g - about) + about
        update = self.node(torch.cat([h, sum_over_others(m)], dim=-1))
        return g, h + update if self.residual_features else update


def mean(g: Float[Tensor, "batch 3 C nodes"]) -> Float[Tensor, "batch 3 1 1"]:
    """Return the mean vector over channels and nodes."""
    return g.mean(dim=(2, 3), keepdim=True)


def length(v: Float[Tensor, "batch 3 frames nodes"]) -> Float[Tensor, "batch frames nodes"]:
    """Return the lengths of vectors, at least 1e-6, which keeps gradients finite."""
    return v.square().sum(1).clamp_min(1e-12).sqrt()


def dct_matrix(n: int) -> Float[Tensor, "n n"]:
    """Return the orthonormal DCT-II of n samples; row k has frequency k."""
    k, t = np.arange(n)[:, None], np.arange(n)[None, :]
    matrix = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * t + 1) / (2 * n))
    matrix[0] /= np.sqrt(2)
    return torch.tensor(matrix, dtype=torch.float32)
