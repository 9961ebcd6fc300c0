"""Rotations of vectors (batch, 3, C, nodes) about axes of the same shape."""

import torch
from jaxtyping import Float
from torch import Tensor

Vectors = Float[Tensor, "batch 3 *C nodes"]


def cross(a: Vectors, b: Vectors) -> Vectors:
    """Return the cross product along axis 1."""
    (ax, ay, az), (bx, by, bz) = a.unbind(1), b.unbind(1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], dim=1)


def rotate(w: Vectors, r: Vectors) -> Vectors:
    """Rotate r about w by |w| radians, as exp([w]x) r; the length of r is kept to rounding.

    Rodrigues' formula r + (sin t / t) w x r + (1 - cos t) / t^2 w x (w x r), t = |w|, with 1 - cos t = 2 sin^2(t / 2), which loses no
    digits at small angles. t is at least 1e-6.
    """
    t = w.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt()
    half = (t / 2).sin() / (t / 2)
    twice = w * (w * r).sum(1, keepdim=True) - r * w.square().sum(1, keepdim=True)  # w x (w x r)
    return r + t.sin() / t * cross(w, r) + half.square() / 2 * twice
