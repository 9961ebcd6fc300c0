"""The training loop, which resumes to the same curve and is independent of the task.

A training keeps in its folder: `last.ckpt`, `best.ckpt` (EMA weights), `step-<n>.ckpt` (EMA weights of a marked step), `history.jsonl` (a
line for each validation) and TensorBoard events.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import nn
from tqdm import tqdm

from models.contract.freed_memory import keep_freed_memory
from training.engine import noise, ranks
from training.engine.batches import Batch, Batches, CountedBatches
from training.engine.checkpoints import BEST, LAST, load_best, mark, refuse_other
from training.engine.folders import HISTORY, folder_of
from training.engine.restore import first_weights
from training.engine.run import Optimisation, Run
from training.engine.schedule import learning_rate, optimiser_of, set_norm_momentum
from training.engine.watch import UNWATCHED, Watch

LOG_EVERY = 10  # steps from one training loss in TensorBoard to the next


class NotANumber(ArithmeticError):
    """A loss or score that became infinite or NaN."""


class NothingToValidate(ValueError):
    """A run whose data have no validation samples, so that no checkpoint can be chosen."""


@dataclass(frozen=True)
class Training:
    """One run with one seed: the data folder it reads, the root that its folder is under, and where it computes."""

    run: Run[Any, Any]
    seed: int
    data: Path
    out: Path
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1

    @property
    def folder(self) -> Path:
        """Return the folder of the checkpoints."""
        return folder_of(self.out, self.run, self.seed)


def train(training: Training, watch: Watch = UNWATCHED) -> Path:
    """Train and return the checkpoint of the best validation score; continue from the last checkpoint if there is one.

    `watch.progress` gets stage (the name of the run), seed, step, steps and the loss of the batch, and after a validation also the mean
    loss since the last one and the score. When `watch.stop` asks for it, the loop writes a checkpoint and returns; that may be before the
    first validation. Several `devices` get a process each and a share of every batch; the mean over the shares is the batch's, so the
    curve is that of one device up to rounding and statistics of batches, which are those of a share.

    Raises NotThisRun for a folder of another run, NotTrained if the run begins with one that is not trained, NotANumber if loss or score
    stops being a number, NothingToValidate for data without validation samples, and what loading the data raises.
    """
    ranks.launch(training.devices, _train, watch, training)
    return training.folder / BEST


def _train(watch: Watch, training: Training) -> None:
    run, seed, folder = training.run, training.seed, training.folder
    folder.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(
        accelerator=training.accelerator,
        devices=training.devices,
        strategy=ranks.strategy(training.devices),
        precision=run.optimisation.precision,
        loggers=TensorBoardLogger(folder, name="", version=""),
    )
    fabric.launch()
    keep_freed_memory()
    torch.manual_seed(seed)
    torch.backends.cuda.matmul.allow_tf32 = False  # its 1e-3 relative is too coarse for a symmetry
    torch.backends.cudnn.allow_tf32 = False
    network = run.build()
    if not (folder / LAST).is_file() and (weights := first_weights(run, seed, training.out)) is not None:
        network.load_state_dict(weights)
    average = run.build().requires_grad_(False).eval()  # as in use: no dropout, no statistics of its batch
    average.load_state_dict(network.state_dict())
    optimiser = optimiser_of(run.optimisation, network.parameters())
    average = fabric.to_device(average)
    network, optimiser = fabric.setup(network, optimiser)
    batches = run.data.load(training.data)
    options = in_steps(run.optimisation, batches)

    weights = {"network": network, "optimiser": optimiser, "average": average}
    state: dict[str, Any] = {
        "run": run.fingerprint,
        "seed": seed,
        "step": 0,
        "best": math.inf,
        "stale": 0,
        "loss_sum": torch.zeros(()),
        "validate": False,  # a validation of this step is due: a stop broke it off
    }
    if (folder / LAST).is_file():
        refuse_other(folder / LAST, fabric.load(folder / LAST), run, seed)
        state |= fabric.load(folder / LAST, weights)
    noise.restore(fabric, state.pop("noise", None), seed)
    if fabric.is_global_zero:
        forget_after(folder / HISTORY, state["step"])

    meter = tqdm(
        total=options.steps,
        initial=state["step"],
        desc=f"{run.name} seed {seed}",
        mininterval=5,
        disable=not (watch.bar and fabric.is_global_zero),
    )
    while state["validate"] or (state["step"] < options.steps and state["stale"] < options.patience):
        if ranks.agreed(fabric, watch.stop()):
            break
        taken: dict[str, float] = {}
        if not state["validate"]:
            batch, weight = ranks.share(fabric, partial(batches.training_batch, seed, state["step"]))
            inputs, target = tensors(fabric, batch)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(options, state["step"])
            set_norm_momentum(options, network, state["step"])
            loss = weight * run.loss(network(*inputs), target, *inputs)
            value = ranks.reduced(fabric, loss.detach()).float().cpu()
            if not value.isfinite():
                raise NotANumber(f"the loss of {run.name}, seed {seed}, is {value} at step {state['step'] + 1}")
            fabric.backward(loss)
            fabric.clip_gradients(network, optimiser, max_norm=options.clip)
            optimiser.step()
            optimiser.zero_grad()
            state["step"] += 1
            state["loss_sum"] = state["loss_sum"] + value
            taken = {"batch_loss": float(value)}
            if state["step"] % LOG_EVERY == 0:
                fabric.log_dict(taken, state["step"])
            move_average(average, network, min(options.ema, state["step"] / (state["step"] + 10)))
            due = state["step"] % options.validate_every == 0 or state["step"] in options.marks
            state["validate"] = due or state["step"] == options.steps
            meter.update()

        event = {"step": state["step"], "steps": options.steps}
        if state["validate"]:
            mine = validate(fabric, run, average, batches, watch.stop) if fabric.is_global_zero else None
            score = fabric.broadcast(mine)
            if score is None:
                break
            if not math.isfinite(score):
                raise NotANumber(f"the score of {run.name}, seed {seed}, is {score} at step {state['step']}")
            seen = state["step"] - options.last_validation_before(state["step"])
            event |= {"loss": float(state["loss_sum"]) / seen, "score": score}
            better = score < state["best"] or options.keep == "last"
            state |= {
                "best": min(score, state["best"]),
                "stale": 0 if better else state["stale"] + 1,
                "loss_sum": torch.zeros(()),
                "validate": False,
            }
            content = {"average": average, "run": state["run"], "seed": seed} | event
            if better:
                save(fabric, folder / BEST, content, watch)
            if state["step"] in options.marks:
                save(fabric, folder / mark(state["step"]), content, watch)
            if fabric.is_global_zero:
                with (folder / HISTORY).open("a") as file:
                    file.write(json.dumps(event) + "\n")
            fabric.log_dict({"loss": event["loss"], "score": score}, state["step"])
            meter.set_postfix(loss=f"{event['loss']:.2f}", score=f"{score:.2f}", best=f"{state['best']:.2f}")
        watch.progress({"stage": run.name, "seed": seed} | event | taken)
        if state["step"] % options.checkpoint_every == 0:
            save(fabric, folder / LAST, weights | state | noise.drawn(fabric), watch)
    meter.close()
    save(fabric, folder / LAST, weights | state | noise.drawn(fabric), watch)


def trained(run: Run[Any, Any], seed: int, data: Path, out: Path, watch: Watch = UNWATCHED) -> nn.Module:
    """Train what is missing of a run and seed under `out`, stage by stage, and return the network. Raises Stopped."""
    for stage in run.stages:
        watch.check()
        train(Training(stage, seed, data, out), watch)
    watch.check()
    return load_best(run, folder_of(out, run, seed) / BEST)


def validate(
    fabric: Fabric, run: Run[Any, Any], network: nn.Module, batches: Batches, stop: Callable[[], bool] = lambda: False
) -> float | None:
    """Return the score on the validation data: the mean over sources of the mean over each one's samples; None if stopped.

    Raises NothingToValidate.
    """
    scores: dict[str, list[tuple[float, int]]] = {}
    with torch.no_grad():
        for source, batch in batches.validation_batches():
            if stop():
                return None
            inputs, target = tensors(fabric, batch)
            if len(target):
                scores.setdefault(source, []).append((float(run.score(network(*inputs), target, *inputs)), len(target)))
    if not scores:
        raise NothingToValidate(
            f"expected validation samples for {run.name}, got none; give its sources recordings of the split `validation`"
        )
    return sum(sum(v * n for v, n in s) / sum(n for _, n in s) for s in scores.values()) / len(scores)


def in_steps(options: Optimisation, batches: Batches) -> Optimisation:
    """Return options with a number of steps: `epochs` passes over the data if there was none. Raises ValueError for data without epochs."""
    if options.steps:
        return options
    if not isinstance(batches, CountedBatches):
        raise ValueError(f"expected data with a number of steps an epoch, got {type(batches).__name__}")
    return replace(options, steps=options.epochs * batches.steps_an_epoch())


def move_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Set every weight of `average` to keep * average + (1 - keep) * network, and copy the buffers.

    Buffers are copied because statistics of batches averaged over past networks are not those of the averaged network.
    """
    with torch.no_grad():
        for mean, now in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for own, now in zip(average.buffers(), network.buffers(), strict=True):
            own.copy_(now)


def save(fabric: Fabric, path: Path, content: dict[str, Any], watch: Watch) -> None:
    """Write a checkpoint beside `path` and rename it, so that `path` is complete at any time; report the write to `watch`."""
    written = path.with_suffix(".part")
    with watch.doing(f"writing {path.name}"):
        fabric.save(written, content)
        if fabric.is_global_zero:
            os.replace(written, path)


def tensors(fabric: Fabric, batch: Batch) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Return the inputs and the target of a batch as tensors on the device."""
    inputs, target = batch
    moved = tuple(fabric.to_device(torch.from_numpy(x)) for x in inputs.values())
    return moved, fabric.to_device(torch.from_numpy(target))


def forget_after(history: Path, step: int) -> None:
    """Remove the lines of steps after `step`, which are taken again, and a half-written last line."""
    if history.is_file():
        lines = [line for line in history.read_text().splitlines(keepends=True) if line.endswith("\n")]
        history.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))
