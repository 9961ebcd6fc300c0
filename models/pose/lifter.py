"""Temporal convolutions from 2D keypoints to 3D poses, Pavllo et al. 2019 (arXiv:1811.11742), with chiral layers.

Every layer is chiral, as in Yeh et al. 2019 (arXiv:1911.00029). An expanding layer is followed by residual blocks, each of a convolution
over 3 frames that are 3^i apart and one over a single frame, and by a layer that shrinks to the pose of the middle frame. In training a
window as long as the receptive field passes with strides and gives one pose. Otherwise a clip of any length passes with dilation and gives
a pose for each frame with enough frames on both sides. Unlike the papers' networks, this one places the pelvis exactly at 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import PoseLift
from models.layers.chiral import TANH, ChiralBatchNorm, fold_norm
from models.layers.chiral_spec import Spec
from models.layers.chiral_time import ChiralTaps, Rows
from models.pose.ends import RELU, Activation, Enter, Leave, activation, joints_as, pairs, twin
from models.skeletons.body_orders import get_body_order

TAPS = 3
HIDDEN = pairs(256)


class UnsuitableWindow(ValueError):
    """A receptive field that is not a power of 3."""


@dataclass(frozen=True)
class LifterConfig:
    """Sizes and options: `hidden` is the spec of hidden rows; `chiral=False` makes the plain twin of the same width.

    `single` is the number of blocks if the receptive field is one frame.
    """

    hidden: Spec = HIDDEN
    chiral: bool = True
    nonlinearity: Activation = "relu"
    dropout: float = 0.25
    paper_exact: bool = False
    single: int = 2

    def build(self, task: PoseLift) -> "Lifter":
        """Build the network for a task. Raises UnsuitableWindow unless its receptive field is a power of 3."""
        return Lifter(task, self)


PAPER = LifterConfig(Spec.of_joints(pairs=6, centre=5, numbers=60, negated=20), nonlinearity="tanh", paper_exact=True)


class Lifter(nn.Module):
    """A network from keypoints (batch, frames, seen joints, 2 or 3) to poses (batch, frames - receptive + 1, joints, 3), in metres.

    Raises UnsuitableWindow unless the receptive field is a power of 3.
    """

    def __init__(self, task: PoseLift, config: LifterConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.symmetries = ("chirality",) if config.chiral else ()
        blocks, receptive = 0, task.receptive
        while receptive % TAPS == 0:
            receptive //= TAPS
            blocks += 1
        if receptive != 1:
            raise UnsuitableWindow(f"expected a receptive field of a power of {TAPS} frames, got {task.receptive}")
        taps = [TAPS] * blocks or [1] * (1 + config.single)
        numbers = 3 if task.confidence else 2
        seen = joints_as(task.seen_order, numbers, chiral=config.chiral)
        out = joints_as(task.order, 3, chiral=config.chiral)
        hidden = twin(config.hidden, chiral=config.chiral)
        gain = RELU if config.nonlinearity == "relu" else TANH
        exact = config.paper_exact and config.chiral
        self.enter, self.leave = Enter(seen), Leave(out, 3)
        self.expand = Conv(seen.spec, hidden, taps[0], config, gain)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Conv(hidden, hidden, k, config, gain), Conv(hidden, hidden, 1, config, gain)])
            for k in taps[1:]
        )
        self.shrink = ChiralTaps(
            hidden, out.spec, paper_exact=exact, gain=0.1
        )  # poses have the size of a metre, and initial ones are small
        self.register_buffer("pelvis", torch.tensor(get_body_order(task.order).indices(("pelvis",))), persistent=False)

    def forward(self, keypoints: Float[Tensor, "batch frames seen numbers"]) -> Float[Tensor, "batch poses joints 3"]:
        """Return the poses of all frames that have a whole receptive field around them."""
        strided = self.training and keypoints.shape[1] == self.task.receptive
        x = self.enter(keypoints)
        frames = x.shape[1]
        if alone := self.task.receptive == 1:
            x = x.flatten(0, 1)  # ONNX then has Gemm, which reads weights faster than MatMul and adds the bias
        x = self.expand(x, strided, 1)
        dilation = self.expand.map.taps
        for wide, narrow in self.blocks:  # pyright: ignore[reportGeneralTypeIssues] - ModuleList forgets
            taps = wide.map.taps
            if taps == 1:
                kept = x
            elif strided:
                kept = x[:, taps // 2 :: taps]
            else:
                reach = dilation * (taps // 2)
                kept = x[:, reach : x.shape[1] - reach]
            x = kept + narrow(wide(x, strided, dilation), strided, 1)
            dilation *= taps
        poses = self.leave(self.shrink(x))
        poses = poses.unflatten(0, (-1, frames)) if alone else poses
        return poses - poses.index_select(2, self.get_buffer("pelvis"))


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, nonlinearity, dropout."""

    def __init__(self, spec: Spec, out: Spec, taps: int, config: LifterConfig, gain: float) -> None:
        super().__init__()
        exact = config.paper_exact and config.chiral
        self.map = ChiralTaps(spec, out, taps, bias=False, paper_exact=exact, gain=gain)
        self.norm: nn.Module = ChiralBatchNorm(out, dim=-1)
        self.rest = nn.Sequential(activation(config.nonlinearity, out), nn.Dropout(config.dropout))

    def fold(self) -> None:
        """Fold the normalisation into the convolution before it."""
        assert isinstance(self.norm, ChiralBatchNorm)
        self.map, self.norm = fold_norm(self.map, self.norm), nn.Identity()

    def forward(self, x: Rows, strided: bool, dilation: int) -> Float[Tensor, "*rows_out width_out"]:
        stride = self.map.taps if strided else 1
        return self.rest(self.norm(self.map(x, stride, 1 if strided else dilation)))
