"""Tests of the training loop: resumption after interruptions, checkpoints, early stopping, and stages."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.eqmotion import EqMotionConfig
from training.engine.batches import Batch
from training.engine.checkpoints import BEST, LAST, NotThisRun, NotTrained, load_best
from training.engine.folders import HISTORY
from training.engine.loop import (
    NotANumber,
    Training,
    forget_after,
    move_average,
    train,
    validate,
)
from training.engine.run import Optimisation, Run
from training.engine.watch import Watch
from training.tasks.hands.data import HandBatches, HandData

CHECKOUT = Path(__file__).resolve().parents[3]
HandRun = Run[HandForecast, HandData]


def trained(run: HandRun, data: Path, out: Path, seed: int = 0, *, devices: int = 1, **watch: Any) -> Path:
    """Train on the CPU without a progress bar; return the folder of the checkpoints."""
    training = Training(run, seed, data, out, "cpu", devices)
    assert train(training, Watch(bar=False, **watch)) == training.folder / BEST
    return training.folder


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]


def checkpoint(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


@pytest.fixture(scope="session")
def uninterrupted(tiny: HandRun, synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the tiny run without an interruption; return its folder."""
    return trained(tiny, synthetic_data, tmp_path_factory.mktemp("uninterrupted"))


def bitwise_equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)  # pyright: ignore[reportArgumentType]
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(bitwise_equal(v, other[k]) for k, v in one.items())  # pyright: ignore
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(bitwise_equal, one, other))  # pyright: ignore
    return one == other


def assert_same_results(folder: Path, uninterrupted: Path) -> None:
    assert (folder / HISTORY).read_text() == (uninterrupted / HISTORY).read_text()
    for name in (LAST, BEST):
        assert bitwise_equal(checkpoint(folder, name), checkpoint(uninterrupted, name)), name


# --- resumption ---


def test_a_run_reports_every_step_and_every_validation(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, uninterrupted: Path
):
    reports: list[dict[str, float]] = []
    folder = trained(tiny, synthetic_data, tmp_path, progress=reports.append)
    assert [(report["step"], report["steps"]) for report in reports] == [(step, 12) for step in range(1, 13)]
    assert {(report.pop("stage"), report.pop("seed")) for report in reports} == {("tiny", 0)}
    assert all(report.pop("batch_loss") > 0 for report in reports)
    measured = [report for report in reports if "score" in report]
    assert measured == history(folder)
    assert [report["step"] for report in measured] == [4, 8, 12]
    assert all(report["loss"] > 0 and report["score"] > 0 for report in measured)
    assert checkpoint(folder, BEST)["score"] == min(report["score"] for report in measured)
    assert list(folder.glob("events.out.tfevents.*"))
    assert_same_results(folder, uninterrupted)


def test_another_seed_gives_another_curve(tiny: HandRun, synthetic_data: Path, tmp_path: Path, uninterrupted: Path):
    assert history(trained(tiny, synthetic_data, tmp_path, seed=1)) != history(uninterrupted)


def stop_after(steps: int) -> dict[str, Any]:
    """Return options of a watch that stops the training after `steps` steps."""
    reached: list[dict[str, Any]] = []
    return {"progress": reached.append, "stop": lambda: len(reached) >= steps}


@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_stopped_run_resumes_to_the_same_curve(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, uninterrupted: Path, after: int
):
    folder = trained(tiny, synthetic_data, tmp_path, **stop_after(after))
    assert checkpoint(folder, LAST)["step"] == after
    torch.manual_seed(123)  # the global random state must not matter
    trained(tiny, synthetic_data, tmp_path)
    assert_same_results(folder, uninterrupted)


@pytest.mark.parametrize("batch", [0, 1])
def test_a_run_stopped_within_a_validation_resumes_to_the_same_curve(
    tiny: HandRun,
    synthetic_data: Path,
    tmp_path: Path,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
):
    """The validation at step 4 has two batches; the stop comes before one of them."""
    drawn: list[int] = []
    batches_of = HandBatches.validation_batches

    def counted(batches: HandBatches):
        for number, one in enumerate(batches_of(batches)):
            drawn.append(number)
            yield one

    monkeypatch.setattr(HandBatches, "validation_batches", counted)
    folder = trained(tiny, synthetic_data, tmp_path, stop=lambda: len(drawn) > batch)
    assert len(drawn) == batch + 1, "expected no further batch"
    assert checkpoint(folder, LAST)["step"] == 4
    assert not (folder / HISTORY).exists()
    assert not (folder / BEST).exists()
    trained(tiny, synthetic_data, tmp_path)
    assert_same_results(folder, uninterrupted)


@pytest.mark.parametrize("at", [4, 8])
def test_a_failed_run_resumes_from_its_last_checkpoint_to_the_same_curve(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, uninterrupted: Path, at: int
):
    def fail(report: dict[str, float]) -> None:
        if report["step"] == at:
            raise OSError("the disk is full")

    folder = Training(tiny, 0, synthetic_data, tmp_path).folder
    with pytest.raises(OSError, match="disk"):
        trained(tiny, synthetic_data, tmp_path, progress=fail)
    assert checkpoint(folder, LAST)["step"] < at == history(folder)[-1]["step"]
    trained(tiny, synthetic_data, tmp_path)
    assert_same_results(folder, uninterrupted)


