"""A U-Net on depth maps whose layers commute with turns, mirrors or scales of the plane (Bekkers 2020, arXiv:1909.12057).

Every input channel is a number that a roll of the camera does not change: how much was seen, the depth, the tilt of the surface and its
relief. So no channel needs a representation of its own, as the x and y of a normal would. With the group C(1) this is a plain network.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.face_map import FaceMap
from models.landmarks.cloud import DECIMETRES
from models.landmarks.voting import LANDMARKS, PerLandmark, VotingNetwork
from models.layers.group import C, Group, Planar, sided
from models.layers.group_conv import Doubling, GroupCorrelation, Lifting, Projecting
from models.skeletons.face import FACE68

Maps = Float[Tensor, "batch channels rows columns"]
Depth = Float[Tensor, "batch rows columns"]
MapAnswer = tuple[  # heatmaps, landmarks (m), confidence
    Float[Tensor, "batch landmarks heat heat"], Float[Tensor, "batch landmarks 3"], PerLandmark
]
BLURS_PX = (1.5, 4.0)  # standard deviations of the surroundings that the relief of a pixel is measured against
DEPTH, RELIEF = 20.0, 100.0  # per metre: a depth of 5 cm and a relief of 1 cm are 1 in the network
MOST = 3.0  # of a depth or relief in the network; more is the edge of the scan
SHARP = 4.0  # a heatmap spans ten units of its logits; the last layer learns to in fewer steps if it is multiplied
FAR = -4.0  # the logit of a heatmap where nothing speaks for a landmark


@dataclass(frozen=True)
class DepthUNetConfig:
    """The sizes of the network: `widths` are channels times elements of the group, one for each halving of the map.

    So networks of different groups are as wide, and those of larger groups have fewer weights. `kernel` is the width of kernels in pixels;
    turns by less than 90 degrees need 5, because their splines must stay inside a disk.
    """

    group: Group = C(1)  # noqa: RUF009 - a frozen value
    widths: tuple[int, ...] = (24, 32, 48)
    hidden: int = 64
    kernel: int = 3
    votes: int = 6

    def build(self, task: FaceMap) -> "DepthUNet":
        """Return a network for a task. Raises ValueError for an even kernel."""
        return DepthUNet(task, self)

    def channels(self, width: int) -> int:
        """Return the channels of feature maps on the group that make up a width."""
        return max(1, round(width / len(self.group.elements)))


class DepthUNet(VotingNetwork):
    """A network from a depth map to 68 heatmaps over every second pixel, and 68 landmarks.

    A landmark is the mean of pixels and their depths under its heatmap, moved along the view by what the network predicts for each pixel,
    and corrected by the shape prior.
    """

    def __init__(self, task: FaceMap, config: DepthUNetConfig = DepthUNetConfig()) -> None:
        super().__init__()
        self.task, self.config = task, config
        group, size = config.group, config.kernel
        mirrored = isinstance(group, Planar) and group.mirrored
        quarters = isinstance(group, Planar) and group.turns % 4 == 0
        self.symmetries = ("quarter-turn",) * quarters + ("map-mirror",) * mirrored
        self.mirror = FACE68.mirror if mirrored else None
        channels = [config.channels(width) for width in config.widths]
        hidden = config.channels(config.hidden)
        self.surface = Surface(task.pitch_m)
        self.stem = Lifting(group, self.surface.channels, channels[0], size, norm=True, stride=2)
        self.first = GroupCorrelation(group, channels[0], channels[0], size, norm=True)
        self.down = nn.ModuleList(
            nn.ModuleList(
                (
                    GroupCorrelation(group, fine, coarse, size, norm=True, stride=2),
                    GroupCorrelation(group, coarse, coarse, size, norm=True),
                )
            )
            for fine, coarse in pairwise(channels)
        )
        self.doubling = Doubling(odd=True)
        self.up = nn.ModuleList(
            nn.ModuleList(
                (
                    GroupCorrelation(group, coarse, fine, size, norm=True),
                    GroupCorrelation(group, fine, fine, size, norm=True),
                )
            )
            for fine, coarse in pairwise(channels)
        )
        self.hidden = GroupCorrelation(group, channels[0], hidden, 1, norm=True)
        exchange = sided(group, FACE68.mirror) if isinstance(group, Planar) and mirrored else None
        self.logits = Projecting(group, hidden, LANDMARKS, 1, representation=exchange)
        self.votes = Projecting(group, hidden, config.votes, 1)
        self.ahead = nn.Parameter(0.1 * torch.randn(LANDMARKS, config.votes))  # decimetres

    def forward(self, depth: Depth, seen: Depth) -> MapAnswer:
        """Return heatmaps, landmarks in metres in the camera's frame, and confidences; the inputs are those of FaceMap."""
        f = F.relu(self.first(F.relu(self.stem(self.surface(depth, seen)))))
        skips = []
        for halve, refine in self.down:  # pyright: ignore[reportGeneralTypeIssues] - pairs
            skips.append(f)
            f = F.relu(refine(F.relu(halve(f))))
        for skip, (narrow, refine) in zip(reversed(skips), reversed(self.up), strict=True):  # pyright: ignore[reportGeneralTypeIssues] - pairs
            f = F.relu(refine(F.relu(narrow(self.doubling(f)) + skip)))
        hidden = F.relu(self.hidden(f))
        points = pixels(depth[:, ::2, ::2], 2 * self.task.pitch_m)
        centre = points.mean(dim=1, keepdim=True) * torch.tensor([0.0, 0.0, 1.0]).to(points)
        logits, votes = SHARP * rows(self.logits(hidden)) + FAR, rows(self.votes(hidden))
        heatmaps, landmarks, confidence = self.answer((points - centre) * DECIMETRES, centre, logits, votes)
        return heatmaps.unflatten(2, (self.task.heat, self.task.heat)), landmarks, confidence

    def offsets_of(self, votes: Float[Tensor, "batch landmarks width"]) -> Float[Tensor, "batch landmarks 3"]:
        """Return each landmark's offset along the view; landmarks that mirror each other share their weights."""
        ahead = (self.ahead + self.ahead[list(self.mirror)]) / 2 if self.mirror else self.ahead
        along = (votes * ahead).sum(-1, keepdim=True)
        return torch.cat([torch.zeros_like(along), torch.zeros_like(along), along], dim=-1)


