"""A lifter of 2D keypoints by a chiral perceptron over a window of frames, beside a linear map of the same numbers.

Each window is taken from the middle of the body and divided by the person's size in the picture, so the size does not matter. The place
does: a person off the middle of the picture is seen from another side than one in the middle whom the camera's axes turn in the same way.
Joints that were not seen are filled over time. What the perceptron reads out begins at zero, and an untrained network is the linear map.

Martinez et al. 2017 (arXiv:1705.03098) lift single frames by a perceptron. Layers are chiral, as in Yeh et al. 2019 (arXiv:1911.00029).
Window, size and linear map are this project's own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import PoseLift
from models.layers.chiral import ChiralLinear
from models.layers.chiral_spec import Spec, order_of
from models.layers.filling import Filling
from models.pose.ends import Enter, Leave, joints_as, pairs, twin
from models.pose.perceptron import Residual
from models.skeletons.body_orders import get_body_order

SMALLEST = 1e-6  # half widths: no person is as small in a picture
FARTHEST = 1.5  # half widths from the middle of the picture
LEAST = 0.05  # of the length of the person's path in the picture, which the size is never below
HIDDEN = pairs(512)


@dataclass(frozen=True)
class WindowLifterConfig:
    """Sizes and options: `hidden` is the spec of a layer's row; `chiral=False` makes the plain twin of the same width."""

    hidden: Spec = HIDDEN
    chiral: bool = True
    blocks: int = 2
    dropout: float = 0.1

    def build(self, task: PoseLift) -> "WindowLifter":
        """Build the network for a task."""
        return WindowLifter(task, self)


class WindowLifter(nn.Module):
    """A network from keypoints (batch, frames, seen joints, 2 or 3) to poses (batch, frames - receptive + 1, joints, 3), in metres.

    A confidence counts as seen if it is above 0; without confidences all joints count as seen.
    """

    def __init__(self, task: PoseLift, config: WindowLifterConfig) -> None:
        super().__init__()
        self.task, self.config = task, config
        self.symmetries = ("chirality",) if config.chiral else ()
        mirror, receptive = get_body_order(task.seen_order).mirror, task.receptive
        joints = (*mirror, len(mirror)) if config.chiral else range(len(mirror) + 1)  # the path is the last joint
        seen = order_of(joints, 2 * receptive + 2, tuple(range(receptive)) if config.chiral else ())
        out, hidden = joints_as(task.order, 3, chiral=config.chiral), twin(config.hidden, chiral=config.chiral)
        self.filling = Filling(receptive)
        self.enter, self.leave = Enter(seen), Leave(out, 3)
        self.linear = ChiralLinear(seen.spec, out.spec, gain=0.1)
        self.first = ChiralLinear(seen.spec, hidden, gain=1.0)
        self.blocks = nn.ModuleList(Residual(hidden, config.dropout) for _ in range(config.blocks))
        self.read_out = ChiralLinear(hidden, out.spec, gain=0.0)
        self.register_buffer("pelvis", torch.tensor(get_body_order(task.order).indices(("pelvis",))), persistent=False)

    def forward(self, keypoints: Float[Tensor, "batch frames seen numbers"]) -> Float[Tensor, "batch poses joints 3"]:
        """Return the poses of all frames that have a whole window around them."""
        x = self.enter(self.windows(keypoints))
        h = self.first(x)
        for block in self.blocks:
            h = block(h)
        poses = self.leave(self.linear(x) + self.read_out(h))
        return poses - poses.index_select(2, self.get_buffer("pelvis"))

    def windows(self, keypoints: Float[Tensor, "batch frames seen numbers"]) -> Float[Tensor, "batch poses _ numbers_"]:
        """Return the numbers of every joint and of the path in each window, whatever the size of the person in the picture.

        The numbers of a joint are its x and its y in every frame, from the middle of the body in that frame, whether it was ever seen, and
        the share of frames in which it was. The path is that of the middle, from its mean place; the place, in half widths, is added.
        """
        poses = keypoints.shape[1] - self.task.receptive + 1
        frames = torch.stack([keypoints[:, k : k + poses] for k in range(self.task.receptive)], -1)
        seen = (frames[..., 2, :] > 0).to(frames) if self.task.confidence else torch.ones_like(frames[..., 0, :])
        x, _ = self.filling(frames[..., :2, :] * seen.unsqueeze(3), seen)
        ever = seen.amax(3, keepdim=True)
        count = ever.sum(2, keepdim=True).clamp_min(1.0).unsqueeze(3)
        middle = x.sum(2, keepdim=True) / count  # what was never seen is at 0
        pose = (x - middle) * ever.unsqueeze(3)
        place = middle.mean(4, keepdim=True)
        path = middle - place
        size = (pose.square().sum((2, 3, 4), keepdim=True) / (count * pose.shape[4])).sqrt()
        length = path.square().sum((2, 3, 4), keepdim=True).sqrt()
        size = torch.maximum(size, LEAST * length).clamp_min(SMALLEST)
        path = path / size + place.clamp(-FARTHEST, FARTHEST)
        numbers = torch.cat([pose / size, path], 2).flatten(3)
        shares = torch.cat([ever, seen.mean(3, keepdim=True)], 3)
        return torch.cat([numbers, torch.cat([shares, shares.mean(2, keepdim=True)], 2)], 3)