class Noisy(nn.Module):
    """A network that adds a linear function of the past, after dropout, to the last pose."""

    def __init__(self, task: HandForecast) -> None:
        super().__init__()
        self.rest = nn.Sequential(nn.Dropout(0.5), nn.Linear(task.past, task.future))

    def forward(self, past: Tensor) -> Tensor:
        offsets = self.rest((past - past[:, -1:]).transpose(1, 3)).transpose(1, 3)
        return (past[:, -1:] + offsets).unsqueeze(1)


@dataclass(frozen=True)
class NoisyConfig:
    def build(self, task: HandForecast) -> nn.Module:
        return Noisy(task)


def test_a_stopped_run_resumes_with_the_same_random_numbers(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    noisy = replace(tiny, network=NoisyConfig())
    uninterrupted = trained(noisy, synthetic_data, tmp_path / "uninterrupted")
    folder = trained(noisy, synthetic_data, tmp_path / "stopped", **stop_after(5))
    assert checkpoint(folder, LAST)["step"] == 5
    torch.manual_seed(123)
    trained(noisy, synthetic_data, tmp_path / "stopped")
    assert_same_results(folder, uninterrupted)


KILLED = """
import os, pickle, signal, sys
import torch
from training.engine.loop import train
from training.engine.watch import Watch
torch.set_num_threads(1)
training = pickle.load(sys.stdin.buffer)
die = lambda report: os.kill(os.getpid(), signal.SIGKILL) if report["step"] == 8 else None
train(training, Watch(die, bar=False))
"""


def test_a_killed_run_resumes_to_the_same_curve(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, uninterrupted: Path
):
    training = Training(tiny, 0, synthetic_data, tmp_path, "cpu")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", KILLED], input=pickle.dumps(training), env=environment, capture_output=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert checkpoint(training.folder, LAST)["step"] == 6
    trained(tiny, synthetic_data, tmp_path)
    assert_same_results(training.folder, uninterrupted)


def test_a_finished_run_is_not_trained_again(tiny: HandRun, synthetic_data: Path, uninterrupted: Path):
    before = (uninterrupted / HISTORY).read_text()
    trained(tiny, synthetic_data, uninterrupted.parents[1], progress=lambda _: pytest.fail("trained again"))
    assert (uninterrupted / HISTORY).read_text() == before


# --- checkpoints ---


def test_writing_a_checkpoint_is_reported_as_an_activity(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    activities: list[str | None] = []
    during: list[str | None] = []
    real = Fabric.save

    def save(fabric: Fabric, *arguments: Any) -> None:
        during.append(activities[-1])
        real(fabric, *arguments)

    monkeypatch.setattr(Fabric, "save", save)
    trained(tiny, synthetic_data, tmp_path, activity=activities.append)
    assert set(during) == {"writing last.ckpt", "writing best.ckpt"}
    assert activities[::2] == during
    assert set(activities[1::2]) == {None}


def test_a_failed_write_keeps_the_previous_checkpoint_and_ends_the_activity(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = trained(tiny, synthetic_data, tmp_path, **stop_after(6))
    before = (folder / LAST).read_bytes()
    activities: list[str | None] = []

    def half(fabric: Fabric, path: Path, *_: Any) -> None:
        path.write_bytes(b"half of it")
        raise OSError("the disk is full")

    monkeypatch.setattr(Fabric, "save", half)
    with pytest.raises(OSError, match="disk"):
        trained(tiny, synthetic_data, tmp_path, activity=activities.append)
    assert (folder / LAST).read_bytes() == before
    assert activities[-1] is None


def test_the_best_weights_are_averaged_weights(tiny: HandRun, uninterrupted: Path):
    network = load_best(tiny, uninterrupted / BEST)
    assert not network.training
    assert bitwise_equal(dict(network.state_dict()), dict(checkpoint(uninterrupted, BEST)["average"]))


# --- errors and early stopping ---


@pytest.mark.parametrize(
    "changed",
    [
        lambda tiny: replace(tiny, optimisation=replace(tiny.optimisation, learning_rate=1e-4)),
        lambda tiny: replace(tiny, network=EqMotionConfig(channels=8, hidden=4, layers=1)),
    ],
    ids=["another rate", "another network"],
)
def test_a_checkpoint_of_another_run_is_refused(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, uninterrupted: Path, changed: Callable[[HandRun], HandRun]
):
    other = Training(changed(tiny), 0, synthetic_data, tmp_path, "cpu")
    other.folder.mkdir(parents=True)
    (other.folder / LAST).write_bytes((uninterrupted / LAST).read_bytes())
    message = f"expected run {other.run.fingerprint}, seed 0, got run {tiny.fingerprint}, seed 0"
    with pytest.raises(NotThisRun, match=message):
        train(other)
    with pytest.raises(NotThisRun, match=f"expected run {other.run.fingerprint}, got run {tiny.fingerprint}, seed 0"):
        load_best(other.run, uninterrupted / BEST)


def test_a_checkpoint_of_another_seed_is_refused(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, uninterrupted: Path
):
    other = Training(tiny, 3, synthetic_data, tmp_path, "cpu")
    other.folder.mkdir(parents=True)
    (other.folder / LAST).write_bytes((uninterrupted / LAST).read_bytes())
    with pytest.raises(NotThisRun, match=r"expected run .*, seed 3, got run .*, seed 0"):
        train(other)


def not_a_number(futures: Tensor, true: Tensor, *_: Tensor) -> Tensor:
    return (futures - true.unsqueeze(1)).sum() * float("nan")


def test_a_nan_loss_ends_the_run_and_its_error_names_the_step(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    with pytest.raises(NotANumber, match="loss of tiny, seed 0, is nan at step 1"):
        trained(replace(tiny, loss=not_a_number), synthetic_data, tmp_path)
    assert not list(tmp_path.rglob(BEST))


def bad_when_averaged(futures: Tensor, true: Tensor, *_: Tensor) -> Tensor:
    """Return a finite loss in training and NaN in validation, as for infinite weights."""
    return (futures - true.unsqueeze(1)).square().mean() * (1 if torch.is_grad_enabled() else float("nan"))


def test_a_nan_score_ends_the_run(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    with pytest.raises(NotANumber, match="score of tiny, seed 0, is nan at step 4"):
        trained(replace(tiny, score=bad_when_averaged), synthetic_data, tmp_path)


def test_a_run_that_does_not_improve_stops_early(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    lazy = Optimisation(steps=100, learning_rate=0.0, validate_every=2, patience=3, checkpoint_every=50)
    folder = trained(replace(tiny, optimisation=lazy), synthetic_data, tmp_path)
    assert [line["step"] for line in history(folder)] == [2, 4, 6, 8], (
        "expected the best validation and three that are not better"
    )
    assert checkpoint(folder, BEST)["step"] == 2


def test_training_improves_the_score(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    longer = Optimisation(steps=60, learning_rate=5e-3, warmup=5, validate_every=20, checkpoint_every=60)
    scores = [line["score"] for line in history(trained(replace(tiny, optimisation=longer), synthetic_data, tmp_path))]
    assert scores[-1] < 0.9 * scores[0]


# --- stages ---


def test_a_second_stage_starts_from_the_best_weights_of_the_first(tiny: HandRun, synthetic_data: Path, tmp_path: Path):
    second = replace(
        tiny, name="second", start=tiny, optimisation=replace(tiny.optimisation, steps=4, learning_rate=0.0)
    )
    with pytest.raises(NotTrained, match=r"tiny is not trained yet: there is no .*best\.ckpt"):
        trained(second, synthetic_data, tmp_path)
    first = load_best(tiny, trained(tiny, synthetic_data, tmp_path) / BEST)
    again = load_best(second, trained(second, synthetic_data, tmp_path) / BEST)
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.allclose(before, after, atol=1e-6) for before, after in pairs), (
        "expected unchanged weights with a learning rate of 0"
    )


def test_the_last_weights_count_if_a_run_keeps_them(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for keep, expected in (("best", (4, 1.0)), ("last", (8, 2.0))):
        scores = iter([1.0, 2.0])
        monkeypatch.setattr("training.engine.loop.validate", lambda *_, scores=scores: next(scores))
        run = replace(tiny, optimisation=replace(tiny.optimisation, steps=8, validate_every=4, keep=keep))
        kept = checkpoint(trained(run, synthetic_data, tmp_path), BEST)
        assert (kept["step"], kept["score"]) == expected


# --- parts ---


def test_averaged_weights_move_by_one_minus_the_decay():
    average, network = nn.Linear(2, 1), nn.Linear(2, 1)
    expected = 0.9 * average.weight + 0.1 * network.weight
    move_average(average, network, 0.9)
    torch.testing.assert_close(average.weight, expected)


def test_validation_weights_all_sources_equally(tiny: HandRun, synthetic_data: Path):
    class Scripted(HandBatches):
        def validation_batches(self, limit: int = 500):
            def batch(error_m: float, windows: int) -> Batch:
                past = np.zeros((windows, 6, 21, 3), np.float32)
                return {"past": past}, past + np.array([error_m, 0, 0], np.float32)

            yield "leap", batch(0.001, 3)
            yield "leap", batch(0.002, 1)
            yield "tzionas", batch(0.005, 7)

    class Still(nn.Module):
        def forward(self, past: Tensor) -> Tensor:
            return past.unsqueeze(1)

    score = validate(Fabric(accelerator="cpu"), tiny, Still(), Scripted(tiny.data, synthetic_data))
    assert score == pytest.approx(((3 * 1 + 2) / 4 + 5) / 2, rel=1e-5)


def test_history_drops_steps_after_the_checkpoint(tmp_path: Path):
    path = tmp_path / HISTORY
    forget_after(path, 5)
    assert not path.exists()
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (2, 4, 6)) + '{"step": 8, "st')
    forget_after(path, 4)
    assert [line["step"] for line in history(tmp_path)] == [2, 4]
