"""Graph WaveNet, Wu, Pan, Long, Jiang and Zhang 2019 (arXiv:1906.00121), without its graph convolution: a WaveNet for each joint.

Published comparisons of hand forecasts list a "GWNET" of 334K parameters. That is the size of the authors' default network with three
inputs, 60 x 3 outputs and the graph convolution switched off, 333,876; the reading is inferred from it. Ours omits the 1,120 of them that
no output depends on: the last layer's residual map and normalisation.

The network sees the last 13 frames, its receptive field, because the authors' code reads the output at the last frame. A shorter past is
preceded by copies of its first frame; the authors' code puts zeros there.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.centred import answered, begin_at_zero, by_frame, centred


@dataclass(frozen=True)
class GWNetConfig:
    """Sizes, by default the authors'; `residual` as in models/forecast/centred.py."""

    channels: int = 32  # residual and dilation channels
    skip: int = 256
    end: int = 512
    blocks: int = 4
    layers: int = 2  # of a block; the dilation doubles with each
    kernel: int = 2
    residual: bool = False

    def build(self, task: HandForecast) -> "GWNet":
        """Build the network for a task."""
        return GWNet(task, self)


class GWNet(nn.Module):
    """A stack of gated, dilated convolutions over time with skip connections. All joints share its weights, and none sees another."""

    def __init__(self, task: HandForecast, config: GWNetConfig | None = None) -> None:
        super().__init__()
        self.task, self.config = task, config or GWNetConfig()
        self.symmetries = ("translation",)
        dilations = [2**layer for _ in range(self.config.blocks) for layer in range(self.config.layers)]
        self.receptive = 1 + (self.config.kernel - 1) * sum(dilations)
        self.start = nn.Conv2d(3, self.config.channels, 1)
        last = len(dilations) - 1
        self.layers = nn.ModuleList(Layer(self.config, d, last=i == last) for i, d in enumerate(dilations))
        self.end = nn.Conv2d(self.config.skip, self.config.end, 1)
        self.read_out = nn.Conv2d(self.config.end, task.modes * task.future * 3, 1)
        if self.config.residual:
            begin_at_zero(self.read_out, task.modes)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones."""
        x, centre = centred(past)
        missing = max(0, self.receptive - self.task.past)
        z = torch.cat([x[:, :1].expand(-1, missing, -1, -1), x[:, -self.receptive :]], dim=1)
        z = self.start(z.permute(0, 3, 2, 1))  # (batch, channels, nodes, frames)
        skips = []
        for layer in self.layers:
            z, skip = layer(z)
            skips.append(skip)
        y = self.read_out(F.relu(self.end(F.relu(torch.stack(skips).sum(0))))).squeeze(3)
        return answered(by_frame(y.transpose(1, 2), self.task), x, centre, residual=self.config.residual)


class Layer(nn.Module):
    """A gated convolution tanh(W x) * sigmoid(V x), its residual and normalisation, and the skip output at the last frame."""

    def __init__(self, config: GWNetConfig, dilation: int, *, last: bool) -> None:
        super().__init__()
        c, size, gaps = config.channels, (1, config.kernel), (1, dilation)
        self.filter = nn.Conv2d(c, c, size, dilation=gaps)
        self.gate = nn.Conv2d(c, c, size, dilation=gaps)
        self.skip = nn.Conv2d(c, config.skip, 1)
        self.residual = None if last else nn.Conv2d(c, c, 1)
        self.norm = None if last else nn.BatchNorm2d(c)

    def forward(
        self, z: Float[Tensor, "batch channels nodes frames"]
    ) -> tuple[Float[Tensor, "batch channels nodes fewer"], Float[Tensor, "batch skip nodes 1"]]:
        gated = torch.tanh(self.filter(z)) * torch.sigmoid(self.gate(z))
        skip = self.skip(gated[..., -1:])
        if self.residual is None or self.norm is None:
            return gated, skip
        return self.norm(self.residual(gated) + z[..., -gated.shape[3] :]), skip
