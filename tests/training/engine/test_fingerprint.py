"""Tests of fingerprints: they depend on everything that decides the best checkpoint, and older schemes are recognised."""

import logging
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.contract.task import HandForecast
from models.forecast.eqmotion import STANDARD, EqMotionConfig
from training.catalogue import all_runs
from training.engine.checkpoints import BEST, LAST, load_best
from training.engine.fingerprint import INDIFFERENT, LATER, described, digest
from training.engine.folders import HISTORY, folder_of
from training.engine.loop import Training
from training.engine.run import Optimisation, Run
from training.tasks.hands.data import HandData
from training.tasks.hands.losses import mean_distance_mm

from .test_loop import bitwise_equal, not_a_number, trained

HandRun = Run[HandForecast, HandData]


def other_score(*tensors: torch.Tensor) -> torch.Tensor:
    return mean_distance_mm(*tensors)


def loss_of_another_module(*tensors: torch.Tensor) -> torch.Tensor:
    return mean_distance_mm(*tensors)


loss_of_another_module.__qualname__ = mean_distance_mm.__qualname__


@pytest.mark.parametrize(
    "changed",
    [
        lambda run: replace(run, task=run.task.model_copy(update={"modes": 2})),
        lambda run: replace(run, network=EqMotionConfig(channels=5, hidden=4, layers=1, categories=3, experts=1)),
        lambda run: replace(run, data=replace(run.data, sources=("leap",))),
        lambda run: replace(run, data=replace(run.data, augmentation=replace(run.data.augmentation, one_hand=0.3))),
        lambda run: replace(run, data=replace(run.data, masked=True)),
        lambda run: replace(run, loss=not_a_number),
        lambda run: replace(run, loss=loss_of_another_module),
        lambda run: replace(run, score=other_score),
        lambda run: replace(run, start=run),
        lambda run: run.with_options(13),
        lambda run: run.with_options(precision="bf16-mixed"),
        lambda run: run.with_options(validate_every=3),
    ],
    ids=["task", "network", "sources", "augmentation", "masked", "loss", "module", "score", "start", "steps", "precision", "validation"],
)  # fmt: skip
def test_a_fingerprint_depends_on_everything_that_decides_the_best_checkpoint(tiny: HandRun, changed):
    assert changed(tiny).fingerprint != tiny.fingerprint


def test_a_fingerprint_does_not_depend_on_names_the_licence_or_the_interval_of_checkpoints(tiny: HandRun):
    same = replace(tiny, name="other", title="Other", licence="MIT")
    assert same.with_options(checkpoint_every=7).fingerprint == tiny.fingerprint


@dataclass(frozen=True)
class Five:
    size: int = 5
    colour: str = field(default="red", metadata=INDIFFERENT)


def test_a_fingerprint_depends_on_defaults(monkeypatch: pytest.MonkeyPatch):
    assert described(Five()) == (f"{__name__}.Five", (("size", 5),))
    assert described(Five(colour="blue")) == described(Five())


@dataclass(frozen=True)
class Grown:
    size: int = 5
    depth: int = field(default=1, metadata=LATER)


def test_a_field_younger_than_results_counts_once_it_differs_from_its_default():
    assert described(Grown()) == (f"{__name__}.Grown", (("size", 5),))
    assert described(Grown(depth=2)) == (f"{__name__}.Grown", (("size", 5), ("depth", 2)))


@dataclass(frozen=True)
class Half:
    size: int = 6
    half: int | None = field(default=None, metadata={"described_as": "resolved"})

    @property
    def resolved(self) -> int:
        return self.size // 2 if self.half is None else self.half


def test_a_field_can_be_described_by_the_value_that_it_stands_for():
    assert described(Half()) == described(Half(half=3)) == (f"{__name__}.Half", (("size", 6), ("half", 3)))
    assert described(Half(half=2)) != described(Half())


@pytest.mark.parametrize("value", [lambda x: x, object(), {"loss": lambda x: x}, (1, [object()])])
def test_a_value_without_a_stable_description_is_refused(value: Any):
    with pytest.raises(TypeError, match="expected values, dataclasses and named functions"):
        described(value)