class Surface(nn.Module):
    """The input channels: seen, depth about its mean, cosine of the tilt, and relief against narrow and wide surroundings."""

    channels = 3 + len(BLURS_PX)

    def __init__(self, pitch_m: float) -> None:
        super().__init__()
        self.pitch_m = pitch_m
        for number, width in enumerate(BLURS_PX):
            self.register_buffer(f"blur{number}", bell(width), persistent=False)

    def forward(self, depth: Depth, seen: Depth) -> Maps:
        share = seen / seen.sum((1, 2), keepdim=True).clamp_min(1e-6)
        z = (depth - (share * depth).sum((1, 2), keepdim=True)).unsqueeze(1)
        reliefs = [z - blurred(z, getattr(self, f"blur{number}")) for number in range(len(BLURS_PX))]
        wide = F.pad(z, (1, 1, 1, 1), mode="replicate")
        along = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / (2 * self.pitch_m)
        up = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / (2 * self.pitch_m)
        cosine = (1 + along.square() + up.square()).rsqrt()
        lengths = [(DEPTH * z), *(RELIEF * relief for relief in reliefs)]
        return torch.cat([seen.unsqueeze(1), cosine, *(x.clamp(-MOST, MOST) for x in lengths)], dim=1)


def bell(width: float) -> Float[Tensor, " taps"]:
    """Return a Gaussian of a standard deviation in pixels that sums to 1."""
    reach = round(2.5 * width)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    return weights / weights.sum()


def blurred(maps: Maps, weights: Float[Tensor, " taps"]) -> Maps:
    """Return maps of one channel, blurred along both axes; beyond the edge they go on as at it."""
    reach = len(weights) // 2
    wide = F.pad(maps, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(wide, weights[None, None, None]), weights[None, None, :, None])


def pixels(depth: Depth, pitch_m: float) -> Float[Tensor, "batch pixels 3"]:
    """Return the points of a map's pixels in the camera's frame, row after row, in metres and float64."""
    size = depth.shape[-1]
    at = (torch.arange(size, device=depth.device, dtype=torch.float64) - size // 2) * pitch_m
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x.expand_as(depth), y.expand_as(depth), depth.double()], dim=-1).flatten(1, 2)


def rows(maps: Maps) -> Float[Tensor, "pixels channels"]:
    """Return maps as one row of channels for each pixel of each map."""
    return maps.flatten(2).transpose(1, 2).flatten(0, 1)
