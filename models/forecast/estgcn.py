"""An equivariant spatio-temporal graph network (ESTGCN) after ESTAG, Wu, Hou, Guo, Wang, Zhang, Luo and Ma 2023 (arXiv:2405.12868).

The published comparison prints only its name and size, 44K, and no network of hands has this name in public. The definition is inferred:
ESTAG, whose size is near. ESTAG's discrete Fourier transform of the past gives invariants of nodes and pairs,

    F_i(k) = mean over t of exp(-2 pi i k t / T) (x_i(t) - mean over nodes of x(t))
    c_i(k) = |F_i(k)|,  A_ij(k) = 2 |F_i(k)* . F_j(k)| / (c_i(k) + c_j(k))    both in decimetres; ESTAG has weighted squares

and its layers alternate equivariant messages between nodes with temporal attention within each (models/layers/temporal_attention.py):

    m_ij = phi_m(h_i, h_j, |x_i(t) - x_j(t)| of all t, A_ij)
    x_i(t) <- x_i(t) + mean over j of (x_i(t) - x_j(t)) phi_x(m_ij)_t
    h_i(t) <- h_i(t) + phi_h(mean over t of h_i, sum over j of m_ij)

ESTAG computes messages frame by frame. Here a pair has one message, from its distances in all frames and the mean of h over frames, with
one gain a frame; this costs a thirtieth at 30 frames. h begins as a linear layer of c_i plus the invariants of each frame that ATT has. The
read-out is ESTAG's, y_t = x_T + sum over s of W_ts (x_s - x_T), for every future frame. W begins at zero, so that an untrained network
repeats the last pose. Each further mode has its own read-out.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.att import FrameInvariants
from models.layers.messages import Messages
from models.layers.pairs import distances
from models.layers.temporal_attention import TemporalAttention
from models.layers.trajectories import ReadOut, poses, trajectories


@dataclass(frozen=True)
class ESTGCNConfig:
    """Sizes of an ESTGCN."""

    hidden: int = 32
    layers: int = 2

    def build(self, task: HandForecast) -> "ESTGCN":
        """Build the network for a task."""
        return ESTGCN(task, self)


class ESTGCN(nn.Module):
    """A forecaster of poses that alternates messages between nodes and attention between frames."""

    symmetries = ("translation", "rotation", "mirror-swap")

    def __init__(self, task: HandForecast, config: ESTGCNConfig) -> None:
        super().__init__()
        d, frequencies = config.hidden, task.past // 2 + 1
        self.task, self.config = task, config
        self.fourier = Fourier(task.past)
        self.embed = FrameInvariants(task.past, d, task.fps)
        self.embed_spectrum = nn.Linear(frequencies, d, bias=False)
        self.spatial = nn.ModuleList(Spatial(d, task.past, frequencies) for _ in range(config.layers))
        self.temporal = nn.ModuleList(TemporalAttention(d) for _ in range(config.layers))
        self.read_out = ReadOut(task.past, task.modes, task.future)

    def forward(self, past: Float[Tensor, "batch past nodes 3"]) -> Float[Tensor, "batch modes future nodes 3"]:
        """Return future poses in metres from past ones; nodes are 21 (one hand) or 42 (two hands)."""
        x, mean = trajectories(past)
        last = x[:, :, -1:]
        of_nodes, of_pairs = self.fourier(x)
        h = self.embed(x) + self.embed_spectrum(of_nodes).unsqueeze(2)
        for spatial, temporal in zip(self.spatial, self.temporal, strict=True):
            h, x = temporal(*spatial(h, x, of_pairs))
        return poses(self.read_out(x - last), last, mean)


class Fourier(nn.Module):
    """The invariants c and A of the equations above; frequencies k run from 0 to half the number of frames."""

    basis: Tensor

    def __init__(self, frames: int) -> None:
        super().__init__()
        angles = 2 * math.pi / frames * torch.outer(torch.arange(frames // 2 + 1), torch.arange(frames))
        self.register_buffer("basis", torch.cat([angles.cos(), -angles.sin()]) / frames, persistent=False)

    def forward(
        self, x: Float[Tensor, "batch 3 past nodes"]
    ) -> tuple[Float[Tensor, "batch nodes K"], Float[Tensor, "batch K nodes nodes"]]:
        real, imaginary = (self.basis @ (x - x.mean(dim=3, keepdim=True))).permute(0, 2, 1, 3).chunk(2, dim=1)
        inner = real.transpose(2, 3) @ real + imaginary.transpose(2, 3) @ imaginary  # (batch, K, nodes, nodes)
        across = real.transpose(2, 3) @ imaginary
        across = across - across.transpose(2, 3)
        c = (real.square() + imaginary.square()).sum(2).sqrt()
        total = (c.unsqueeze(3) + c.unsqueeze(2)).clamp_min(1e-6)
        return c.transpose(1, 2), 2 * (inner.square() + across.square()).sqrt() / total


class Spatial(nn.Module):
    """Messages between all pairs of nodes, with one gain for each frame."""

    def __init__(self, hidden: int, frames: int, frequencies: int) -> None:
        super().__init__()
        self.messages = Messages(hidden, frames + frequencies, frames)
        self.node = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(
        self,
        h: Float[Tensor, "batch nodes past D"],
        x: Float[Tensor, "batch 3 past nodes"],
        of_pairs: Float[Tensor, "batch K nodes nodes"],
    ) -> tuple[Float[Tensor, "batch nodes past D"], Float[Tensor, "batch 3 past nodes"]]:
        mean = h.mean(dim=2)
        force, messages = self.messages(mean, torch.cat([distances(x), of_pairs], dim=1), x)
        return h + self.node(torch.cat([mean, messages], dim=-1)).unsqueeze(2), x + force
