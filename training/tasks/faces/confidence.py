"""Fits the confidence of a landmark network on validation scans, so that of the landmarks at 0.8 four in five are where they should be."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from models.contract.task import FaceLandmarks
from models.landmarks.voting import Confidence, evidence
from training.engine.batches import Batches

RIDGE = 1.0  # on each coefficient, in observations: a landmark that was never wrong is not certain for ever
BINS = 10


def calibrate(network: nn.Module, batches: Batches) -> None:
    """Sets the coefficients of the network's Confidence by logistic regression on the validation scans.

    Two weights are shared by all landmarks and each has its own bias. Only those are changed.
    """
    task: FaceLandmarks = network.task  # pyright: ignore[reportAssignmentType]
    confidence: Confidence = network.confidence  # pyright: ignore[reportAssignmentType]
    seen: list[Tensor] = []
    hook = confidence.register_forward_hook(lambda _, given, __: seen.append(evidence(*given)))
    right = []
    try:
        with torch.no_grad():
            for _, (inputs, true) in batches.validation_batches():
                _, landmarks, _ = network(*(torch.from_numpy(x) for x in inputs.values()))
                right.append(np.linalg.norm(landmarks.numpy() - true, axis=-1) <= task.confident_m)
    finally:
        hook.remove()
    weights, bias = logistic(torch.cat(seen).double().numpy(), np.concatenate(right))
    confidence.weights.copy_(torch.from_numpy(weights))
    confidence.bias.copy_(torch.from_numpy(bias))


def logistic(
    evidence: Float[np.ndarray, "scans landmarks 2"], right: Bool[np.ndarray, "scans landmarks"], rounds: int = 50
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, " landmarks"]]:
    """The two weights and the biases of greatest penalised likelihood, by Newton's method (Hastie et al. 2009, section 4.4.1)."""
    scans, landmarks = right.shape
    which = np.tile(np.eye(landmarks), (scans, 1))
    x = np.concatenate([evidence.reshape(-1, 2), np.ones((scans * landmarks, 1)), which], axis=1)
    y = right.reshape(-1).astype(float)
    penalty = RIDGE * np.ones(x.shape[1])
    penalty[2] = 1e-6  # how often a landmark is right at all is known well enough
    w = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty), x.T @ (y - p) - penalty * w)
        w += step * min(1.0, 2.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-8:
            break
    return w[:2], w[2] + w[3:]


def calibration_error(confidence: Float[np.ndarray, " _"], right: Bool[np.ndarray, " _"]) -> float:
    """Expected calibration error: the mean, over answers, of how far the confidence of their tenth is from how often it is right
    (Naeini et al. 2015)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    off = np.abs(np.bincount(bins, weights=confidence - right, minlength=BINS))
    return float(off.sum() / counts.sum())
