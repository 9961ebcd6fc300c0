"""The training loop: reads top to bottom, resumes to the same curve, knows no task.

It is called with a run, a folder, and who watches. In the folder: `last.ckpt` and `best.ckpt` (EMA weights),
`history.jsonl` (a line a validation), TensorBoard events.
"""

import ctypes
import json
import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import nn
from tqdm import tqdm

from training.engine import noise, ranks
from training.engine.batches import Batch, Batches
from training.engine.folders import folder_of
from training.engine.run import Optimisation, Run
from training.engine.watch import UNWATCHED, Watch

LAST, BEST, HISTORY = "last.ckpt", "best.ckpt", "history.jsonl"


class NotThisRun(ValueError):
    """A checkpoint of another configuration than the run's."""


class NotStarted(ValueError):
    """A run that begins with the weights of another, which is not trained yet."""


class NotANumber(ArithmeticError):
    """The loss became infinite or NaN."""


def train(
    run: Run[Any, Any],
    seed: int,
    data_folder: Path,
    folder: Path,
    *,
    accelerator: str = "auto",
    devices: int = 1,
    precision: Any = "32-true",
    watch: Watch = UNWATCHED,
) -> Path:
    """Train and return the checkpoint of the best validation score; continues from `folder`/last.ckpt where there is one.

    `watch` is told stage (the run), seed, step and steps, and after a validation loss and score (mm) too; where it says so the loop writes
    a checkpoint and returns. With several `devices` each has its share of every batch, in a process of its own; the mean over the shares is
    the batch's, and the curve that of one device, but for rounding and for statistics of batches, which are of the share.
    Raises NotThisRun, NotStarted, NotANumber, and what loading the data raises.
    """
    ranks.launch(devices, _train, watch, run, seed, data_folder, folder, accelerator, devices, precision)
    return folder / BEST


def _train(
    watch: Watch,
    run: Run[Any, Any],
    seed: int,
    data_folder: Path,
    folder: Path,
    accelerator: str,
    devices: int,
    precision: Any,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy=ranks.strategy(devices),
        precision=precision,
        loggers=TensorBoardLogger(folder, name="", version=""),
    )
    fabric.launch()
    keep_freed_memory()
    torch.manual_seed(seed)
    torch.backends.cuda.matmul.allow_tf32 = False  # its 1e-3 relative is too coarse for a symmetry
    torch.backends.cudnn.allow_tf32 = False
    how = run.optimisation
    network = run.build()
    if run.start and not (folder / LAST).is_file():
        network.load_state_dict(beginning(run.start, seed, folder.parents[1]))
    average = (
        run.build().requires_grad_(False).eval()
    )  # what it would do in use: no dropout, no statistics of its batch
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    average = fabric.to_device(average)
    network, optimiser = fabric.setup(network, optimiser)
    batches = run.data.load(data_folder)

    state = {"network": network, "optimiser": optimiser, "average": average}
    at: dict[str, Any] = {
        "run": run.fingerprint,
        "seed": seed,
        "step": 0,
        "best": math.inf,
        "stale": 0,
        "loss_sum": torch.zeros(()),
    }
    if (folder / LAST).is_file():
        held = fabric.load(folder / LAST)
        if (held["run"], held["seed"]) != (run.fingerprint, seed):
            raise NotThisRun(
                f"{folder} holds run {held['run']}, seed {held['seed']}, not {run.fingerprint}, seed {seed}"
            )
        at |= fabric.load(folder / LAST, state)
    noise.restore(fabric, at.pop("noise", None), seed)
    if fabric.is_global_zero:
        forget_after(folder / HISTORY, at["step"])

    meter = tqdm(
        total=how.steps,
        initial=at["step"],
        desc=f"{run.name} seed {seed}",
        mininterval=5,
        disable=not (watch.bar and fabric.is_global_zero),
    )
    while at["step"] < how.steps and at["stale"] < how.patience and not ranks.agreed(fabric, watch.stop()):
        batch, weight = ranks.share(fabric, partial(batches.training_batch, seed, at["step"]))
        inputs, target = tensors(fabric, batch)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(how, at["step"])
        loss = weight * run.loss(network(*inputs), target, *inputs)
        value = ranks.reduced(fabric, loss.detach()).float().cpu()
        if not value.isfinite():
            raise NotANumber(f"the loss of {run.name}, seed {seed}, is {value} at step {at['step'] + 1}")
        fabric.backward(loss)
        fabric.clip_gradients(network, optimiser, max_norm=how.clip)
        optimiser.step()
        optimiser.zero_grad()
        at["step"] += 1
        at["loss_sum"] = at["loss_sum"] + value
        move_average(average, network, min(how.ema, at["step"] / (at["step"] + 10)))

        meter.update()
        said = {"step": at["step"], "steps": how.steps}
        if at["step"] % how.validate_every == 0 or at["step"] == how.steps:
            seen = (at["step"] - 1) % how.validate_every + 1
            score = fabric.broadcast(validate(fabric, run, average, batches) if fabric.is_global_zero else 0.0)
            said |= {"loss": float(at["loss_sum"]) / seen, "score": score}
            if not math.isfinite(score):
                raise NotANumber(f"the score of {run.name}, seed {seed}, is {score} at step {at['step']}")
            better = score < at["best"]
            at |= {
                "best": min(score, at["best"]),
                "stale": 0 if better else at["stale"] + 1,
                "loss_sum": torch.zeros(()),
            }
            if better:
                save(fabric, folder / BEST, {"average": average, "run": run.fingerprint, "seed": seed} | said)
            if fabric.is_global_zero:
                with (folder / HISTORY).open("a") as file:
                    file.write(json.dumps(said) + "\n")
            fabric.log_dict({"loss": said["loss"], "score": score}, at["step"])
            meter.set_postfix(loss=f"{said['loss']:.2f}", score=f"{score:.2f}", best=f"{at['best']:.2f}")
        watch.progress({"stage": run.name, "seed": seed} | said)
        if at["step"] % how.checkpoint_every == 0:
            save(fabric, folder / LAST, state | at | noise.drawn(fabric))
    meter.close()
    save(fabric, folder / LAST, state | at | noise.drawn(fabric))


