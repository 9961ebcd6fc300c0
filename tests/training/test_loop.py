"""Training: an interrupted run goes on to the very curve it would have drawn, and stops when and as it should."""

import json
import os
import signal
import subprocess
import sys
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
from training.engine.folders import folder_of
from training.engine.loop import (
    BEST,
    HISTORY,
    LAST,
    NotANumber,
    NotStarted,
    NotThisRun,
    forget_after,
    learning_rate,
    load_best,
    move_average,
    train,
    validate,
)
from training.engine.run import Optimisation, Run
from training.engine.watch import Watch
from training.tasks.hands.data import HandBatches, HandData

CHECKOUT = Path(__file__).resolve().parents[2]


def trained(
    run: Run[HandForecast, HandData], data: Path, folder: Path, seed: int = 0, *, devices: int = 1, **watch: Any
) -> Path:
    return train(run, seed, data, folder, accelerator="cpu", devices=devices, watch=Watch(bar=False, **watch))


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]


@pytest.fixture(scope="session")
def undisturbed(tiny: Run[HandForecast, HandData], made_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny run, trained in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    trained(tiny, made_data, folder)
    return folder


def same_bits(one: object, other: object) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)  # pyright: ignore[reportArgumentType]
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_bits(v, other[k]) for k, v in one.items())  # pyright: ignore
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_bits, one, other))  # pyright: ignore
    return one == other


def must_be_the_same(folder: Path, undisturbed: Path) -> None:
    assert (folder / HISTORY).read_text() == (undisturbed / HISTORY).read_text()
    for name in (LAST, BEST):
        one, other = (torch.load(f / name, weights_only=True) for f in (folder, undisturbed))
        assert same_bits(one, other), name


# --- the same curve ---


def test_a_run_says_at_every_step_where_it_is_and_at_every_validation_how_good(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, undisturbed: Path
):
    told: list[dict[str, float]] = []
    best = trained(tiny, made_data, tmp_path, progress=told.append)
    assert [said["step"] for said in told] == list(range(1, 13))
    assert {said["steps"] for said in told} == {12}
    assert {(said.pop("stage"), said.pop("seed")) for said in told} == {("tiny", 0)}
    measured = [said for said in told if "score" in said]
    assert measured == history(tmp_path)
    assert [said["step"] for said in measured] == [4, 8, 12]
    assert all(said["loss"] > 0 and said["score"] > 0 for said in measured)
    assert best == tmp_path / BEST
    assert torch.load(best, weights_only=True)["score"] == min(said["score"] for said in measured)
    assert list(tmp_path.glob("events.out.tfevents.*"))
    must_be_the_same(tmp_path, undisturbed)


def test_another_seed_draws_another_curve(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, undisturbed: Path
):
    trained(tiny, made_data, tmp_path, seed=1)
    assert history(tmp_path) != history(undisturbed)


@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_run_that_was_told_to_stop_goes_on_to_the_same_curve(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, undisturbed: Path, after: int
):
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    trained(tiny, made_data, tmp_path, stop=stop)
    assert torch.load(tmp_path / LAST, weights_only=True)["step"] == after
    torch.manual_seed(123)  # the state of the world outside may be any
    trained(tiny, made_data, tmp_path)
    must_be_the_same(tmp_path, undisturbed)


@pytest.mark.parametrize("at", [4, 8])
def test_a_run_that_failed_goes_on_from_its_last_checkpoint_to_the_same_curve(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, undisturbed: Path, at: int
):
    def fail(said: dict[str, float]) -> None:
        if said["step"] == at:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        trained(tiny, made_data, tmp_path, progress=fail)
    assert torch.load(tmp_path / LAST, weights_only=True)["step"] < at == history(tmp_path)[-1]["step"]
    trained(tiny, made_data, tmp_path)
    must_be_the_same(tmp_path, undisturbed)


class Noisy(nn.Module):
    """Forecasts that stay where the past ended, but for what a linear layer makes of it behind a dropout."""

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


