"""The loss of hand forecasters that say how sure they are, and the score by which their checkpoints are chosen.

The distance r of a joint from its forecast has the density exp(-r / b) / (8 pi b^3) over space, an exponential one. A coordinate then has
the standard deviation 2 b, so b is half of the network's `std`. Its negative logarithm, r / b + 3 log b, divides an error by what is
expected there: the first frames, and hands that keep still, count as much as the last ones and fast hands.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Answer = tuple[
    Float[Tensor, "batch modes future nodes 3"], Float[Tensor, "batch future nodes"], Float[Tensor, "batch modes"]
]
Future = Float[Tensor, "batch future nodes 3"]
LEAST_MM = 0.05  # of a deviation in the loss: below every tracker's noise
HELD = 1e-3  # in metres, added to the motion that a score divides by


@dataclass(frozen=True)
class ForecastLoss:
    """The likelihood of the future under mode 0 and its deviation, with the errors of velocity and the alternatives.

    Each likelihood is weighted by b^`tempering`, which has no gradient (Seitzer et al. 2022, arXiv:2203.09168): with 0 it is the plain
    likelihood, and with 1 the forecast is fitted to the distance in mm and b to the likelihood. `velocity` is the weight of the error of
    each step, `alternatives` that of the nearest mode, in units of the deviation, and of the cross-entropy of its probability.
    """

    tempering: float = 0.0
    velocity: float = 0.5
    alternatives: float = 0.2

    def __call__(self, answer: Answer, true: Future, *_: Tensor) -> Tensor:
        """Return the loss, a mean over the frames that exist; NaN in `true` has no part in it."""
        futures, std, weights = answer
        known = true.isfinite().all(dim=-1)  # (batch, future, nodes)
        error = 1000 * torch.where(known.unsqueeze(-1), futures[:, 0] - true.nan_to_num(), 0.0)
        b = (500 * std).clamp_min(LEAST_MM)
        weight = b.detach() ** self.tempering * known
        total = weight.sum().clamp_min(1e-6)
        distance = _length(error)
        loss = (weight * (distance / b + 3 * b.log())).sum() / total
        if self.velocity:
            steps = torch.cat([error[:, :1], error[:, 1:] - error[:, :-1]], dim=1)
            both = torch.cat([known[:, :1], known[:, 1:] & known[:, :-1]], dim=1)
            loss = loss + self.velocity * (weight * both * _length(steps) / b.detach()).sum() / total
        if self.alternatives and futures.shape[1] > 1:
            loss = loss + self.alternatives * self._alternatives(futures, weights, true, known, b.detach())
        return loss

    def _alternatives(self, futures: Tensor, weights: Tensor, true: Future, known: Tensor, b: Tensor) -> Tensor:
        """Return the distance of each window's nearest mode, with a little of the others', and the cross-entropy of its probability."""
        error = 1000 * (futures - true.nan_to_num().unsqueeze(1))
        unit = (b * known).sum(dim=(1, 2)).clamp_min(1e-6)[:, None]
        apart = (_length(error) * known.unsqueeze(1)).sum(dim=(2, 3)) / unit  # (batch, modes)
        nearest, index = apart.min(dim=1)
        chosen = weights.clamp_min(1e-6).log().gather(1, index[:, None])
        return nearest.mean() + 0.05 * apart.mean() - chosen.mean()


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(dim=-1) + 1e-8).sqrt()


def travelled_share(answer: Answer | Tensor, true: Future, past: Tensor, *_: Tensor) -> Tensor:
    """Return the error of mode 0 as a share of the distance of the future from the last pose, each summed over the batch.

    Holding still has 1, unless joints of the last pose were not seen. A share compares sources of different speed.
    """
    futures = answer[0] if isinstance(answer, tuple) else answer
    known = true.isfinite().all(dim=-1)
    true = true.nan_to_num()
    error, moved = (_length(x) * known for x in (futures[:, 0] - true, true - past[:, -1:]))
    return error.sum() / ((moved + HELD) * known).sum()