def trained(run: Run[Any, Any], seed: int, data_folder: Path, out: Path, watch: Watch = UNWATCHED) -> nn.Module:
    """The network of a run and seed, ready to measure, trained under `out` as far as it is not yet, stage by stage. Raises Stopped."""
    for stage in run.stages:
        watch.check()
        train(stage, seed, data_folder, folder_of(out, stage, seed), watch=watch)
    watch.check()
    return load_best(run, folder_of(out, run, seed) / BEST)


def beginning(start: Run[Any, Any], seed: int, out: Path) -> dict[str, torch.Tensor]:
    """The best weights of the run that another begins with, from its folder under `out`. Raises NotStarted."""
    checkpoint = folder_of(out, start, seed) / BEST
    if not checkpoint.is_file():
        raise NotStarted(f"there is no {checkpoint} to begin with: python -m training run {start.name} --seed {seed}")
    return load_best(start, checkpoint).state_dict()


def load_best(run: Run[Any, Any], checkpoint: Path) -> nn.Module:
    """The network with the averaged weights of the best validation, ready to measure or export. Raises NotThisRun."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if content["run"] != run.fingerprint:
        raise NotThisRun(f"{checkpoint} is of run {content['run']}, not {run.fingerprint}")
    network = run.build()
    network.load_state_dict(content["average"])
    return network.eval()


def validate(fabric: Fabric, run: Run[Any, Any], network: nn.Module, batches: Batches) -> float:
    """The score on the validation data, every source counting the same: the mean over sources of the mean over what they have."""
    scores: dict[str, list[tuple[float, int]]] = {}
    with torch.no_grad():
        for source, batch in batches.validation_batches():
            inputs, target = tensors(fabric, batch)
            scores.setdefault(source, []).append((float(run.score(network(*inputs), target, *inputs)), len(target)))
    return sum(sum(v * n for v, n in s) / sum(n for _, n in s) for s in scores.values()) / len(scores)


def learning_rate(how: Optimisation, step: int) -> float:
    """The learning rate of a step: up in a line over `warmup` steps, then down a cosine to zero at the last."""
    if step < how.warmup:
        return how.learning_rate * (step + 1) / how.warmup
    return how.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - how.warmup) / max(1, how.steps - how.warmup)))


def move_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    """average <- keep * average + (1 - keep) * network, of what is trained.

    Statistics of batches are the network's own: an average over networks that were is not what the averaged one would see.
    """
    with torch.no_grad():
        for mean, now in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for held, now in zip(average.buffers(), network.buffers(), strict=True):
            held.copy_(now)


def tensors(fabric: Fabric, batch: Batch) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    inputs, target = batch
    return tuple(fabric.to_device(torch.from_numpy(x)) for x in inputs.values()), fabric.to_device(
        torch.from_numpy(target)
    )


def save(fabric: Fabric, path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    written = path.with_suffix(".part")
    fabric.save(written, content)
    if fabric.is_global_zero:
        os.replace(written, path)


def forget_after(history: Path, step: int) -> None:
    """Drop what `history` tells of steps after `step`: they are taken again. So is half a line, which a full disk leaves."""
    if history.is_file():
        whole = [line for line in history.read_text().splitlines(keepends=True) if line.endswith("\n")]
        history.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step instead of giving it back: a fifth of a training step's time on a CPU.

    glibc hands allocations above 128 KiB back to the system at once, and every step asks for the same ones again, page by page.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # another C library, which has no such setting
    libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
    libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
