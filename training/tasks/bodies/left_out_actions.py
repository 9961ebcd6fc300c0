"""Recognisers that lack some of their actions, and how often they take clips of these for one of the others: the fit of none of these.

    python -m training benchmark bodies-none --results benchmarks/results        about 5 minutes of one CPU core

The recogniser that ships is trained FOLDS times, each time without a sixth of its actions and without its validation clips. What it says of
the validation clips of actions that it knows, and of the clips of actions that it does not know, gives the slope and the offset of
`models.pose.none_of_these`: the slope is that of logistic regression with equal weights of both kinds, and the offset refuses
REFUSED of the known clips. No test clip takes part.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from models.pose.clip_recogniser import ClipRecogniser
from models.pose.none_of_these import lead
from training.engine.benchmark import Choice, markdown, measured, refuse_options
from training.engine.run import Run
from training.engine.watch import Watch
from training.tasks.bodies.action_data import ActionBatches, ActionData
from training.tasks.bodies.runs.actions_hdm05 import NETWORK, RUN

FILE = "bodies-none"
FOLDS = 6
REFUSED = 0.05  # of the clips of known actions
PLAIN = 0.5  # the threshold of a softmax that nothing was fitted to
SHRINK = 0.1  # of the covariance of features towards a ball

Scores = dict[str, list[float]]  # by method: the higher, the more a clip shows a known action


@dataclass(frozen=True)
class Fold:
    """Answers of a recogniser to validation clips of actions that it knows, and to clips of actions that it does not."""

    left_out: tuple[str, ...]
    right: list[bool] = field(repr=False)
    known: Scores = field(repr=False)
    unknown: Scores = field(repr=False)

    def write(self, path: Path) -> None:
        """Write the fold as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Fold":
        """Return the fold that `write` has written."""
        content = json.loads(path.read_text())
        return cls(**content | {"left_out": tuple(content["left_out"])})


def run_without(left_out: tuple[str, ...], number: int) -> Run[Any, ActionData]:
    """Return the run that ships, without some actions, without `none`, and with its validation clips held out."""
    classes = tuple(name for name in RUN.task.classes if name not in left_out)
    return replace(
        RUN,
        name=f"{RUN.name}-without-{number}",
        task=RUN.task.model_copy(update={"classes": classes, "none": False}),
        network=replace(NETWORK, none=None),
        data=replace(RUN.data, left_out=left_out, hold_out=True),
    )


def folds() -> list[tuple[str, ...]]:
    """Return the actions that each fold leaves out; each is left out once."""
    return [RUN.task.classes[i::FOLDS] for i in range(FOLDS)]


def tables(data_folder: Path, out: Path, watch: Watch, choice: Choice) -> str:
    """Return the table of methods and the fitted numbers in Markdown; write them into the folder of results.

    Raises Stopped and NoOptions.
    """
    refuse_options(choice, "results")
    measured_folds = [
        measured(run_without(left_out, i), 0, data_folder, out, Fold, measure, watch, file="left-out.json")
        for i, left_out in enumerate(folds())
    ]
    slope, offset = fitted(pooled(measured_folds, "softmax"), pooled(measured_folds, "softmax", unknown=True))
    text = f"{table(measured_folds)}\n\nFitted: slope {slope:.2f}, offset {offset:.2f}."
    if choice.results is not None:
        content = {"slope": slope, "offset": offset, "folds": [asdict(fold) for fold in measured_folds]}
        (choice.results / f"{FILE}.json").write_text(json.dumps(content) + "\n")
        (choice.results / f"{FILE}.md").write_text(f"## None of these actions\n\n{text}\n")
    return text


def measure(run: Run[Any, ActionData], network: nn.Module, data_folder: Path) -> Fold:
    """Measure a recogniser without some actions on clips of those that it knows and on clips of the others, none of them for testing."""
    assert isinstance(network, ClipRecogniser)
    own = run.data.load(data_folder)
    every = replace(run.data, left_out=()).load(data_folder)
    strange = [
        i
        for i, (label, split) in enumerate(zip(every.clips.labels, every.clips.splits, strict=True))
        if every.clips.classes[label] in run.data.left_out and split != "test"
    ]
    seen, labels = features(network, own, own.training), own.clips.labels[own.training]
    held = own.chosen("validation")
    known = scores(network, features(network, own, held), seen, labels)
    unknown = scores(network, features(network, every, np.array(strange)), seen, labels)
    logits = network.logits(torch.from_numpy(features(network, own, held))).argmax(-1).numpy()
    return Fold(run.data.left_out, (logits == own.clips.labels[held]).tolist(), known, unknown)