def test_a_run_that_was_told_to_stop_goes_on_with_the_very_noise_it_would_have_had(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path
):
    noisy = replace(tiny, network=NoisyConfig())
    trained(noisy, made_data, tmp_path / "undisturbed")
    reached: list[int] = []
    trained(
        noisy, made_data, tmp_path / "stopped", progress=lambda said: reached.append(1), stop=lambda: len(reached) >= 5
    )
    assert len(reached) == 5
    torch.manual_seed(123)
    trained(noisy, made_data, tmp_path / "stopped")
    must_be_the_same(tmp_path / "stopped", tmp_path / "undisturbed")


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
import torch
from training.engine.loop import train
from training.engine.watch import Watch
torch.set_num_threads(1)
run, data, folder = pickle.load(sys.stdin.buffer)
die = lambda said: os.kill(os.getpid(), signal.SIGKILL) if said["step"] == 8 else None
train(run, 0, data, folder, accelerator="cpu", watch=Watch(die, bar=False))
"""


def test_a_run_whose_process_was_killed_goes_on_to_the_same_curve(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, undisturbed: Path
):
    import pickle

    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    content = pickle.dumps((tiny, made_data, tmp_path))
    done = subprocess.run([sys.executable, "-c", KILLED], input=content, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert torch.load(tmp_path / LAST, weights_only=True)["step"] == 6
    trained(tiny, made_data, tmp_path)
    must_be_the_same(tmp_path, undisturbed)


def test_a_finished_run_is_not_trained_again(tiny: Run[HandForecast, HandData], made_data: Path, undisturbed: Path):
    before = (undisturbed / LAST).read_bytes(), (undisturbed / HISTORY).read_text()
    trained(tiny, made_data, undisturbed, progress=lambda _: pytest.fail("trained again"))
    assert (undisturbed / HISTORY).read_text() == before[1]


# --- refusals and endings ---


def test_a_checkpoint_of_another_run_is_refused(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, undisturbed: Path
):
    (tmp_path / LAST).write_bytes((undisturbed / LAST).read_bytes())
    slower = replace(tiny, optimisation=replace(tiny.optimisation, learning_rate=1e-4))
    with pytest.raises(NotThisRun, match=f"holds run {tiny.fingerprint}, seed 0, not {slower.fingerprint}, seed 0"):
        trained(slower, made_data, tmp_path)
    with pytest.raises(NotThisRun, match=r"not .* seed 3"):
        trained(tiny, made_data, tmp_path, seed=3)
    with pytest.raises(NotThisRun, match=f"not {slower.fingerprint}"):
        load_best(slower, undisturbed / BEST)


def test_a_checkpoint_of_a_network_of_another_size_is_refused_in_the_same_words(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, undisturbed: Path
):
    (tmp_path / LAST).write_bytes((undisturbed / LAST).read_bytes())
    with pytest.raises(NotThisRun):
        trained(replace(tiny, network=EqMotionConfig(channels=8, hidden=4, layers=1)), made_data, tmp_path)


def not_a_number(futures: Tensor, true: Tensor, *_: Tensor) -> Tensor:
    return (futures - true.unsqueeze(1)).sum() * float("nan")


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path
):
    with pytest.raises(NotANumber, match="loss of tiny, seed 0, is nan at step 1"):
        trained(replace(tiny, loss=not_a_number), made_data, tmp_path)
    assert not (tmp_path / BEST).exists()


def bad_when_averaged(futures: Tensor, true: Tensor, *_: Tensor) -> Tensor:
    """A number while training and none while validating: what a last step to infinity leaves."""
    return (futures - true.unsqueeze(1)).square().mean() * (1 if torch.is_grad_enabled() else float("nan"))


def test_a_score_that_is_no_number_ends_the_run_too(tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path):
    with pytest.raises(NotANumber, match="score of tiny, seed 0, is nan at step 4"):
        trained(replace(tiny, score=bad_when_averaged), made_data, tmp_path)


def test_a_run_that_no_longer_gets_better_stops_early(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path
):
    lazy = Optimisation(steps=100, learning_rate=0.0, validate_every=2, patience=3, checkpoint_every=50)
    trained(replace(tiny, optimisation=lazy), made_data, tmp_path)
    assert [said["step"] for said in history(tmp_path)] == [
        2,
        4,
        6,
        8,
    ]  # one that is best, then three that are not better
    assert torch.load(tmp_path / BEST, weights_only=True)["step"] == 2


def test_training_makes_forecasts_better(tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path):
    longer = Optimisation(steps=60, learning_rate=5e-3, warmup=5, validate_every=20, checkpoint_every=60)
    trained(replace(tiny, optimisation=longer), made_data, tmp_path)
    scores = [said["score"] for said in history(tmp_path)]
    assert scores[-1] < 0.9 * scores[0]


def test_the_best_weights_are_the_averaged_ones(tiny: Run[HandForecast, HandData], undisturbed: Path):
    network, content = load_best(tiny, undisturbed / BEST), torch.load(undisturbed / BEST, weights_only=True)
    assert not network.training
    assert same_bits(dict(network.state_dict()), dict(content["average"]))


# --- parts ---


def test_the_learning_rate_climbs_a_line_and_descends_a_cosine_to_zero():
    how = Optimisation(steps=100, warmup=10, learning_rate=1.0)
    assert [learning_rate(how, step) for step in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert learning_rate(how, 55) == pytest.approx(0.5)
    assert learning_rate(how, 100) == pytest.approx(0.0)
    assert learning_rate(replace(how, warmup=0), 0) == 1.0


def test_averaged_weights_move_by_their_share():
    average, network = nn.Linear(2, 1), nn.Linear(2, 1)
    wanted = 0.9 * average.weight + 0.1 * network.weight
    move_average(average, network, 0.9)
    torch.testing.assert_close(average.weight, wanted)


def test_validation_counts_every_source_the_same_however_many_windows_it_has(
    tiny: Run[HandForecast, HandData], made_data: Path
):
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

    score = validate(Fabric(accelerator="cpu"), tiny, Still(), Scripted(tiny.data, made_data))
    assert score == pytest.approx(((3 * 1 + 2) / 4 + 5) / 2, rel=1e-5)


def test_history_forgets_what_will_be_done_again(tmp_path: Path):
    path = tmp_path / HISTORY
    forget_after(path, 5)
    assert not path.exists()
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (2, 4, 6)) + '{"step": 8, "st')
    forget_after(path, 4)
    assert [said["step"] for said in history(tmp_path)] == [2, 4]


def test_a_run_that_begins_with_another_takes_its_best_weights_and_then_goes_its_own_way(
    tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path
):
    second = replace(
        tiny, name="second", start=tiny, optimisation=replace(tiny.optimisation, steps=4, learning_rate=0.0)
    )
    folder = folder_of(tmp_path, second, 0)
    with pytest.raises(NotStarted, match="python -m training run tiny --seed 0"):
        trained(second, made_data, folder)
    first = load_best(tiny, trained(tiny, made_data, folder_of(tmp_path, tiny, 0)))
    again = load_best(second, trained(second, made_data, folder))
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(
        torch.allclose(before, after, atol=1e-6) for before, after in pairs
    )  # weight decay without a rate moves nothing
    assert second.stages == [tiny, second]
    assert second.fingerprint != replace(second, start=None).fingerprint
