"""The fit of a landmark network's shape prior, by which its landmarks correct each other."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from models.landmarks.shape import ShapePrior
from models.scans.head import face_axes
from training.engine.batches import Batch

SCANS = 4000
RIDGE_M2 = 1e-4  # the best on validation scans of 1e-5 to 3e-3
ROUNDS = 6
SURE_M = 0.0015  # scans with a smaller mean error than this have equal weights


def fit_shape(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the network's ShapePrior from the landmarks that it finds in these batches without one; change nothing else."""
    shape: ShapePrior = network.shape  # pyright: ignore[reportAssignmentType]
    mirror: tuple[int, ...] | None = network.mirror  # pyright: ignore[reportAssignmentType]
    shape.weight.zero_()
    shape.bias.zero_()
    predicted, true = [], []
    with torch.no_grad():
        for inputs, target in batches:
            if not predicted:
                shape.reference.copy_(torch.from_numpy(widest(target[0]) if mirror is None else sideways(target[0])))
                if mirror is not None:
                    shape.mirror_alike(mirror)
            _, landmarks, _ = network(*(torch.from_numpy(x) for x in inputs.values()))
            own, frame, centre = shape.own(landmarks.double())
            predicted.append(own.numpy())
            true.append(((torch.from_numpy(target) - centre) @ frame).numpy())
    weight, bias = correction(np.concatenate(predicted), np.concatenate(true))
    shape.weight.copy_(torch.from_numpy(weight))
    shape.bias.copy_(torch.from_numpy(bias))
    if mirror is not None:
        shape.mirror_alike(mirror)


def widest(landmarks: Float[np.ndarray, "landmarks 3"]) -> Float[np.ndarray, "landmarks 2"]:
    """Return the places of landmarks along the two directions in which a face is widest, which give the most stable frame."""
    about = landmarks - landmarks.mean(axis=0)
    return about @ np.linalg.svd(about, full_matrices=False)[2][:2].T


def sideways(landmarks: Float[np.ndarray, "landmarks 3"]) -> Float[np.ndarray, "landmarks 2"]:
    """Return the places of landmarks to the left and up, of which a mirror image negates the first."""
    return (landmarks - landmarks.mean(axis=0)) @ face_axes(landmarks)[:2].T


def correction(
    predicted: Float[np.ndarray, "scans landmarks 3"], true: Float[np.ndarray, "scans landmarks 3"]
) -> tuple[Float[np.ndarray, "numbers numbers"], Float[np.ndarray, " numbers"]]:
    """Return W and b that minimise the sum of distances |x + W x + b - true| in metres, with a ridge on W.

    The method is iteratively reweighted least squares. It minimises the mean distance, which is what reports measure; with squares, one
    scan on which the network fails would outweigh many.
    """
    x, y = predicted.reshape(len(predicted), -1), true.reshape(len(true), -1)
    weights = np.ones(len(x))
    w, b = np.zeros((x.shape[1], x.shape[1])), np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        share = weights / weights.sum()
        middle, off = share @ x, share @ (y - x)
        about = (x - middle) * weights[:, None]
        w = np.linalg.solve(about.T @ (x - middle) + RIDGE_M2 * np.eye(len(middle)), about.T @ (y - x - off))
        b = off - middle @ w
        apart = np.linalg.norm((x + x @ w + b - y).reshape(true.shape), axis=-1).mean(axis=1)
        weights = 1 / np.maximum(apart, SURE_M)
        weights /= weights.mean()
    return w, b
