"""Calibration of a landmark network's confidence: of the landmarks with confidence 0.8, four in five are near their true position."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from models.contract.task import FaceLandmarks
from models.landmarks.voting import Confidence, evidence
from training.engine.batches import Batches

RIDGE = 1.0  # on each coefficient, in observations: a landmark that was never wrong does not become certain
BINS = 10


def calibrate(network: nn.Module, batches: Batches) -> None:
    """Set the coefficients of the network's Confidence by logistic regression on the validation scans.

    All landmarks share two weights, and each landmark has a bias. Nothing else in the network changes.
    """
    task: FaceLandmarks = network.task  # pyright: ignore[reportAssignmentType]
    confidence: Confidence = network.confidence  # pyright: ignore[reportAssignmentType]
    seen: list[Tensor] = []
    hook = confidence.register_forward_hook(lambda _, inputs, __: seen.append(evidence(*inputs)))
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
    """Return the two weights and the biases of largest penalised likelihood, by Newton's method (Hastie et al. 2009, section 4.4.1)."""
    scans, landmarks = right.shape
    which = np.tile(np.eye(landmarks), (scans, 1))
    x = np.concatenate([evidence.reshape(-1, 2), np.ones((scans * landmarks, 1)), which], axis=1)
    y = right.reshape(-1).astype(float)
    penalty = RIDGE * np.ones(x.shape[1])
    penalty[2] = 1e-6  # the common bias is known well from all landmarks
    w = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty), x.T @ (y - p) - penalty * w)
        w += step * min(1.0, 2.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-8:
            break
    return w[:2], w[2] + w[3:]


def calibration_error(confidence: Float[np.ndarray, " _"], right: Bool[np.ndarray, " _"]) -> float:
    """Return the expected calibration error over BINS bins of confidence (Naeini et al. 2015).

    It is the difference between the mean confidence of a bin and its share of right landmarks, averaged over landmarks.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    differences = np.abs(np.bincount(bins, weights=confidence - right, minlength=BINS))
    return float(differences.sum() / counts.sum())
