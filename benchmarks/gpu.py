"""All that a GPU changes, in one command of at most five minutes: laws, batches, latency, training steps and NCCL. Prints JSON.

    OMP_NUM_THREADS=1 python -m benchmarks.gpu [--device auto] [--data ../shared/data] [--bundles bundles] [--results FILE] [--seconds 270]

- laws: for every bundle, the largest violation of each claimed symmetry and the difference from its stored example, in the unit of the
  outputs, with TF32 off; on a GPU also the difference from the CPU.
- batches: the size that the service would calibrate, and the cost that it fits.
- runs of the graph at batch 1 and at that size: median ms and items a second with arrays of the host, with IO binding, with a CUDA graph.
- a training step of every run in bf16-mixed: its ms, loss and peak memory.
- all-reduce of 64 MB: NCCL over all GPUs; without a GPU, Gloo between two processes.

Without a GPU it does the same on the CPU and says so in `device`. What does not fit in the time is listed under `left_out`.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import distributed
from torch.multiprocessing.spawn import spawn

from benchmarks.timing import machine
from models.contract.bundle import Bundle, read_bundle, repeat_example
from models.contract.runtime import onnxruntime
from models.contract.symmetry import Tensors, largest_difference, violation
from models.contract.task import moves
from service.inference.predictor import CPU, CUDA, OPTIONS, Predictor, calibrate, seconds_of
from training.catalogue import all_runs
from training.engine.loop import tensors
from training.engine.run import Run

SIZES = {CPU: (1, 2, 4, 8), CUDA: (1, 2, 4, 8, 16, 32, 64, 128, 256)}  # of batches that are tried
DEADLINE_S = 5.0  # CHIRON_DEADLINE_S
TRIALS, REPEATS, STEPS = 4, 10, 3
REDUCED_BYTES = 64 << 20
SHARE_OF_BUNDLES = 0.5  # of the time, before training steps begin


class Clock:
    """The time that is left, and what was left out for want of it."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._begun = seconds, time.monotonic()
        self.left_out: list[str] = []

    def within(self, names: Iterable[str], share: float) -> Iterable[str]:
        """Yield names until the share of the time is over; note those that are left out."""
        for name in names:
            if time.monotonic() - self._begun < share * self.seconds:
                yield name
            else:
                self.left_out.append(name)


def laws(bundle: Bundle, predictor: Predictor) -> dict[str, float]:
    """Return the violations of a bundle's claims, and its differences from the stored example and from the CPU."""
    inputs, _ = bundle.example()
    task = bundle.meta.task
    found = {
        name: violation(predictor.run, name, inputs, moves=moves(task), trials=TRIALS)
        for name in bundle.meta.symmetries
    }
    found["from the stored example"] = repeat_example(bundle, predictor.run)
    if predictor.provider == CUDA:
        found["from the CPU"] = largest_difference(predictor.run(inputs), Predictor(bundle, "cpu").run(inputs))
    return {name: float(f"{difference:.2g}") for name, difference in found.items()}


