"""The calibration of a hand forecaster: the coverage of its intervals, in per cent, and the error of its alternatives, in mm.

A network is fitted to training recordings and is too sure of some frames. Its largest errors are larger than the density says. `fit`
corrects both after training, on validation recordings: a factor of `std` for each future frame, and the multiple of `std` within which
95 % of the coordinates are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

# Of a coordinate of a place with the density exp(-r / b) / (8 pi b^3) about the forecast, which has the standard deviation 2 b. It is
# within t of the forecast with the probability 1 - (1 + t / 2 b) exp(-t / b).
DEVIATIONS = {0.68: 0.8873, 0.95: 2.0565}
Past = Float[np.ndarray, "windows past nodes 3"]
Future = Float[np.ndarray, "windows future nodes 3"]
Clips = Float[np.ndarray, "_ _ _ 3"]  # a group of windows, each group with its own number of windows and nodes


@dataclass(frozen=True)
class Calibration:
    """The shares of coordinates inside the intervals of 68 % and 95 %, and mean errors in mm of mode 0, the nearest and the likeliest."""

    covered: dict[str, float]
    first_mm: float
    nearest_mm: float
    likeliest_mm: float


@dataclass(frozen=True)
class Correction:
    """Factors of `std`, one for each future frame, and for each probability the multiple of the corrected `std` that an interval has."""

    factors: Float[np.ndarray, " future"]
    deviations: dict[float, float]


def fit(network: nn.Module, groups: Iterable[tuple[Clips, Clips]]) -> Correction:
    """Return the correction with which intervals hold as often as they say on these groups of windows, each with the same weight.

    The factor of a frame makes the interval of 68 % hold with the multiple of DEVIATIONS. The multiple of 95 % is that of all frames.
    """
    ratios: list[np.ndarray] = []
    for past, true in groups:
        parts = [
            np.abs(future[:, 0] - target) / std[..., None] for future, std, _, target in _answers(network, past, true)
        ]
        ratios.append(np.swapaxes(np.concatenate(parts), 0, 1).reshape(true.shape[1], -1))  # (future, coordinates)
    weight = np.concatenate([np.full(ratio.shape[1], 1 / ratio.shape[1]) for ratio in ratios])
    together = np.concatenate(ratios, axis=1)
    inner, outer = sorted(DEVIATIONS)
    factors = np.array([quantile(frame, weight, inner) for frame in together]) / DEVIATIONS[inner]
    scaled = (together / factors[:, None]).ravel()
    return Correction(
        factors,
        {inner: DEVIATIONS[inner], outer: quantile(scaled, np.tile(weight, len(factors)), outer)},
    )


def quantile(x: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"], share: float) -> float:
    """Return the least of the values whose weight, with that of all lower ones, is at least a share of the whole."""
    order = np.argsort(x)
    total = np.cumsum(weight[order])
    return float(x[order[np.searchsorted(total, share * total[-1])]])


def _answers(
    network: nn.Module, past: Past, true: Future, batch: int = 64
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield future, std and weights of a network all of whose past is seen, with the truth, in batches."""
    for i in range(0, len(past), batch):
        shown = torch.from_numpy(past[i : i + batch])
        with torch.no_grad():
            future, std, weights = (x.numpy() for x in network(shown, torch.ones_like(shown[..., 0])))
        yield future, std, weights, true[i : i + batch]


UNCORRECTED = Correction(np.ones(1), DEVIATIONS)


def calibration(network: nn.Module, past: Past, true: Future, correction: Correction = UNCORRECTED) -> Calibration:
    """Return the calibration of a network with spread, all of whose past is seen, on these windows; coordinates are those of the frame."""
    inside = dict.fromkeys(correction.deviations, 0.0)
    errors: list[np.ndarray] = []
    chosen: list[np.ndarray] = []
    for future, std, weights, target in _answers(network, past, true):
        ratio = np.abs(future[:, 0] - target) / (std * correction.factors[:, None])[..., None]
        for share, deviations in correction.deviations.items():
            inside[share] += float((ratio <= deviations).mean()) * len(target)
        errors.append(1000 * np.linalg.norm(future - target[:, None], axis=-1).mean(axis=(2, 3)))
        chosen.append(weights.argmax(axis=1))
    error, likeliest = np.concatenate(errors), np.concatenate(chosen)
    return Calibration(
        {f"{100 * share:.0f} %": count / len(past) for share, count in inside.items()},
        float(error[:, 0].mean()),
        float(error.min(axis=1).mean()),
        float(error[np.arange(len(error)), likeliest].mean()),
    )
