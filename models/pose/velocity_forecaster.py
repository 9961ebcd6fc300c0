"""A forecaster of 2D poses that begins as a damped velocity: gains and a read-out by a chiral perceptron over the whole past.

The answer is the last pose, plus mean velocities of the last frames times gains that the motion chooses, plus a read-out that begins at
zero. An untrained network is therefore a damped velocity, and no answer jumps from the last pose. Displacements are divided by the root
mean square step of the window: a motion twice as fast has an answer twice as far. Joints that were not seen are filled over time. How
rough the steps are tells a detector's noise from motion.

The perceptron reads all joints and frames at once, as in Bouazizi et al. 2022 (arXiv:2207.01000) and Guo et al. 2023 (arXiv:2207.01567);
its layers are chiral, as in Yeh et al. 2019 (arXiv:1911.00029). Base, gains and scale are this project's own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import PoseForecast
from models.layers.chiral import ChiralLinear
from models.layers.chiral_spec import Spec
from models.layers.filling import Filling
from models.pose.ends import Enter, Leave, joints_as, pairs, twin
from models.pose.perceptron import Residual

STILL = 5e-4  # a step of a person at rest, in half boxes: a quarter of a pixel for a person of 1000 pixels
USUAL = 0.03  # a usual step of a moving person
HIDDEN = pairs(256)
DECAY = 0.8  # of the untrained velocity from frame to frame, at 15 frames a second


@dataclass(frozen=True)
class VelocityForecasterConfig:
    """Sizes and options: `hidden` is the spec of a layer's row; `chiral=False` makes the plain twin of the same width."""

    hidden: Spec = HIDDEN
    chiral: bool = True
    blocks: int = 3
    velocities: int = 3  # of the base: means of the last 1, 2, 4, ... steps
    dropout: float = 0.1

    def build(self, task: PoseForecast) -> "VelocityForecaster":
        """Build the network for a task."""
        return VelocityForecaster(task, self)


class VelocityForecaster(nn.Module):
    """A network from past poses (batch, past, joints, 2 or 3) to future ones (batch, future, joints, 2), in half boxes.

    A confidence counts as seen if it is above 0.
    """

    means: Tensor

    def __init__(self, task: PoseForecast, config: VelocityForecasterConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.symmetries = ("chirality",) if config.chiral else ()
        past, future, k = task.past, task.future, config.velocities
        hidden = twin(config.hidden, chiral=config.chiral)
        numbers = joints_as(task.order, 2 * past + 3, negated=range(past), chiral=config.chiral)
        moves = joints_as(task.order, 2 * future, negated=range(future), chiral=config.chiral)
        gains = joints_as(task.order, k * future, negated=(), chiral=config.chiral)
        self.filling = Filling(past)
        self.enter, self.leave = Enter(numbers), Leave(moves, 2 * future)
        self.leave_gains = Leave(gains, k * future)
        self.first = ChiralLinear(numbers.spec, hidden, gain=1.0)
        self.blocks = nn.ModuleList(Residual(hidden, config.dropout) for _ in range(config.blocks))
        self.read_out, self.gains = (ChiralLinear(hidden, out.spec, gain=0.0) for out in (moves, gains))
        self.base = nn.Parameter(torch.zeros(k, future))
        means = torch.zeros(past - 1, k)
        for i in range(k):
            length = min(2**i, past - 1)
            means[past - 1 - length :, i] = 1 / length
        with torch.no_grad():
            self.base[0] = (DECAY ** torch.arange(1, future + 1)).cumsum(0)
        self.register_buffer("means", means, persistent=False)

    def forward(self, past: Float[Tensor, "batch past joints numbers"]) -> Float[Tensor, "batch future joints 2"]:
        """Return the future poses."""
        x = past[..., :2].permute(0, 2, 3, 1)  # (batch, joints, 2, past)
        seen = (past[..., 2] > 0).to(x).transpose(1, 2) if self.task.confidence else torch.ones_like(x[:, :, 0])
        x, within = self.filling(x * seen.unsqueeze(2), seen)
        last, steps = x[..., -1], x[..., 1:] - x[..., :-1]
        between = within[..., 1:] * within[..., :-1]
        square = (steps.square().sum(2) * between).sum((1, 2)) / between.sum((1, 2)).clamp_min(1.0)
        scale = STILL * (square / STILL**2 + 1).sqrt()[:, None, None, None]
        rows = torch.cat([steps / scale, last.unsqueeze(3)], 3).flatten(2)
        ever = within.amax(2, keepdim=True)
        speed = (scale[..., 0] / USUAL).log() * ever
        rough = self._roughness(steps, between).unsqueeze(2)
        h = self.first(self.enter(torch.cat([rows, ever, speed, rough], 2)))
        for block in self.blocks:
            h = block(h)
        gains = self.leave_gains(self.gains(h)).unflatten(2, self.base.shape) + self.base
        moved = (steps @ self.means) @ gains + self.leave(self.read_out(h)).unflatten(2, (2, -1)) * scale
        return (last.unsqueeze(3) + moved).permute(0, 3, 1, 2)

    @staticmethod
    def _roughness(
        steps: Float[Tensor, "batch joints 2 steps"], between: Float[Tensor, "batch joints steps"]
    ) -> Float[Tensor, "batch joints"]:
        """Return the mean square change of a joint's steps divided by their mean square: 3 for noise alone, near 0 for even motion."""
        steps = steps / STILL  # since the ONNX exporter drops a term as small as the square of STILL
        change = (steps[..., 1:] - steps[..., :-1]).square().sum(2) * between[..., 1:] * between[..., :-1]
        return change.sum(2) / ((steps.square().sum(2) * between).sum(2) + 0.1)
