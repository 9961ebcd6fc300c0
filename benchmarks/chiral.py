"""CPU time and file size of chiral networks and of dense networks with flip averaging, in ONNX Runtime on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.chiral

The lifters are untrained and 1020 wide, from the 17 joints of Human3.6M in 2D to 3D. Lifters of single frames have four maps of 1020 to
1020 between the ends: one has the paper's channels (6 + 6 + 5 joints of 60, 20 negated) and tanh, the other has pairs alone and ReLU. A
third lifter takes 27 frames.
A dense network is symmetric only if it is averaged over the flip. Its two passes are one batch, which reads the weights once. For the LSTM
(1040 wide, 8 frames) the dense operator, into which a chiral LSTM folds, is compared with the unrolled chiral one.

Each is measured twice. In turn, every call finds the cache filled by the other networks and reads its weights from memory. In a row, a call
follows calls of the same network, as in a service of one model, and finds in the cache what fits there.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import cpu_ms, machine
from models.contract.task import PoseLift
from models.contract.tensor import TensorSpec
from models.layers.chiral_recurrent import ChiralLSTM
from models.layers.chiral_spec import Spec
from models.layers.freezing import frozen
from models.pose.ends import AveragedOverFlip, joints_as, pairs
from models.pose.lifter import LifterConfig
from training.engine.export import onnx_runner, to_onnx

RESULTS = Path(__file__).parent / "results" / "chiral.json"
PAPER = LifterConfig(Spec.of_joints(pairs=6, centre=5, numbers=60, negated=20), nonlinearity="tanh")
PAIRS = LifterConfig(pairs(1020))
IN_A_ROW = 20  # calls
LSTM, ROW, STEPS = Spec.of_joints(pairs=6, centre=1, numbers=80, negated=40), joints_as("h36m-17", 2).spec, 8


class Outputs(nn.Module):
    """The outputs of a recurrent network at every frame, without its states; the exporter needs `task`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.task = SimpleNamespace(
            inputs={"rows": TensorSpec(shape=("batch", STEPS, ROW.width), unit="")}, outputs=("answer",), axes={}
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[0]


def lifters(config: LifterConfig, receptive: int) -> list[bytes]:
    """Export a dense lifter, its average over the flip, and a chiral lifter."""
    task = PoseLift(receptive=receptive)
    plain = replace(config, chiral=False).build(task)
    networks = (plain, AveragedOverFlip(plain), config.build(task))
    example = {"keypoints": np.zeros((1, receptive, 17, 2), np.float32)}
    return [to_onnx(frozen(network), example) for network in networks]


def main() -> None:
    """Measure, print a table, and save it with a description of the machine."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results: dict[str, object] = {"machine": machine()}
    heads = (
        "network", "batch", "calls", "dense, ms", "averaged over the flip, ms", "chiral, ms", "chiral / averaged",
        "file, MB", "dense",
    )  # fmt: skip
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name, config, receptive, batches in (
        ("lifter of single frames, the paper's channels", PAPER, 1, (1, 16, 256)),
        ("lifter of single frames, pairs alone", PAIRS, 1, (1, 16, 256)),
        ("lifter of 27 frames, pairs alone", PAIRS, 27, (1, 16)),
    ):
        graphs = lifters(config, receptive)
        for batch in batches:
            report(results, name, batch, graphs, "keypoints", (batch, receptive, 17, 2))
    network = ChiralLSTM(ROW, LSTM)
    example = {"rows": np.zeros((1, STEPS, ROW.width), np.float32)}
    folded, halves = (to_onnx(frozen(Outputs(lstm)), example) for lstm in (network.folded(), network))
    for batch in (1, 16, 256):
        report(results, "LSTM, 8 frames", batch, [folded, None, halves], "rows", (batch, STEPS, ROW.width))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def report(
    results: dict[str, object],
    name: str,
    batch: int,
    graphs: Sequence[bytes | None],
    tensor: str,
    shape: tuple[int, ...],
) -> None:
    """Measure the dense, averaged (or None) and chiral graphs on a random batch; print two lines and add them to `results`."""
    x = {tensor: np.random.default_rng(0).normal(size=shape).astype(np.float32)}

    def call(graph: bytes) -> Callable[[], object]:
        run = onnx_runner(graph)
        return lambda: run(x)

    existing = [graph for graph in graphs if graph is not None]
    calls = [call(graph) for graph in existing]
    sizes = [len(graph) / 1e6 for graph in (existing[-1], existing[0])]
    for order, in_a_row, runs in (("in turn", 1, 40), ("in a row", IN_A_ROW, 4)):
        dense, *averaged, chiral = cpu_ms(*calls, runs=runs, warmup=2, in_a_row=in_a_row)
        baseline = averaged[0] if averaged else None
        results[f"{name}, batch {batch}, {order}"] = {
            "dense_ms": dense,
            "averaged_ms": baseline,
            "chiral_ms": chiral,
            "chiral_mb": sizes[0],
            "dense_mb": sizes[1],
        }
        ratio = f"{chiral / baseline:.3f}" if baseline else ""
        cells = [f"{dense:.2f}", f"{baseline:.2f}" if baseline else "", f"{chiral:.2f}", ratio]
        line = [name, str(batch), order, *cells, *(f"{size:.1f}" for size in sizes)]
        print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
