"""Joints that were not seen, filled over time so that the filled motion turns, moves and mirrors with the seen one.

Every filled place is a weighted mean of seen places. The weights depend on time and on what was seen alone. Between two seen places a
joint moves evenly from one to the other, before the first and after the last it rests there, and a joint that was never seen is at the
mean of the others.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAST = 1e-33  # below every weight of a seen frame, and far enough above the smallest float32 to divide 10 km by it
RATIO = 0.1  # of the weight of a frame to that of the next nearer one, where float32 can hold it over the whole past


class Filling(nn.Module):
    """The frames before and after each frame, weighted by RATIO to the power of their distance.

    Let P be the weighted sum over seen frames up to t, and P' the same sum with each weight times the distance in frames. P x / P 1 is the
    place where the joint was a mean of P' 1 / P 1 frames ago, and Q x / Q 1 the place where it will be. Their interpolation over time is
    (P x / P' 1 + Q x / Q' 1) / (P 1 / P' 1 + Q 1 / Q' 1), which has no case distinction and is exact for even motion.
    """

    kernels: Tensor

    def __init__(self, frames: int) -> None:
        super().__init__()
        apart = (torch.arange(frames)[:, None] - torch.arange(frames)[None, :]).double()  # source less target
        ratio = max(RATIO, 10 ** (-30 / max(1, frames - 1)))
        weight = ratio ** apart.abs()
        before, after = (weight * (sign * apart <= 0) for sign in (1, -1))
        kernels = torch.cat([before, after, before * apart.abs(), after * apart.abs()], dim=1)
        self.register_buffer("kernels", kernels.to(torch.get_default_dtype()), persistent=False)

    def forward(
        self, x: Float[Tensor, "*nodes dims frames"], seen: Float[Tensor, "*nodes frames"]
    ) -> tuple[Float[Tensor, "*nodes dims frames"], Float[Tensor, "*nodes frames"]]:
        """Return the filled places, and 1 for every frame from a joint's first seen one to its last and 0 for the others.

        `x` must be 0 where `seen` is 0. A joint that was never seen is left at 0.
        """
        dims, seen = x.shape[-2], seen.unsqueeze(-2)
        p, q, far_p, far_q = (torch.cat([x, seen], dim=-2) @ self.kernels).chunk(4, dim=-1)
        (px, p1), (qx, q1) = p.split([dims, 1], dim=-2), q.split([dims, 1], dim=-2)
        # bounds and not sums, since the ONNX exporter drops a term as small as this one
        u, w = 1 / far_p[..., dims:, :].clamp_min(LEAST), 1 / far_q[..., dims:, :].clamp_min(LEAST)
        filled = (px * u + qx * w) / (p1 * u + q1 * w).clamp_min(LEAST)
        within = (p1 / LEAST).clamp_max(1.0) * (q1 / LEAST).clamp_max(1.0)
        return x + (1 - seen) * filled, within.squeeze(-2)
