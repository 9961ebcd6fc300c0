"""What 68 landmarks of a face have to do with each other: a linear correction in the face's own frame, which turns with them.

A network finds each landmark by itself and is off a little, one to the left and another to the right; faces are not. In a frame that
the landmarks themselves span, the correction is the linear map of all of them that is best on training faces (an active shape model's
prior, Cootes et al. 1995, with the noise of this network in it). It is fitted when the network is trained, and nothing before.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

Landmarks = Float[Tensor, "batch landmarks 3"]
Frame = Float[Tensor, "batch 3 3"]


class ShapePrior(nn.Module):
    """l -> l + frame (W x + b), x what the frame makes of l; no correction until W and b are set."""

    reference: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)  # any shape that is no plane will do as a reference for the frame
        self.register_buffer("reference", torch.randn(landmarks, 2, generator=generator), persistent=False)
        self.register_buffer("weight", torch.zeros(3 * landmarks, 3 * landmarks), persistent=False)
        self.register_buffer("bias", torch.zeros(3 * landmarks), persistent=False)

    def forward(self, landmarks: Landmarks) -> Landmarks:
        own, frame, _ = self.own(landmarks)
        corrections = own.flatten(1) @ self.weight.to(own) + self.bias.to(own)
        return landmarks + corrections.unflatten(1, (-1, 3)) @ frame.transpose(1, 2)

    def own(self, landmarks: Landmarks) -> tuple[Landmarks, Frame, Float[Tensor, "batch 1 3"]]:
        """The landmarks in their own frame and about their own centre; its axes as columns; and the centre.

        Two axes are sums of all landmarks, weighted by the coordinates of the reference and made orthonormal; the third is their cross
        product. So the frame turns with the landmarks, and keeps right and left apart.
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
