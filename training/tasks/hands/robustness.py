"""The errors of a masked hand forecaster under faults of a tracker, beside a damped velocity whose past is filled in the same way."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.layers.filling import Filling
from training.engine.benchmark import markdown
from training.tasks.hands.data import HandBatches
from training.tasks.hands.faults import NONE, Faults, with_faults, without_unseen_hands

FAULTS = {
    "nothing": NONE,
    "1 mm of jitter": Faults(jitter_mm=(1.0, 1.0)),
    "2 mm of jitter": Faults(jitter_mm=(2.0, 2.0)),
    "one joint in ten missing": Faults(joints=(0.1, 0.1)),
    "three joints in ten missing": Faults(joints=(0.3, 0.3)),
    "a burst of dropped frames": Faults(burst=1.0),
    "a hand lost": Faults(lost=1.0),
}
PASTS = (2, 3, 5, 10)


class Filled(nn.Module):
    """A forecaster that must see every joint, with those that were not seen filled over time."""

    def __init__(self, network: nn.Module, past: int) -> None:
        super().__init__()
        self.network, self.filling = network, Filling(past)

    def forward(self, past: Float[Tensor, "batch past nodes 3"], seen: Float[Tensor, "batch past nodes"]) -> Tensor:
        """Return the network's answer to the filled past."""
        x, shown = past.permute(0, 2, 3, 1), seen.transpose(1, 2)
        filled, _ = self.filling(x * shown.unsqueeze(2), shown)
        return self.network(filled.permute(0, 3, 1, 2))


@dataclass(frozen=True)
class Cost:
    """The mean error of each model in mm with a fault, over the windows of one source with one number of hands."""

    source: str
    hands: int
    fault: str
    error_mm: dict[str, float]


def costs(
    models: dict[str, nn.Module], batches: HandBatches, sources: Iterable[str], split: str, every: int
) -> list[Cost]:
    """Measure models of masked tasks with each fault, and with pasts of few frames, on one window in `every` of each source.

    The faults are the same for each model. A hand that the past never shows is not measured.
    """
    found: list[Cost] = []
    for source in sources:
        for hands in (2, 1):
            windows = batches.windows(split, hands, (source,), phases="first")
            chosen = np.arange(0, len(windows), every)
            if len(chosen) == 0:
                continue
            past, true = windows.past_future(chosen)
            for fault, how in FAULTS.items():
                if how.lost and hands == 1:
                    continue
                order = batches.data.layout
                shown, seen = with_faults(past, how, np.random.default_rng(0), order)
                measured = without_unseen_hands(true, seen, order)
                found.append(Cost(source, hands, fault, _errors(models, shown, seen, measured)))
            for frames in PASTS:
                seen = np.zeros(past.shape[:3], bool)
                seen[:, -frames:] = True
                found.append(Cost(source, hands, f"the last {frames} frames alone", _errors(models, past, seen, true)))
    return found


def _errors(models: dict[str, nn.Module], past: np.ndarray, seen: np.ndarray, true: np.ndarray) -> dict[str, float]:
    errors: dict[str, float] = {}
    for name, model in models.items():
        parts: list[np.ndarray] = []
        for i in range(0, len(past), 64):
            shown = torch.from_numpy(past[i : i + 64]), torch.from_numpy(seen[i : i + 64].astype(np.float32))
            with torch.no_grad():
                answer = model(*shown)
            future = (answer[0] if isinstance(answer, tuple) else answer)[:, 0].numpy()
            parts.append(1000 * np.linalg.norm(future - true[i : i + 64], axis=-1))
        errors[name] = float(np.nanmean(np.concatenate(parts)))
    return errors


def table(found: list[Cost]) -> str:
    """Return a Markdown table with a line for each fault: each model's error by the first one's without faults, averaged over groups."""
    names = list(found[0].error_mm)
    plain = {(cost.source, cost.hands): cost.error_mm[names[0]] for cost in found if cost.fault == "nothing"}
    lines: list[tuple[str, ...]] = []
    for fault in dict.fromkeys(cost.fault for cost in found):
        own = [cost for cost in found if cost.fault == fault]
        means = (np.mean([cost.error_mm[name] / plain[cost.source, cost.hands] for cost in own]) for name in names)
        lines.append((fault, str(len(own)), *(f"{mean:.2f}" for mean in means)))
    return markdown(("fault of the past", "groups", *names), lines)
