"""Tests of mixed precision: every kind of run trains with finite float32 weights and statistics."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clouds import bumpy_cloud, inputs_of
from laws import hand_motion

from models.contract.face_map import FaceMap
from models.contract.task import ActionRecognition, FaceLandmarks, HandForecast, PoseForecast, PoseLift
from training.catalogue import all_runs
from training.engine.batches import Batch
from training.engine.checkpoints import LAST
from training.engine.loop import Training, train
from training.engine.run import Optimisation, Run
from training.engine.watch import Watch

pytestmark = pytest.mark.long(10)
BATCH = 2


@dataclass(frozen=True)
class Random:
    """Data with random inputs and targets of a task."""

    task: Any

    @property
    def parts(self) -> tuple[str, ...]:
        return ()

    def load(self, folder: Path) -> "Random":
        return self

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        rng, task = np.random.default_rng([seed, step]), self.task
        if isinstance(task, HandForecast):
            clip = hand_motion(task.past + task.future, 42, batch=BATCH, seed=step).astype(np.float32)
            past = clip[:, : task.past]
            seen = {"seen": np.ones(past.shape[:3], dtype=np.float32)} if task.masked else {}
            return {"past": past, **seen}, clip[:, task.past :]
        if isinstance(task, FaceLandmarks):
            inputs = inputs_of(task, bumpy_cloud(task.levels[0] + 100, seed=step))
            return inputs, inputs["points"][:, :68]
        if isinstance(task, FaceMap):
            depth = rng.normal(scale=0.02, size=(BATCH, task.size, task.size)).astype(np.float32)
            inputs = {"depth": depth, "seen": np.ones_like(depth)}
            return inputs, rng.normal(scale=0.05, size=(BATCH, 68, 3)).astype(np.float32)
        (name, spec), *_ = task.inputs.items()
        shape = [
            BATCH if axis == "batch" else axis if isinstance(axis, int) else frames_of(task) for axis in spec.shape
        ]
        inputs = {name: rng.normal(size=shape).astype(np.float32)}
        match task:
            case PoseLift():
                joints = int(task.outputs["poses"].shape[-2])
                return inputs, rng.normal(size=(BATCH, 1, joints, 3)).astype(np.float32)
            case PoseForecast():
                visible = np.ones((BATCH, task.future, shape[-2], 1))
                target = np.concatenate([rng.normal(size=(*visible.shape[:-1], 2)), visible], axis=-1)
                return inputs, target.astype(np.float32)
            case ActionRecognition():
                return inputs, rng.integers(len(task.classes), size=BATCH)
        raise TypeError(task)

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        yield "random", self.training_batch(0, 0)


def frames_of(task: Any) -> int:
    """Return the number of frames for the free axis."""
    return task.receptive if isinstance(task, PoseLift) else 8


def kind(run: Run[Any, Any]) -> tuple[Any, ...]:
    """Return the properties by which runs are equivalent here: network, options except sizes, task, and loss."""
    network = run.network
    return (
        type(network).__name__,
        getattr(network, "chiral", None),
        getattr(network, "nonlinearity", None),
        run.task.kind,
        getattr(run.loss, "__qualname__", type(run.loss).__name__),
    )


LONGEST = 10**9  # steps, for a run of epochs
KINDS = {kind(run): run for run in sorted(all_runs().values(), key=lambda run: -(run.optimisation.steps or LONGEST))}


def test_every_run_is_of_a_kind_that_is_trained():
    assert {kind(run) for run in all_runs().values()} == set(KINDS)


@pytest.mark.parametrize("run", KINDS.values(), ids=[run.name for run in KINDS.values()])
def test_a_run_trains_in_mixed_precision(run: Run[Any, Any], tmp_path: Path):
    few = Optimisation(steps=2, warmup=1, validate_every=2, checkpoint_every=2, precision="bf16-mixed")
    run = replace(run, data=Random(run.task), optimisation=few, start=None)
    training = Training(run, 0, tmp_path, tmp_path, "cpu")
    assert train(training, Watch(bar=False)).is_file()
    weights = torch.load(training.folder / LAST, weights_only=True)["network"]
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} <= {torch.float32, torch.float64}
    assert all(tensor.isfinite().all() for tensor in weights.values())
