"""Speed and size of chiral networks and of dense ones with flip averaging, in ONNX Runtime, one thread, CPU time.

    OMP_NUM_THREADS=1 python -m benchmarks.chiral

All are between 17 joints in 2D and in 3D, 1020 wide, untrained: a perceptron of five layers for single frames, with the channels of the
paper (6 + 6 + 5 joints of 60, 20 negated) and with pairs alone, and a convolution of 27 frames to one. A dense network is as symmetric as
a chiral one only if it is averaged over the flip, which takes two passes. The LSTM (1040 wide, 8 frames) is the dense operator that a
chiral one folds into, against its halves, unrolled.
"""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import cpu_ms, machine
from models.contract.tensor import TensorSpec
from models.layers.chiral import ChiralConv1d, ChiralLinear
from models.layers.chiral_recurrent import ChiralLSTM
from models.layers.chiral_spec import FlipAveraged, Spec, enter, leave, order_of
from models.layers.degrees import frozen
from training.export import onnx_runner, to_onnx

RESULTS = Path(__file__).parent / "results" / "chiral.json"
MIRROR = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)  # of Human3.6M-17
IN, OUT = order_of(MIRROR, 2, (0,)), order_of(MIRROR, 3, (0,))
PAPER = Spec.of_joints(pairs=6, centre=5, numbers=60, negated=20)
PAIRS = Spec(lp=510)
LSTM = Spec.of_joints(pairs=6, centre=1, numbers=80, negated=40)
LAYERS, FRAMES, STEPS = 5, 27, 8


class OverTime(nn.Module):
    """A network on channels before frames, as one on frames before channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.transpose(1, 2)).transpose(1, 2)


class Outputs(nn.Module):
    """What a recurrent network gives at every frame, without its states."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[0]


def perceptron(hidden: Spec) -> tuple[nn.Module, nn.Module]:
    """Chiral and dense, of the same widths."""
    specs = [IN.spec, *[hidden] * (LAYERS - 1), OUT.spec]
    chiral = [layer for a, b in pairwise(specs) for layer in (ChiralLinear(a, b), nn.Tanh())][:-1]
    dense = [layer for a, b in pairwise(specs) for layer in (nn.Linear(a.width, b.width), nn.Tanh())][:-1]
    return nn.Sequential(enter(IN), *chiral, leave(OUT)), FlipAveraged(nn.Sequential(*dense), IN, OUT)


def convolution(hidden: Spec) -> tuple[nn.Module, nn.Module]:
    """27 frames to one: kernels of 3 over frames 1, 3 and 9 apart, and a linear map."""
    specs = [IN.spec, hidden, hidden, hidden]
    chiral: list[nn.Module] = []
    dense: list[nn.Module] = []
    for power, (a, b) in enumerate(pairwise(specs)):
        chiral += [ChiralConv1d(a, b, 3, dilation=3**power), nn.Tanh()]
        dense += [nn.Conv1d(a.width, b.width, 3, dilation=3**power), nn.Tanh()]
    chiral.append(ChiralConv1d(hidden, OUT.spec, 1))
    dense.append(nn.Conv1d(hidden.width, OUT.spec.width, 1))
    plain = OverTime(nn.Sequential(*dense))
    return nn.Sequential(enter(IN), OverTime(nn.Sequential(*chiral)), leave(OUT)), FlipAveraged(plain, IN, OUT)


def main() -> None:
    """Measure, print a table and keep it with the machine it was taken on."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results: dict[str, object] = {"machine": machine()}
    print(
        "| network | batch | dense, ms | averaged over the flip, ms | chiral, ms | chiral / averaged | file, MB | dense |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, (chiral, averaged), frames, batches in (
        ("perceptron, the paper's channels", perceptron(PAPER), (), (1, 16, 256)),
        ("perceptron, pairs alone", perceptron(PAIRS), (), (1, 16, 256)),
        ("convolution, 27 frames", convolution(PAPER), (FRAMES,), (1, 16)),
    ):
        plain = averaged.network
        assert isinstance(plain, nn.Module)
        graphs = [graph_of(network, *frames, IN.spec.width) for network in (plain, averaged, chiral)]
        for batch in batches:
            report(results, name, batch, graphs, (batch, *frames, IN.spec.width))
    network = ChiralLSTM(IN.spec, LSTM)
    folded = graph_of(Outputs(network.folded()), STEPS, IN.spec.width)
    halves = graph_of(Outputs(network), STEPS, IN.spec.width)
    for batch in (1, 16, 256):
        report(results, "LSTM, 8 frames", batch, [folded, None, halves], (batch, STEPS, IN.spec.width))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def graph_of(network: nn.Module, *shape: int) -> bytes:
    """The ONNX graph of a network from rows of one shape to rows of another."""
    network.task = SimpleNamespace(  # pyright: ignore[reportArgumentType] - what the exporter asks of a task
        inputs={"pose": TensorSpec(shape=("batch", *shape), unit="")}, outputs=("answer",), axes={}
    )
    return to_onnx(frozen(network), {"pose": np.zeros((1, *shape), np.float32)})


def report(
    results: dict[str, object], name: str, batch: int, graphs: Sequence[bytes | None], shape: tuple[int, ...]
) -> None:
    """Measure graphs - dense, averaged if there is one, chiral - on a random batch, print a line and keep it."""
    x = {"pose": np.random.default_rng(0).normal(size=shape).astype(np.float32)}

    def call(graph: bytes) -> Callable[[], object]:
        run = onnx_runner(graph)
        return lambda: run(x)

    there = [graph for graph in graphs if graph is not None]
    dense, *averaged, chiral = cpu_ms(*(call(graph) for graph in there), runs=50)
    sizes = [len(graph) / 1e6 for graph in (there[-1], there[0])]
    compared = averaged[0] if averaged else None
    results[f"{name}, batch {batch}"] = {
        "dense_ms": dense,
        "averaged_ms": compared,
        "chiral_ms": chiral,
        "chiral_mb": sizes[0],
        "dense_mb": sizes[1],
    }
    shown = [f"{compared:.2f}" if compared else "", f"{chiral:.2f}", f"{chiral / compared:.3f}" if compared else ""]
    print(f"| {name} | {batch} | {dense:.2f} | {' | '.join(shown)} | {sizes[0]:.1f} | {sizes[1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