def test_arrays_and_partials_are_described_by_their_content():
    assert digest(np.arange(3)) == digest(np.arange(3)) != digest(np.arange(4))
    assert digest(partial(other_score, 1)) != digest(partial(other_score, 2))  # pyright: ignore[reportArgumentType]


def test_a_fingerprint_is_the_same_in_another_process():
    program = "from training.catalogue import get_run; print(get_run('face-se3unet').fingerprint, end='')"
    other = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert other.stdout == all_runs()["face-se3unet"].fingerprint


# --- scheme 1 ---


def runs_that_were_trained() -> dict[str, Run[Any, Any]]:
    """Return the runs by name, with hands-eqmotion as it was when results with both schemes were made."""
    runs = all_runs()
    now = runs["hands-eqmotion"]
    before = replace(
        now,
        network=STANDARD,
        data=HandData(("leap", "tzionas"), now.data.window, batch=16),
        score=mean_distance_mm,
        optimisation=Optimisation(steps=3000, validate_every=200),
    )
    return runs | {"hands-eqmotion": before}


SCHEME_2 = {
    "hands-eqmotion": "d33063a31159",
    "face-se3unet-middle": "64ae81304875",
    "poses-lift": "070d7f44d770",
}  # of runs that were trained


def test_fingerprints_match_those_of_results_that_exist():
    assert {name: runs_that_were_trained()[name].fingerprint for name in SCHEME_2} == SCHEME_2


SCHEME_1 = {  # fingerprints of runs that were trained with that scheme
    "hands-eqmotion": "c00a6074e90b",
    "hands-eqmotion-30-30": "99e348027e9b",
    "face-se3unet-base": "8b8f82ff9958",
    "face-se3unet-middle": "89bf35b641e9",
    "face-se3unet-facescape": "4fe0569d548e",
    "actions-ucla-flips": "e93b9f2a31d8",
}


def test_legacy_fingerprints_match_those_of_scheme_1():
    runs = runs_that_were_trained()
    assert {name: runs[name].legacy_fingerprint for name in SCHEME_1} == SCHEME_1


def as_scheme_1(training: Training) -> Path:
    """Rename and rewrite the folder of a training as scheme 1 did."""
    older = training.folder.with_name(f"{training.run.legacy_fingerprint}-seed{training.seed}")
    training.folder.rename(older)
    for name in (LAST, BEST):
        content = torch.load(older / name, weights_only=True)
        content.pop("validate", None)
        torch.save(content | {"run": training.run.legacy_fingerprint}, older / name)
    return older


def test_results_of_scheme_1_are_found_with_a_warning_and_training_continues(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    steps: list[int] = []
    folder = trained(tiny, synthetic_data, tmp_path / "new")
    training = Training(tiny, 0, synthetic_data, tmp_path / "old", "cpu")
    trained(
        tiny, synthetic_data, tmp_path / "old", progress=lambda report: steps.append(1), stop=lambda: len(steps) >= 6
    )
    older = as_scheme_1(training)
    with caplog.at_level(logging.WARNING):
        assert training.folder == older
    assert f"{older} has a fingerprint of an older scheme" in caplog.text
    assert trained(tiny, synthetic_data, tmp_path / "old") == older
    assert (older / HISTORY).read_text() == (folder / HISTORY).read_text()
    one, other = load_best(tiny, older / BEST), load_best(tiny, folder / BEST)
    assert bitwise_equal(dict(one.state_dict()), dict(other.state_dict()))
    assert not (tmp_path / "old" / "tiny" / folder.name).exists()


def test_a_folder_of_the_current_scheme_takes_precedence(tiny: HandRun, tmp_path: Path):
    current = folder_of(tmp_path, tiny, 0)
    older = current.with_name(f"{tiny.legacy_fingerprint}-seed0")
    older.mkdir(parents=True)
    assert folder_of(tmp_path, tiny, 0) == older
    current.mkdir()
    assert folder_of(tmp_path, tiny, 0) == current
    assert folder_of(tmp_path, tiny.with_options(precision="bf16-mixed"), 0).name not in (current.name, older.name)
