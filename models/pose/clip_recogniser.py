"""A recogniser of actions by a chiral perceptron over a whole clip of a fixed number of frames.

Each pose is taken from the middle of its body, and the path of that middle is one more joint. Both are divided by the size of the person,
so neither a person's height nor an error in the unit matters. All frames of all joints are one row, and layers are chiral, as in Yeh et al.
2019 (arXiv:1911.00029): features of a clip and of its mirror image give the same logits, but for classes that name a side. It needs a
hundredth of the products of convolutions over time, and is meant for small data. The definition is this project's own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import ActionRecognition
from models.layers.chiral import ChiralLinear, ChiralLogits
from models.layers.chiral_spec import Spec, order_of
from models.pose.ends import Enter, pairs, twin
from models.pose.none_of_these import NoneOfThese
from models.pose.perceptron import Residual
from models.skeletons.body_orders import get_body_order

SMALLEST = 1e-3  # of a person's size, which is divided by
HIDDEN = pairs(256)


@dataclass(frozen=True)
class ClipRecogniserConfig:
    """Sizes and options: `hidden` is the spec of a layer's row; `chiral=False` makes the plain twin of the same width.

    `none` has the slope and the offset of `NoneOfThese`, for a task with `none`.
    """

    hidden: Spec = HIDDEN
    chiral: bool = True
    blocks: int = 2
    dropout: float = 0.3
    none: tuple[float, float] | None = None

    def build(self, task: ActionRecognition) -> "ClipRecogniser":
        """Build the network for a task."""
        return ClipRecogniser(task, self)


class ClipRecogniser(nn.Module):
    """A network from clips (batch, persons, frames, joints, dims + 1) to logits, linear in the mean over persons.

    A confidence counts as seen if it is above 0. Raises ValueError for a task with `none` whose configuration lacks it, and the reverse.
    """

    def __init__(self, task: ActionRecognition, config: ClipRecogniserConfig) -> None:
        super().__init__()
        if task.none != (config.none is not None):
            raise ValueError(f"expected a slope and an offset of none, for a task with none alone, got {config.none}")
        self.task, self.config = task, config
        self.symmetries = ("chirality",) if config.chiral else ()
        mirror = get_body_order(task.order).mirror
        joints = (*mirror, len(mirror)) if config.chiral else range(len(mirror) + 1)  # the path is the last joint
        negated = range(task.frames) if config.chiral else ()
        order = order_of(joints, task.dims * task.frames + 1, tuple(negated))
        hidden = twin(config.hidden, chiral=config.chiral)
        self.enter, self.first = Enter(order), ChiralLinear(order.spec, hidden, gain=1.0)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Residual(hidden, config.dropout) for _ in range(config.blocks))
        self.logits = ChiralLogits(hidden, task.class_mirror if config.chiral else range(len(task.classes)))
        self.none = NoneOfThese(*config.none) if config.none else nn.Identity()

    def forward(self, clips: Float[Tensor, "batch persons frames joints numbers"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of clips, whose last number of each joint is its confidence."""
        return self.none(self.logits(self.features(clips)))

    def features(self, clips: Float[Tensor, "batch persons frames joints numbers"]) -> Float[Tensor, "batch width"]:
        """Return the row that the logits are linear in."""
        persons, x = clips.shape[1], clips.flatten(0, 1)
        place, seen = x[..., :-1], (x[..., -1:] > 0).to(x)
        middle = (place * seen).sum(2, keepdim=True) / seen.sum(2, keepdim=True).clamp_min(1.0)
        there = seen.amax(2, keepdim=True)
        pose = (place - middle) * seen
        path = (middle - (middle * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1.0)) * there
        size = (pose.square().sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp_min(1.0)).sqrt()
        rows = torch.cat([pose, path], 2) / (size + SMALLEST)[:, None, None, None]
        shares = torch.cat([seen, there], 2).mean(1)
        rows = torch.cat([rows.permute(0, 2, 3, 1).flatten(2), shares], 2)
        h = self.dropout(self.first(self.enter(rows)))
        for block in self.blocks:
            h = block(h)
        return h.unflatten(0, (-1, persons)).mean(1)
