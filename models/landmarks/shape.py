"""A shape prior: a linear correction of all landmarks of a face, in a frame that rotates with them.

A network finds each landmark separately, so its errors are not those of a plausible face. The correction is the linear map of all
landmarks, in a frame that the landmarks span, with the least squared error on training faces: the prior of an active shape model (Cootes et
al. 1995), fitted to the network's own errors. It is the identity until it is fitted after training.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

Landmarks = Float[Tensor, "batch landmarks 3"]
Frame = Float[Tensor, "batch 3 3"]


class ShapePrior(nn.Module):
    """l -> l + frame (W x + b), where x are the coordinates of l in the frame. W = 0 and b = 0 until they are fitted."""

    reference: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)  # any weights define a frame, unless they are degenerate
        self.register_buffer("reference", torch.randn(landmarks, 2, generator=generator), persistent=False)
        self.register_buffer("weight", torch.zeros(3 * landmarks, 3 * landmarks), persistent=False)
        self.register_buffer("bias", torch.zeros(3 * landmarks), persistent=False)

    def forward(self, landmarks: Landmarks) -> Landmarks:
        own, frame, _ = self.own(landmarks)
        corrections = own.flatten(1) @ self.weight.to(own) + self.bias.to(own)
        return landmarks + corrections.unflatten(1, (-1, 3)) @ frame.transpose(1, 2)

    def mirror_alike(self, mirror: Sequence[int]) -> None:
        """Change the correction to the nearest one that commutes with the mirror, which exchanges landmarks i and mirror[i].

        The first axis of the frame becomes one of those that point from one side to the other, so that the mirror reverses it alone.
        """
        to, x = list(mirror), torch.tensor([-1.0, 1.0, 1.0]).to(self.bias)
        self.reference.copy_((self.reference + self.reference[to] * x[:2]) / 2)
        weight, bias = (part.view(*[len(to), 3] * n) for part, n in ((self.weight, 2), (self.bias, 1)))
        image = weight[to][:, :, to] * x[:, None, None] * x
        self.weight.copy_(((weight + image) / 2).view_as(self.weight))
        self.bias.copy_(((bias + bias[to] * x) / 2).view_as(self.bias))

    def own(self, landmarks: Landmarks) -> tuple[Landmarks, Frame, Float[Tensor, "batch 1 3"]]:
        """Return the landmarks in their own frame about their centre, the frame with its axes as columns, and the centre.

        Two axes are weighted sums of all landmarks, made orthonormal; the third is their cross product. The frame therefore rotates with
        the landmarks and distinguishes left from right.
        """
        centre = landmarks.mean(dim=1, keepdim=True)
        about = landmarks - centre
        first, second = (self.reference.to(about).T @ about).unbind(1)
        x = _unit(first)
        y = _unit(second - (second * x).sum(1, keepdim=True) * x)
        z = torch.stack(
            [
                x[:, 1] * y[:, 2] - x[:, 2] * y[:, 1],
                x[:, 2] * y[:, 0] - x[:, 0] * y[:, 2],
                x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0],
            ],
            dim=1,
        )
        frame = torch.stack([x, y, z], dim=2)
        return about @ frame, frame, centre


def _unit(vector: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3"]:
    return vector / vector.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt()