def features(network: ClipRecogniser, batches: ActionBatches, chosen: np.ndarray) -> Float[np.ndarray, "clips width"]:
    """Return the rows of clips that the logits are linear in."""
    clips = np.concatenate([batches.inputs(some) for some in np.array_split(chosen, max(1, len(chosen) // 64))])
    with torch.no_grad():
        return network.eval().features(torch.from_numpy(clips)).numpy()


def scores(
    network: ClipRecogniser,
    rows: Float[np.ndarray, "clips width"],
    seen: Float[np.ndarray, "training width"],
    labels: np.ndarray,
) -> Scores:
    """Return the scores of clips by method: log odds of the softmax, energy, and distances in the space of features.

    `seen` are the features of training clips. Distances are measured in the even features, which the mirror keeps: that of Mahalanobis to
    the nearest class (Lee et al. 2018), and the cosine to the nearest training clip. The energy is that of Liu et al. 2020.
    """
    with torch.no_grad():
        logits = network.logits(torch.from_numpy(rows)).double()
    rows, seen = even(rows), even(seen)
    means = np.stack([seen[labels == label].mean(axis=0) for label in np.unique(labels)])
    own = seen - means[labels]
    spread = own.T @ own / len(own)
    spread += SHRINK * np.trace(spread) / len(spread) * np.eye(len(spread))
    apart = rows[:, None] - means
    distances = np.einsum("cki,ij,ckj->ck", apart, np.linalg.inv(spread), apart)
    cosines = unit(rows) @ unit(seen).T
    return {
        "softmax": lead(logits).tolist(),
        "energy": logits.logsumexp(-1).tolist(),
        "Mahalanobis distance": (-distances.min(axis=1)).tolist(),
        "cosine to the nearest clip": cosines.max(axis=1).tolist(),
    }


def even(rows: Float[np.ndarray, "clips width"]) -> Float[np.ndarray, "clips half"]:
    """Return the even part of rows of pairs, which the mirror keeps."""
    left, right = np.split(rows.astype(np.float64), 2, axis=1)
    return left + right


def unit(rows: Float[np.ndarray, "clips width"]) -> Float[np.ndarray, "clips width"]:
    """Divide rows by their lengths."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pooled(folds: Sequence[Fold], method: str, *, unknown: bool = False) -> Float[np.ndarray, " clips"]:
    """Return the scores of all folds by one method, of known or of unknown actions."""
    return np.concatenate([np.array((fold.unknown if unknown else fold.known)[method]) for fold in folds])


def fitted(known: Float[np.ndarray, " known"], unknown: Float[np.ndarray, " unknown"]) -> tuple[float, float]:
    """Return the slope of logistic regression with equal weights of both kinds, and the offset that refuses REFUSED of the known.

    The maximum likelihood is found by Newton's method.
    """
    x = np.concatenate([known, unknown])
    rows, y = np.stack([x, np.ones_like(x)], axis=1), np.repeat([1.0, 0.0], [len(known), len(unknown)])
    weight, line = np.repeat([1 / len(known), 1 / len(unknown)], [len(known), len(unknown)]), np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-rows @ line))
        curvature = (rows * (weight * p * (1 - p))[:, None]).T @ rows + 1e-9 * np.eye(2)
        line += np.linalg.solve(curvature, rows.T @ (weight * (y - p)))
    return float(line[0]), float(-line[0] * np.quantile(known, REFUSED))


def table(folds: Sequence[Fold]) -> str:
    """Return a Markdown table: a line for each method, with the share of unknown clips that still get a class."""
    plain = np.log(PLAIN / (1 - PLAIN))
    rows = [_line(folds, "softmax", plain, f"softmax, at least {PLAIN:g}")]
    rows += [_line(folds, method, None, f"{method}, fitted") for method in folds[0].known]
    header = (
        "method",
        "known clips refused, %",
        "unknown clips that get a class, %",
        "fewest to most in a fold",
        "AUROC",
    )
    count = f"{len(pooled(folds, 'softmax'))} known and {len(pooled(folds, 'softmax', unknown=True))} unknown clips"
    right = np.concatenate([fold.right for fold in folds]).mean()
    return f"{markdown(header, rows)}\n\n{count}; {100 * right:.1f} % of the known ones are recognised rightly."


def _line(folds: Sequence[Fold], method: str, threshold: float | None, title: str) -> tuple[str, ...]:
    known, unknown = pooled(folds, method), pooled(folds, method, unknown=True)
    threshold = float(np.quantile(known, REFUSED)) if threshold is None else threshold
    shares = [100 * float((np.array(fold.unknown[method]) >= threshold).mean()) for fold in folds]
    area = float((known[:, None] > unknown).mean())
    return (
        title,
        f"{100 * (known < threshold).mean():.1f}",
        f"{100 * (unknown >= threshold).mean():.1f}",
        f"{min(shares):.0f} to {max(shares):.0f}",
        f"{area:.3f}",
    )
