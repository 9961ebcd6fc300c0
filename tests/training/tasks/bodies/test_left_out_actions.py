"""Tests of the fit of none of these: folds, scores of methods, logistic regression, and the table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.pose.clip_recogniser import ClipRecogniser
from training.engine.benchmark import Choice, NoOptions
from training.engine.watch import Watch
from training.tasks.bodies import left_out_actions
from training.tasks.bodies.left_out_actions import (
    Fold,
    even,
    fitted,
    folds,
    measure,
    run_without,
    scores,
    table,
    tables,
)
from training.tasks.bodies.named_actions import CLASSES
from training.tasks.bodies.runs.actions_hdm05 import NETWORK, RUN


def normal(mean: float, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, size=count)


def test_every_action_is_left_out_once():
    assert sorted(name for left_out in folds() for name in left_out) == sorted(CLASSES)
    run = run_without(folds()[0], 0)
    assert len(run.task.classes) + len(folds()[0]) == len(CLASSES)
    assert run.data.hold_out
    assert not run.task.none
    assert len({run_without(left_out, i).fingerprint for i, left_out in enumerate(folds())}) == len(folds())


def test_the_fit_is_the_logistic_regression_of_two_normal_distributions():
    known, unknown = normal(2.0, 40_000, 0), normal(-1.0, 4000, 1)
    slope, offset = fitted(known, unknown)
    assert slope == pytest.approx(3.0, rel=0.1)  # the difference of the means over the variance
    assert (slope * known + offset < 0).mean() == pytest.approx(0.05, abs=1e-3)


def test_a_recogniser_is_measured_on_known_validation_clips_and_on_clips_of_the_actions_it_lacks(data_folder: Path):
    run = run_without(folds()[1], 1)
    torch.manual_seed(0)
    fold = measure(run, run.build(), data_folder)
    every = RUN.data.load(data_folder).clips
    labels = [every.classes[label] for label in every.labels]
    pairs = list(zip(labels, every.splits, strict=True))
    known = sum(split == "validation" and label not in folds()[1] for label, split in pairs)
    unknown = sum(split != "test" and label in folds()[1] for label, split in pairs)
    assert {len(one) for one in fold.known.values()} == {known} == {len(fold.right)}
    assert {len(one) for one in fold.unknown.values()} == {unknown}


def test_scores_of_features_beside_a_slow_calculation_and_of_their_mirror_image():
    run = run_without(folds()[0], 0)
    network = ClipRecogniser(run.task, replace(NETWORK, none=None))
    rng = np.random.default_rng(0)
    seen, rows = (rng.normal(size=(count, 256)).astype(np.float32) for count in (40, 3))
    labels = np.arange(40) % 4
    said = scores(network, rows, seen, labels)
    mirrored, others = (np.concatenate(np.split(x, 2, axis=1)[::-1], axis=1) for x in (rows, seen))
    image = scores(network, mirrored, others, labels)
    for method, values in said.items():
        np.testing.assert_allclose(image[method], values, rtol=1e-4)
    shares = torch.softmax(network.logits(torch.from_numpy(rows)), -1).amax(-1).detach().double()
    np.testing.assert_allclose(said["softmax"], (shares / (1 - shares)).log(), atol=1e-4)
    one, others = even(rows)[0], even(seen)
    cosine = max(float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) for other in others)
    assert said["cosine to the nearest clip"][0] == pytest.approx(cosine)


def made_up(left_out: tuple[str, ...] = ("bow",)) -> Fold:
    known, unknown = np.linspace(1, 3, 101).tolist(), [-1.0, 0.5, 2.0, 2.5]
    return Fold(left_out, [True] * 101, {"softmax": known, "energy": known}, {"softmax": unknown, "energy": unknown})


def test_the_table_has_the_unknown_clips_that_get_a_class_with_either_threshold(tmp_path: Path):
    made_up().write(tmp_path / "fold.json")
    assert Fold.read(tmp_path / "fold.json") == made_up()
    lines = table([made_up(), made_up()]).splitlines()
    assert lines[2].startswith("| softmax, at least 0.5 | 0.0 | 75.0 | 75 to 75 |")
    assert lines[3].startswith("| softmax, fitted | 5.0 | 50.0 | 50 to 50 |")
    assert lines[4].startswith("| energy, fitted | 5.0 | 50.0 |")
    assert lines[-1] == "202 known and 8 unknown clips; 100.0 % of the known ones are recognised rightly."


def test_the_tables_are_written_with_the_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(left_out_actions, "measured", lambda *_, **__: made_up())
    text = tables(tmp_path, tmp_path, Watch(bar=False), Choice(results=tmp_path))
    assert "Fitted: slope" in text
    assert text in (tmp_path / "bodies-none.md").read_text()
    with pytest.raises(NoOptions, match="seeds"):
        tables(tmp_path, tmp_path, Watch(bar=False), replace(Choice(), seeds=2))
