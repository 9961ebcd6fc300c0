"""Calibration of a landmark network's confidence: of the landmarks with confidence 0.8, four in five are near their true position.

It has two steps: `calibrate` fits the evidence of each landmark, on batches; `calibrate_on_scans` fits what the scan as a whole tells, on
scans that are searched as the service searches them, with a second look where that has one.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from models.contract.symmetry import Tensors
from models.landmarks.voting import QUARTER, Confidence, evidence
from models.layers.freezing import frozen
from models.scans.levels import Face
from models.scans.looks import FaceTask, find
from training.engine.batches import Batches
from training.engine.export import runner

Points = Float[np.ndarray, "_ 3"]
RIDGE = 1.0  # on each coefficient, in observations: a landmark that was never wrong does not become certain
BINS = 10


def calibrate(network: nn.Module, batches: Batches) -> None:
    """Set the coefficients of the network's Confidence by logistic regression on the validation scans.

    All landmarks share two weights, and each landmark has a bias. Nothing else in the network changes.
    """
    task: FaceTask = network.task  # pyright: ignore[reportAssignmentType]
    confidence: Confidence = network.confidence  # pyright: ignore[reportAssignmentType]
    seen: list[Tensor] = []
    hook = confidence.register_forward_hook(lambda _, inputs, __: seen.append(evidence(*inputs[:2])))
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
    mirror: tuple[int, ...] | None = network.mirror  # pyright: ignore[reportAssignmentType]
    confidence.bias.copy_(torch.from_numpy(bias if mirror is None else (bias + bias[list(mirror)]) / 2))


def calibrate_on_scans(network: nn.Module, scans: Iterable[tuple[Points, Points]]) -> None:
    """Set `scan` and `moved` of the network's Confidence by logistic regression on scans and their true landmarks, in metres."""
    task: FaceTask = network.task  # pyright: ignore[reportAssignmentType]
    confidence: Confidence = network.confidence  # pyright: ignore[reportAssignmentType]
    confidence.scan.copy_(torch.tensor([1.0, 0.0, 0.0]))
    confidence.moved.zero_()
    served = frozen(network).cpu()
    looks: dict[bytes, np.ndarray] = {}  # a search has several looks: the kept one is known by its confidences

    def note(_: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
        looks[answer.numpy()[0].tobytes()] = inputs[2].numpy()[0]

    asked: Confidence = served.confidence  # pyright: ignore[reportAssignmentType]
    hook = asked.register_forward_hook(note)
    odds, right, moved = [], [], []
    for face, near in searched(runner(served, task), task, scans):
        odds.append(log_odds(face))
        right.append(near)
        moved.append(looks[face.confidence.tobytes()])
        looks.clear()
    hook.remove()
    coefficients = torch.from_numpy(of_scans(np.stack(odds), np.stack(right), np.stack(moved)))
    confidence.scan.copy_(coefficients[:3])
    confidence.moved.copy_(coefficients[3:])


def as_served(
    run: Callable[[Tensors], Tensors], task: FaceTask, scans: Iterable[tuple[Points, Points]]
) -> tuple[Float[np.ndarray, "scans landmarks"], Float[np.ndarray, "scans landmarks"]]:
    """Search each scan; return the log-odds of its confidences, and 1 for landmarks that are right, 0 for others, NaN for unknown ones."""
    found = [(log_odds(face), right) for face, right in searched(run, task, scans)]
    odds, right = zip(*found, strict=True)
    return np.stack(odds), np.stack(right)


def searched(
    run: Callable[[Tensors], Tensors], task: FaceTask, scans: Iterable[tuple[Points, Points]]
) -> Iterator[tuple[Face, Float[np.ndarray, " landmarks"]]]:
    """Search each scan; yield its face, with 1 for landmarks that are right, 0 for others, NaN for unknown ones."""
    for points, true in scans:
        face = find(points, task, run)
        distance = np.linalg.norm(face.landmarks - true, axis=-1)
        yield face, np.where(np.isfinite(distance), distance <= task.confident_m, np.nan)


def log_odds(face: Face) -> Float[np.ndarray, " landmarks"]:
    """Return the log-odds of the confidences."""
    confidence = np.clip(face.confidence.astype(float), 1e-6, 1 - 1e-6)
    return np.log(confidence / (1 - confidence))


def of_scans(
    odds: Float[np.ndarray, "scans landmarks"],
    right: Float[np.ndarray, "scans landmarks"],
    moved: Float[np.ndarray, "scans landmarks"],
    rounds: int = 50,
) -> Float[np.ndarray, "5"]:
    """Return a, b, c, d and e of largest likelihood for the log-odds a l + b q + c + d m + e mean(m), as in Confidence."""
    lowest = np.sort(odds, axis=1)[:, : odds.shape[1] // QUARTER].mean(axis=1, keepdims=True)
    known = np.isfinite(right)
    columns = (odds, lowest, np.ones_like(odds), moved, moved.mean(axis=1, keepdims=True))
    x = np.stack([np.broadcast_to(column, odds.shape) for column in columns], axis=-1)[known].astype(float)
    y, w = right[known], np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(len(w)), x.T @ (y - p))
        w += step * min(1.0, 2.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-8:
            break
    return w


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
