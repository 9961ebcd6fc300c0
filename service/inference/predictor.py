"""One bundle's graph in one ONNX Runtime session: tensors in, tensors out, checked against the bundle's task."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.contract.bundle import Bundle
from models.contract.runtime import onnxruntime
from models.contract.symmetry import Tensors
from models.contract.task import Task, check_inputs, check_outputs, tried_sizes

PROVIDERS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "cpu": [("CPUExecutionProvider", {})],
    # TF32 keeps ten bits of a coordinate: a turned request would no longer give the turned answer
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})],
}


class ProviderUnavailable(RuntimeError):
    """The device that was asked for is not there; the message lists what is."""


class Predictor:
    """A session with one thread that does not spin: on a CPU, calls beside each other beat threads inside one call."""

    def __init__(self, bundle: Bundle, device: Literal["auto", "cpu", "cuda"] = "auto") -> None:
        """Raises ProviderUnavailable if `device` is cuda and ONNX Runtime cannot use it."""
        available = onnxruntime.get_available_providers()
        if device == "auto":
            device = "cuda" if "CUDAExecutionProvider" in available else "cpu"
        wanted = PROVIDERS[device]
        if wanted[0][0] not in available:
            raise ProviderUnavailable(f"{wanted[0][0]} is not in this ONNX Runtime, which has {', '.join(available)}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(bundle.model, options, providers=wanted)
        self.provider: str = self._session.get_providers()[0]  # not always the one asked for: a driver may be too old
        if self.provider != wanted[0][0]:
            raise ProviderUnavailable(f"{wanted[0][0]} was asked for and ONNX Runtime fell back to {self.provider}")
        self.task: Task = bundle.meta.task
        self.name = bundle.meta.name
        self._outputs = list(self.task.outputs)

    def run(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """The task's outputs for a batch of its inputs. Safe from many threads. Raises WrongShape."""
        check_inputs(self.task, tensors, self.name)
        outputs = map(np.asarray, self._session.run(self._outputs, dict(tensors)))
        answer = dict(zip(self._outputs, outputs, strict=True))
        check_outputs(self.task, answer, self.name)
        return answer

    def inputs(self, batch: int) -> list[dict[str, np.ndarray]]:
        """Inputs of every shape that the task allows, `batch` items each, to warm up and to time with: small numbers,
        and indices that are all 0, which is legal in any cloud."""
        rng = np.random.default_rng(0)

        def tensors(**sizes: int) -> dict[str, np.ndarray]:
            found = {}
            for name, spec in self.task.inputs.items():
                shape = [axis if isinstance(axis, int) else sizes.get(axis, batch) for axis in spec.shape]
                numbers = np.zeros(shape) if spec.dtype == "int64" else rng.normal(scale=0.1, size=shape)
                found[name] = numbers.astype(spec.dtype)
            return found

        tried = tried_sizes(self.task)
        return [tensors(**dict(zip(tried, sizes, strict=True))) for sizes in itertools.product(*tried.values())]


@dataclass(frozen=True)
class Calibration:
    """A batch of b takes fixed_s + b * item_s seconds, of which fixed_s is what batching saves."""

    max_batch: int
    fixed_s: float
    item_s: float


def calibrate(seconds_of: Callable[[int], float], sizes: tuple[int, ...], deadline_s: float) -> Calibration:
    """Time batches of `sizes`; take the smallest in time whose seconds an item are within a tenth of the best."""
    seconds = {size: seconds_of(size) for size in sizes}
    timely = [size for size in sizes if seconds[size] <= deadline_s] or sizes[:1]
    best = min(seconds[size] / size for size in timely)
    chosen = next(size for size in timely if seconds[size] / size <= 1.1 * best)
    if len(sizes) == 1:
        return Calibration(chosen, 0.0, seconds[chosen] / chosen)
    item, fixed = np.polyfit(np.array(sizes), np.array([seconds[size] for size in sizes]), 1)
    return Calibration(chosen, max(float(fixed), 0.0), max(float(item), 0.0))


def seconds_of(predictor: Predictor, batch: int, repeats: int = 3) -> float:
    """Seconds for a batch of the largest inputs: the least of some, after one to warm up for every shape."""
    inputs = predictor.inputs(batch)
    for tensors in inputs:
        predictor.run(tensors)
    largest = max(inputs, key=lambda tensors: sum(tensor.size for tensor in tensors.values()))

    def once() -> float:
        start = time.perf_counter()
        predictor.run(largest)
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))
