"""The calibration of a hand forecaster: the coverage of its intervals, in per cent, and the error of its alternatives, in mm."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

# Of a coordinate of a place with the density exp(-r / b) / (8 pi b^3) about the forecast, which has the standard deviation 2 b. It is
# within t of the forecast with the probability 1 - (1 + t / 2 b) exp(-t / b).
DEVIATIONS = {0.68: 0.8873, 0.95: 2.0565}


@dataclass(frozen=True)
class Calibration:
    """The shares of coordinates inside the intervals of 68 % and 95 %, and mean errors in mm of mode 0, the nearest and the likeliest."""

    covered: dict[str, float]
    first_mm: float
    nearest_mm: float
    likeliest_mm: float


def calibration(
    network: nn.Module,
    past: Float[np.ndarray, "windows past nodes 3"],
    true: Float[np.ndarray, "windows future nodes 3"],
    batch: int = 64,
) -> Calibration:
    """Return the calibration of a network with spread, all of whose past is seen, on these windows; coordinates are those of the frame."""
    inside = dict.fromkeys(DEVIATIONS, 0.0)
    errors: list[np.ndarray] = []
    chosen: list[np.ndarray] = []
    for i in range(0, len(past), batch):
        shown = torch.from_numpy(past[i : i + batch])
        with torch.no_grad():
            future, std, weights = (x.numpy() for x in network(shown, torch.ones_like(shown[..., 0])))
        target = true[i : i + batch]
        ratio = np.abs(future[:, 0] - target) / std[..., None]
        for share, deviations in DEVIATIONS.items():
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