def runs(bundle: Bundle, predictor: Predictor, batch: int) -> dict[str, Any]:
    """Return median ms and items a second of a batch, by the way in which tensors reach the graph."""
    inputs = max(predictor.inputs(batch), key=lambda one: sum(x.size for x in one.values()))
    ways: dict[str, Callable[[], Callable[[], object]]] = {"host arrays": lambda: lambda: predictor.run(inputs)}
    ways["IO binding"] = lambda: _bound(bundle, predictor.provider, inputs, graph=False)
    if predictor.provider == CUDA:
        ways["CUDA graph"] = lambda: _bound(bundle, CUDA, inputs, graph=True)
    results: dict[str, Any] = {}
    for name, make in ways.items():
        try:
            milliseconds = _median_ms(make())
        except Exception as error:  # a graph with nodes on the CPU cannot be captured: that is a result, too
            results[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
        else:
            results[name] = {"ms": round(milliseconds, 3), "items_a_second": round(1e3 * batch / milliseconds, 1)}
    return results


def _bound(bundle: Bundle, provider: str, inputs: Tensors, *, graph: bool) -> Callable[[], object]:
    """Return a run of the graph between tensors that stay on the device; with `graph`, a replay of its captured kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    settings = OPTIONS[provider] | ({"enable_cuda_graph": "1"} if graph else {})
    session = onnxruntime.InferenceSession(bundle.model, options, providers=[(provider, settings)])
    device = "cuda" if provider == CUDA else "cpu"
    binding = session.io_binding()
    kept = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x), device, 0) for x in inputs.values()]
    for name, value in zip(inputs, kept, strict=True):
        binding.bind_ortvalue_input(name, value)
    if graph:  # captured kernels write to fixed addresses
        outputs = {o.name: x for o, x in zip(session.get_outputs(), session.run(None, dict(inputs)), strict=True)}
        for name, x in outputs.items():
            binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(x), device, 0))
    else:
        for output in session.get_outputs():
            binding.bind_output(output.name, device)

    def run() -> object:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return kept

    return run


def _median_ms(call: Callable[[], object]) -> float:
    for _ in range(2):
        call()
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def measure_bundle(folder: Path, device: str) -> dict[str, Any]:
    """Return all measurements of a bundle on a device."""
    bundle = read_bundle(folder)
    predictor = Predictor(bundle, "cuda" if device == "cuda" else "cpu")
    calibration = calibrate(lambda batch: seconds_of(predictor, batch), SIZES[predictor.provider], DEADLINE_S)
    return {
        "provider": predictor.provider,
        "laws": laws(bundle, predictor),
        "calibration": {
            "max_batch": calibration.max_batch,
            "fixed_ms": round(1e3 * calibration.fixed_s, 3),
            "item_ms": round(1e3 * calibration.item_s, 3),
        },
        "runs": {
            f"batch {batch}": runs(bundle, predictor, batch) for batch in sorted({1, calibration.max_batch})
        },
    }  # fmt: skip


def training_step(run: Run[Any, Any], data: Path, device: str) -> dict[str, Any]:
    """Take some training steps of a run in bf16-mixed; return the median ms of a step, the last loss, and the peak memory of a GPU."""
    fabric = Fabric(accelerator=device, devices=1, precision="bf16-mixed")
    torch.manual_seed(0)
    batches = run.data.load(data)
    network = run.build()
    network, optimiser = fabric.setup(network, torch.optim.Adam(network.parameters(), 1e-4))
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    value, size = 0.0, 0
    for step in range(STEPS):
        inputs, target = tensors(fabric, batches.training_batch(0, step))
        begun = time.perf_counter()
        loss = run.loss(network(*inputs), target, *inputs)
        fabric.backward(loss)
        optimiser.step()
        optimiser.zero_grad()
        value, size = float(loss.detach()), len(target)  # waits for the device
        times.append(1e3 * (time.perf_counter() - begun))
        if device == "cpu":  # the first step of a CPU compiles nothing
            break
    peak = {"peak_mb": round(torch.cuda.max_memory_allocated() / 1e6)} if device == "cuda" else {}
    return {"ms": round(min(times), 1), "batch": size, "loss": float(f"{value:.4g}"), **peak}


def all_reduce() -> dict[str, Any]:
    """Reduce 64 MB over all GPUs with NCCL, or between two processes with Gloo; return the time and the bytes a second of each rank."""
    gpus = torch.cuda.device_count()
    backend, ranks = ("nccl", gpus) if gpus else ("gloo", 2)
    with tempfile.TemporaryDirectory() as folder:
        spawn(_reduce, (backend, ranks, folder), nprocs=ranks)
        seconds = json.loads((Path(folder) / "seconds").read_text())
    sent = 2 * (ranks - 1) / ranks * REDUCED_BYTES  # of a ring, per rank
    return {
        "backend": backend,
        "ranks": ranks,
        "ms": round(1e3 * seconds, 2),
        "gb_a_second": round(sent / seconds / 1e9, 2),
    }


def _reduce(rank: int, backend: str, ranks: int, folder: str) -> None:
    distributed.init_process_group(backend, init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    numbers = torch.ones(REDUCED_BYTES // 4, device=device)
    times = []
    for _ in range(4):
        numbers.fill_(1)
        distributed.barrier()
        begun = time.perf_counter()
        distributed.all_reduce(numbers)
        total = float(numbers[-1])  # waits for the device
        times.append(time.perf_counter() - begun)
        assert total == ranks, f"expected a sum of {ranks}, got {total}"
    if rank == 0:
        (Path(folder) / "seconds").write_text(json.dumps(min(times)))
    distributed.destroy_process_group()


def describe(device: str) -> dict[str, Any]:
    """Describe the device that is measured, and say plainly if it is not a GPU."""
    if device != "cuda":
        return {"device": "cpu", "note": "no GPU was used: every figure here is of a CPU", **machine()}
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {"device": "cuda", "gpus": names, "cuda": torch.version.cuda, **machine()}


def report(device: str, bundles: Path, data: Path, names: Iterable[str] | None, seconds: float) -> dict[str, Any]:
    """Measure everything; `names` limits the runs that take a training step."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() and CUDA in onnxruntime.get_available_providers() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    clock, begun = Clock(seconds), time.monotonic()
    result: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), **describe(device)}
    result["load"] = round(os.getloadavg()[0], 1)
    result["tf32"] = "off"
    result["all_reduce"] = all_reduce()
    folders = {folder.name: folder for folder in sorted(bundles.iterdir()) if (folder / "model.onnx").is_file()}
    result["bundles"] = {
        name: measure_bundle(folders[name], device) for name in clock.within(folders, SHARE_OF_BUNDLES)
    }
    chosen = {name: run for name, run in all_runs().items() if names is None or name in set(names)}
    steps: dict[str, Any] = {}
    without: dict[str, str] = {}
    for name in clock.within(chosen, 1.0):
        try:
            steps[name] = training_step(chosen[name], data, device)
        except Exception as error:  # published data that is not here
            reason = (str(error).splitlines() or [""])[0].replace(str(data), "DATA")
            without[name] = f"{type(error).__name__}: {reason[:120]}"
    result |= {"bf16_training_steps": steps, "not_run": without, "left_out": clock.left_out}
    result["seconds"] = round(time.monotonic() - begun)
    return result


def main() -> None:
    """Parse the command line and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    parser.add_argument(
        "--run", action="append", dest="runs", help="a run that takes a training step; default: every run"
    )
    parser.add_argument("--seconds", type=float, default=270.0, help="after which nothing more begins")
    parser.add_argument("--results", type=Path, help="file to write as well")
    options = parser.parse_args()
    result = report(options.device, options.bundles, options.data, options.runs, options.seconds)
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if options.results is not None:
        options.results.write_text(text)


if __name__ == "__main__":
    main()
