"""A hand forecaster without pairs of joints: joints exchange what they know by the means over their own hand and the other hand.

A joint has vectors (C of them, which turn with the hands) and invariants (D numbers). Every map of vectors is linear, without bias and the
same on each axis, and every gate depends on invariants alone. Both hands share the tokens of joints, and only "own hand" and "other hand"
enter. So rotation, translation and mirroring with swapped hands are exact, and the cost is linear in the number of joints.

- Displacements are divided by the root mean square step of the window: a motion twice as fast has an answer twice as far.
- The answer is the last pose plus velocities times gains that the joint's invariants choose, plus a read-out that begins at zero. An
  untrained network is therefore a damped velocity, and no answer jumps from the past's last frame.
- Joints that were not seen are filled over time, and a hand that was never seen has no part in any mean.

The definition is this project's own; equivariant maps of vectors and their norms are those of vector neurons (Deng et al. 2021,
arXiv:2104.12229).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.layers.filling import Filling

STILL_M = 1e-4  # a step of a hand at rest, 3 mm/s at 30 frames a second: below every tracker's noise
HAND_M, APART_M = 0.1, 0.3  # the sizes of a hand and of the distance between two
USUAL_M = 0.01  # a usual step of a moving hand
SEEN = 8  # learned features of what was seen
FLOOR_M = 5e-4  # the standard deviation of an untrained network at no motion
DECAY = 0.9  # of the untrained velocity from frame to frame, at 30 frames a second

Vectors = Float[Tensor, "batch hands joints 3 C"]
Invariants = Float[Tensor, "batch hands joints D"]


@dataclass(frozen=True)
class HandMeansConfig:
    """Sizes and options; the letters in comments are the module's.

    `base` says which gains the velocities have: one for each frame ("fixed"), or for each joint and frame by its invariants ("gains").
    """

    channels: int = 32  # C
    hidden: int = 48  # D
    products: int = 16  # learned scalar products of a layer
    layers: int = 3
    velocities: int = 4  # of the base
    base: Literal["fixed", "gains"] = "gains"
    scaled: bool = True  # displacements are divided by the window's own step
    speed: bool = True  # the logarithm of that step is an invariant
    steps: bool = True  # speed and turn of each past step are invariants
    curves: int = 3  # powers of time that an alternative mode is made of

    def build(self, task: HandForecast) -> "HandMeans":
        """Build the network for a task."""
        return HandMeans(task, self)


STANDARD = HandMeansConfig()


class Motion(NamedTuple):
    """The past of a window about its centre, in metres, with what the network reads in it."""

    last: Float[Tensor, "batch hands joints 3"]
    moved: Float[Tensor, "batch hands joints 3 steps"]  # each earlier frame less the last one
    steps: Float[Tensor, "batch hands joints 3 steps"]
    within: Float[Tensor, "batch hands joints steps"]  # 1 between the first seen frame and the last
    known: Float[
        Tensor, "batch hands 1 joints"
    ]  # the weights of the mean over a hand's joints, without those that were never seen
    scale: Float[Tensor, "batch 1 1 1"]  # the root mean square step


class HandMeans(nn.Module):
    """A forecaster of poses, equivariant to rotation, translation and mirroring with swapped hands."""

    symmetries = ("translation", "rotation", "mirror-swap")
    times: Tensor
    kinds: Tensor | None

    def __init__(self, task: HandForecast, config: HandMeansConfig = STANDARD) -> None:
        super().__init__()
        c, d, past, future = config.channels, config.hidden, task.past, task.future
        self.task, self.config, self.joints = task, config, len(task.layout.joints)
        self.filling = Filling(past) if task.masked else None
        times = torch.arange(1, future + 1) / future
        self.register_buffer("times", torch.stack([times ** (p + 1) for p in range(config.curves)]), persistent=False)

        self.embed_vectors = nn.Linear(past + 3, c + 2 * config.products, bias=False)
        self.embed_seen = nn.Linear(past, SEEN, bias=False) if task.masked else None
        features = c + config.products + (2 * past - 3) * config.steps + config.speed + SEEN * task.masked
        self.embed = nn.Linear(features, d, bias=False)
        kinds = task.layout.kinds
        self.tokens = nn.Parameter(0.3 * torch.randn(max(kinds) + 1, d))
        shared = len(set(kinds)) < len(kinds)  # a joint and its mirror image share a token
        self.register_buffer("kinds", torch.tensor(kinds) if shared else None, persistent=False)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

        k = config.velocities
        self.velocities = nn.Linear(past - 1, k, bias=False)
        self.gain = nn.Parameter(torch.zeros(k * future))
        self.gain_of = nn.Linear(d, k * future, bias=False) if config.base == "gains" else None
        self.read_out = nn.Linear(c, future, bias=False)
        with torch.no_grad():  # means of the last 1, 2, 4, ... steps, of which the first counts in the untrained answer
            self.read_out.weight.zero_()
            self.velocities.weight.zero_()
            for i in range(k):
                length = min(2**i, past - 1)
                self.velocities.weight[i, -length] = -1 / length
            self.gain.view(k, future)[0] = (DECAY ** torch.arange(1, future + 1)).cumsum(0)
            if self.gain_of is not None:
                self.gain_of.weight.zero_()
        if task.modes > 1:
            self.alternatives = nn.Linear(c, (task.modes - 1) * config.curves, bias=False)
        if task.spread:
            self.deviation = nn.Linear(d, future)
            self.choice = nn.Linear(d, task.modes)
            with torch.no_grad():
                self.deviation.weight.zero_()
                self.deviation.bias.copy_((0.3 * torch.arange(1, future + 1) ** 0.8).log())

    def forward(
        self, past: Float[Tensor, "batch past nodes 3"], seen: Float[Tensor, "batch past nodes"] | None = None
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Return future poses (batch, modes, future, nodes, 3) and, of a task with spread, `std` and `weights`; metres.

        Nodes are 21 (one hand) or 42 (two hands), or those of a skeleton of one's own. `seen`, of a masked task, is 1 or 0.
        """
        x = past.unflatten(2, (-1, self.joints)).permute(0, 2, 3, 4, 1)  # (batch, hands, joints, 3, past)
        if seen is None:
            centre = x.mean(dim=(1, 2, 4), keepdim=True)
        else:
            seen = seen.unflatten(2, (-1, self.joints)).permute(0, 2, 3, 1)
            x = x * seen.unsqueeze(3)
            number = seen.sum(dim=(1, 2, 3)).clamp_min(1.0)[:, None, None, None, None]
            centre = x.sum(dim=(1, 2, 4), keepdim=True) / number
        motion = self._motion(x - centre, seen)
        v, h = self._embed(motion, seen)
        for layer in self.layers:
            v, h = layer(v, h, motion.known)
        future = self._answer(motion, v, h) + (motion.last.unsqueeze(4) + centre).unsqueeze(1)
        future = future.permute(0, 1, 5, 2, 3, 4).flatten(3, 4)
        if not self.task.spread:
            return future
        weights = torch.softmax(self.choice(h.mean(dim=(1, 2))), dim=-1)
        return future, self._deviation(motion, h), weights

    def _motion(self, x: Float[Tensor, "batch hands joints 3 past"], seen: Tensor | None) -> Motion:
        if seen is None or self.filling is None:
            within = torch.ones_like(x[..., 0, 1:])
            known = torch.full_like(x[..., 0, 0], 1 / self.joints).unsqueeze(2)
        else:
            x, frames = self.filling(x * seen.unsqueeze(3), seen)
            within = frames[..., 1:] * frames[..., :-1]
            present = frames.amax(dim=3).unsqueeze(2)
            known = present / present.sum(3, keepdim=True).clamp_min(1.0)
            mean = (known @ x.flatten(3)).unflatten(3, (3, -1))
            x = x + (1 - present.transpose(2, 3)).unsqueeze(4) * mean
        last = x[..., -1]
        steps = x[..., 1:] - x[..., :-1]
        square = (steps.square().sum(3) * within).sum(dim=(1, 2, 3)) / within.sum(dim=(1, 2, 3)).clamp_min(1.0)
        # in units of STILL_M, since the ONNX exporter drops a term as small as its square
        scale = STILL_M * (square / STILL_M**2 + 1).sqrt()[:, None, None, None]
        if not self.config.scaled:
            scale = torch.full_like(scale, USUAL_M)
        return Motion(last, x[..., :-1] - last.unsqueeze(4), steps, within, known, scale)

    def _embed(self, motion: Motion, seen: Tensor | None) -> tuple[Vectors, Invariants]:
        last, moved, steps, within, known, scale = motion
        own, other = _means(last, known)
        both = known.sum(dim=(1, 3), keepdim=True) > 1.5  # hands that were seen
        inside, apart = (last - own) / HAND_M, (last - other) / APART_M * both
        mean = (steps * within.unsqueeze(3)).sum(4) / within.sum(3, keepdim=True).clamp_min(1.0)
        four = torch.stack([mean / scale, steps[..., -1] / scale, inside, apart], dim=4)
        scale = scale.unsqueeze(4)
        v = self.embed_vectors(torch.cat([moved * (0.2 / scale), four], dim=4))
        v, products = _products(v, self.config.channels)
        features = [products]
        if self.config.steps:
            steps = steps / scale
            features += [_soft(steps.square().sum(3)), _soft((steps[..., 1:] * steps[..., :-1]).sum(3))]
        if self.config.speed:
            features.append((scale[..., 0] / USUAL_M).log().expand(*last.shape[:3], 1))
        if seen is not None and self.embed_seen is not None:
            features.append(self.embed_seen(seen))
        return v, F.silu(self.embed(torch.cat(features, dim=3)) + self._tokens())

    def _tokens(self) -> Float[Tensor, "joints D"]:
        return self.tokens if self.kinds is None else self.tokens[self.kinds]

    def _answer(self, motion: Motion, v: Vectors, h: Invariants) -> Float[Tensor, "batch modes hands joints 3 future"]:
        """Return the displacement from the last pose, in metres."""
        k, future, scale = self.config.velocities, self.task.future, motion.scale.unsqueeze(4)
        velocities = self.velocities(motion.moved)  # (batch, hands, joints, 3, k)
        if self.gain_of is None:
            moved = velocities @ self.gain.view(k, future)
        else:
            moved = velocities @ (self.gain_of(h) + self.gain).unflatten(3, (k, future))
        moved = (moved + self.read_out(v) * scale).unsqueeze(1)
        if self.task.modes == 1:
            return moved
        curves = (self.alternatives(v) * scale).unflatten(4, (self.task.modes - 1, self.config.curves))
        return torch.cat([moved, moved + curves.permute(0, 4, 1, 2, 3, 5) @ self.times], dim=1)

    def _deviation(self, motion: Motion, h: Invariants) -> Float[Tensor, "batch future nodes"]:
        """Return the standard deviation of a coordinate, in metres."""
        deviation = self.deviation(h).clamp(-8, 8).exp() * (motion.scale + FLOOR_M)
        return deviation.flatten(1, 2).transpose(1, 2)


