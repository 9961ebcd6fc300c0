"""One bundle's graph in one ONNX Runtime session: tensors in, tensors out, checked against the bundle's task."""

import io
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from models.contract.bundle import Bundle
from models.contract.runtime import onnxruntime
from models.contract.symmetry import Tensors
from models.contract.task import Task, check_inputs, check_outputs, tried_sizes

log = logging.getLogger("chiron.predictor")

Device = Literal["auto", "cpu", "cuda"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
OPTIONS: dict[str, dict[str, Any]] = {
    CPU: {},
    # TF32 keeps ten bits of a coordinate: a turned request would no longer give the turned answer
    CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
}
MOST_SIGNATURES = 1024  # of tensors, which the lengths of clips and the sizes of batches make many


class ProviderUnavailable(RuntimeError):
    """The requested device cannot be used; the message says why."""


class Predictor:
    """A session with one thread that does not spin: on a CPU, concurrent calls are faster than threads inside one call."""

    def __init__(self, bundle: Bundle, device: Device = "auto") -> None:
        """Open a session on `device`; auto takes CUDA and falls back to the CPU. Raise ProviderUnavailable for cuda.

        `fallback` says why a session that was to use CUDA runs on the CPU.
        """
        self.fallback: str | None = None
        available = onnxruntime.get_available_providers()
        if device == "cuda" and CUDA not in available:
            raise ProviderUnavailable(f"{CUDA} is not in this ONNX Runtime, which has {', '.join(available)}")
        if device == "cpu" or CUDA not in available:
            self._session = _open_session(bundle, CPU)
        else:
            try:
                self._session = _open_session(bundle, CUDA)
            except ProviderUnavailable as error:
                if device == "cuda":
                    raise
                self.fallback = str(error)
                self._session = _open_session(bundle, CPU)
        self.provider: str = self._session.get_providers()[0]
        self.task: Task = bundle.meta.task
        self.name = bundle.meta.name
        self._outputs = list(self.task.outputs)
        self._passed: set[tuple[Any, ...]] = set()

    def run(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Compute the task's outputs for a batch of its inputs, from any thread; raise WrongShape."""
        self._check(check_inputs, tensors)
        outputs = map(np.asarray, self._session.run(self._outputs, dict(tensors)))
        answer = dict(zip(self._outputs, outputs, strict=True))
        self._check(check_outputs, answer)
        return answer

    def _check(self, check: Callable[[Task, Tensors, str], None], tensors: Tensors) -> None:
        """Check tensors unless others of the same names, shapes and types have passed."""
        signature = (check, *((name, tensor.shape, tensor.dtype.char) for name, tensor in tensors.items()))
        if signature not in self._passed:
            check(self.task, tensors, self.name)
            if len(self._passed) < MOST_SIGNATURES:
                self._passed.add(signature)

    def inputs(self, batch: int) -> list[dict[str, np.ndarray]]:
        """Make inputs of every shape that the task allows, `batch` items each, to warm up and to time with.

        Coordinates are small random numbers. Indices are 0, which is valid in any cloud. Every node is seen.
        """
        rng = np.random.default_rng(0)

        def tensors(**sizes: int) -> dict[str, np.ndarray]:
            inputs = {}
            for name, spec in self.task.inputs.items():
                shape = [axis if isinstance(axis, int) else sizes.get(axis, batch) for axis in spec.shape]
                if spec.counts_nodes:
                    numbers = np.ones(shape)
                else:
                    numbers = np.zeros(shape) if spec.dtype == "int64" else rng.normal(scale=0.1, size=shape)
                inputs[name] = numbers.astype(spec.dtype)
            return inputs

        axes = tried_sizes(self.task)
        return [tensors(**dict(zip(axes, sizes, strict=True))) for sizes in itertools.product(*axes.values())]


def _open_session(bundle: Bundle, provider: str) -> onnxruntime.InferenceSession:
    """Open a session on `provider` and no other; raise ProviderUnavailable if CUDA cannot be used."""
    messages = _preload_cuda() if provider == CUDA else ""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(bundle.model, options, providers=[(provider, OPTIONS[provider])])
    except Exception as error:  # the runtime's errors have no common type
        if provider != CUDA:
            raise
        raise ProviderUnavailable(f"{provider} cannot be used: {_first_line(error)}{messages}") from error
    used = session.get_providers()[0]
    if used != provider:
        raise ProviderUnavailable(f"expected {provider}, and ONNX Runtime fell back to {used}{messages}")
    session.disable_fallback()
    return session


@cache
def _preload_cuda() -> str:
    """Load the CUDA and cuDNN libraries that pip installed; return the first failure, for an error message."""
    printed = io.StringIO()
    with redirect_stdout(printed):  # the command line's standard output is for answers
        onnxruntime.preload_dlls()
    lines = printed.getvalue().splitlines()
    for line in lines:
        log.warning("CUDA libraries: %s", line)
    return f" ({lines[0][:200]})" if lines else ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


@dataclass(frozen=True)
class Calibration:
    """The cost of batches: a batch of b items takes fixed_s + b * item_s seconds, and batching saves fixed_s."""

    max_batch: int
    fixed_s: float
    item_s: float

    @property
    def seconds_an_item(self) -> float:
        """Return the seconds of an item in a full batch."""
        return self.fixed_s / self.max_batch + self.item_s


def calibrate(seconds_of: Callable[[int], float], sizes: Sequence[int], deadline_s: float) -> Calibration:
    """Time batches of `sizes`, from small to large, as long as an item takes less in the larger one; fit their cost.

    The chosen size is the smallest that meets the deadline and whose seconds an item are within a tenth of the best.
    """
    seconds: dict[int, float] = {}
    best = math.inf
    for size in sizes:
        seconds[size] = seconds_of(size)
        if seconds[size] / size >= best:
            break
        best = seconds[size] / size
    timely = [size for size in seconds if seconds[size] <= deadline_s] or sizes[:1]
    best = min(seconds[size] / size for size in timely)
    chosen = next(size for size in timely if seconds[size] / size <= 1.1 * best)
    if len(seconds) == 1:
        return Calibration(chosen, 0.0, seconds[chosen] / chosen)
    item, fixed = np.polyfit(np.array(list(seconds)), np.array(list(seconds.values())), 1)
    return Calibration(chosen, max(float(fixed), 0.0), max(float(item), 0.0))


def seconds_of(predictor: Predictor, batch: int, repeats: int = 3) -> float:
    """Warm up with every shape, then return the least seconds of `repeats` batches of the largest inputs."""
    inputs = predictor.inputs(batch)
    for tensors in inputs:
        predictor.run(tensors)
    largest = max(inputs, key=lambda tensors: sum(tensor.size for tensor in tensors.values()))

    def once() -> float:
        start = time.perf_counter()
        predictor.run(largest)
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))
