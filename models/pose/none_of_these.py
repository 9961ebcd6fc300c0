"""Logits of classes beside that of none of them, which is 0, from how clearly one class leads.

The share of the most probable class, as log odds, is a logistic regressor of whether a clip shows a class at all: the maximum softmax
probability of Hendrycks and Gimpel 2017 (arXiv:1610.02136), calibrated as by Platt 1999. Its slope and offset are fitted on clips of
classes that were left out of training. The classes keep their shares of what is left. The map commutes with any exchange of classes.
"""

from jaxtyping import Float
from torch import Tensor, nn


class NoneOfThese(nn.Module):
    """The map from logits of classes alone to logits whose softmax, together with a logit of 0, has the probability of none.

    The log odds of the clip showing a class are slope * log(p / (1 - p)) + offset, with the share p of the most probable class.
    """

    def __init__(self, slope: float, offset: float) -> None:
        super().__init__()
        self.slope, self.offset = slope, offset

    def forward(self, logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
        """Return the logits; a loss of classes alone, such as the cross-entropy, does not change."""
        return logits.log_softmax(-1) + self.slope * lead(logits).unsqueeze(-1) + self.offset


def lead(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
    """Return the log odds log(p / (1 - p)) of the share p of the most probable class; sorting avoids the cancellation in 1 - p."""
    falling = logits.sort(-1, descending=True).values
    return falling[..., 0] - falling[..., 1:].logsumexp(-1)