class Layer(nn.Module):
    """One exchange between the joints of a hand and of both hands."""

    def __init__(self, config: HandMeansConfig) -> None:
        super().__init__()
        c, d = config.channels, config.hidden
        self.channels = c
        self.mix = nn.Linear(c, c + 2 * config.products, bias=False)
        self.mix_hands = nn.Linear(2 * c, c + 2 * config.products, bias=False)
        self.first = nn.Linear(c + config.products + d, d)
        self.first_hands = nn.Linear(2 * d, d, bias=False)
        self.second = nn.Linear(d, d + c)

    def forward(
        self, v: Vectors, h: Invariants, known: Float[Tensor, "batch hands 1 joints"]
    ) -> tuple[Vectors, Invariants]:
        """Return the new vectors and invariants; `known` are the weights of means over a hand."""
        hands = torch.cat(_means(v, known), dim=4)
        mixed, products = _products(self.mix(v) + self.mix_hands(hands), self.channels)
        inside = self.first(torch.cat([products, h], dim=3)) + self.first_hands(torch.cat(_means(h, known), dim=3))
        update, gate = self.second(F.silu(inside)).split([h.shape[3], self.channels], dim=3)
        return v + torch.sigmoid(gate).unsqueeze(3) * mixed, h + update


def _means(
    x: Float[Tensor, "batch hands joints *any"], known: Float[Tensor, "batch hands 1 joints"]
) -> tuple[Float[Tensor, "batch hands 1 *any"], Float[Tensor, "batch hands 1 *any"]]:
    """Return the weighted mean over each hand, and that of the other hand, which is 0 if there is none."""
    own = (known @ x.flatten(3)).view(*known.shape[:3], *x.shape[3:])
    return own, own.sum(1, keepdim=True) - own


def _products(
    x: Float[Tensor, "batch hands joints 3 all"], c: int
) -> tuple[Vectors, Float[Tensor, "batch hands joints products"]]:
    """Return the first c vectors, and the squares of these with the products of the others' halves, softened."""
    e = (x.shape[4] - c) // 2
    v, left, right = x.split([c, e, e], dim=4)
    return v, _soft((torch.cat([v, left], dim=4) * torch.cat([v, right], dim=4)).sum(3))


def _soft(x: Tensor) -> Tensor:
    """Return x / sqrt(1 + |x|), which grows like a length where x is a square of one."""
    return x * (1 + x.abs()).rsqrt()
