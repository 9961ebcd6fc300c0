"""Every chiral layer, as ONNX Runtime evaluates it, answers as PyTorch does and commutes with the chirality transform."""

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from chirality import FREE, H36M
from torch import Tensor, nn

from models.contract.tensor import TensorSpec
from models.layers.chiral import (
    ChiralBatchNorm,
    ChiralConv1d,
    ChiralGate,
    ChiralLinear,
    ChiralLogits,
    Pointwise,
    fold_norm,
    invariant,
)
from models.layers.chiral_recurrent import ChiralGRU, ChiralLSTM
from models.layers.chiral_spec import FlipAveraged, Spec, enter, leave, mirrored, order_of, transform
from models.layers.freezing import frozen
from training.engine.export import Run, onnx_runner, to_onnx

pytestmark = pytest.mark.long

FRAMES = 7
HIDDEN = Spec(4, 6, 3, 5)
IN, OUT = order_of(H36M, 2, (0,)), order_of(H36M, 3, (0,))
CLASSES = (0, 2, 1)
TOLERANCE = 1e-6  # all answers are of size 1


class OverTime(nn.Module):
    """Layers that want channels before frames."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


class Sequences(nn.Module):
    """The answer at the first frames of a network that also gives states."""

    def __init__(self, network: nn.Module, frames: int = FRAMES) -> None:
        super().__init__()
        self.network, self.frames = network, frames

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x[:, : self.frames])[0]


def norm_of(spec: Spec) -> ChiralBatchNorm:
    norm = ChiralBatchNorm(spec)
    norm(2 * torch.randn(8, spec.width, 5) + 1)
    return norm.eval()


def stays(x: Tensor) -> Tensor:
    return x


def to(spec: Spec) -> Callable[[Tensor], Tensor]:
    return lambda x: transform(x, spec)


def layers() -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """Each with what T does to its answer; those on joints begin with `enter`."""
    torch.manual_seed(0)
    strided = ChiralConv1d(FREE, HIDDEN, 3, stride=2, dilation=2, padding=1)
    lifter = nn.Sequential(
        enter(IN),
        OverTime(ChiralConv1d(IN.spec, HIDDEN, 3), norm_of(HIDDEN), nn.Tanh(), nn.Dropout()),
        OverTime(ChiralConv1d(HIDDEN, HIDDEN, 3, dilation=2), norm_of(HIDDEN), Pointwise(HIDDEN, F.relu, dim=1)),
        ChiralLinear(HIDDEN, OUT.spec, gain=1.0),
        leave(OUT),
    )
    plain = nn.Sequential(nn.Linear(34, 20), nn.ReLU(), nn.Linear(20, 51))
    return {
        "linear": (ChiralLinear(FREE, HIDDEN), to(HIDDEN)),
        "linear_paper": (ChiralLinear(FREE, HIDDEN, paper_exact=True), to(HIDDEN)),
        "linear_no_centre": (ChiralLinear(FREE, Spec(2, 3)), to(Spec(2, 3))),
        "convolution": (OverTime(strided), to(HIDDEN)),
        "norm": (OverTime(norm_of(FREE)), to(FREE)),
        "folded_norm": (OverTime(fold_norm(strided, norm_of(HIDDEN))), to(HIDDEN)),
        "pointwise": (Pointwise(FREE, F.gelu, F.softsign), to(FREE)),
        "gate": (ChiralGate(FREE), to(FREE)),
        "invariant": (ChiralLinear(FREE, invariant(6)), stays),
        "logits": (ChiralLogits(FREE, CLASSES), lambda x: x[..., list(CLASSES)]),
        "lstm": (Sequences(ChiralLSTM(FREE, HIDDEN), frames=2), to(HIDDEN)),
        "gru": (Sequences(ChiralGRU(FREE, HIDDEN), frames=2), to(HIDDEN)),
        "lstm_folded": (Sequences(ChiralLSTM(FREE, HIDDEN, 2).folded()), to(HIDDEN)),
        "gru_folded": (Sequences(ChiralGRU(FREE, HIDDEN).folded()), to(HIDDEN)),
        "lifter": (lifter, mirrored(OUT)),
        "plain_averaged": (FlipAveraged(plain, IN, OUT), mirrored(OUT)),
        "plain_linear": (nn.Linear(FREE.width, FREE.width), to(FREE)),
        "plain_sigmoid": (nn.Sequential(ChiralLinear(FREE, FREE), nn.Sigmoid()), to(FREE)),
    }


def answer(name: str) -> str:
    """What an output is called: a layer's own name may be one that the exporter has given to a node."""
    return f"{name}_answer"


NAMES = list(layers())
ON_JOINTS, BROKEN = ("lifter", "plain_averaged"), ("plain_linear", "plain_sigmoid")


class SideBySide(nn.Module):
    """All layers as one network with an answer each, so that one export serves them all."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: layer for name, (layer, _) in layers().items()})
        inputs = {
            name: TensorSpec(shape=("batch", FRAMES, width), unit="")
            for name, width in (("rows", FREE.width), ("joints", 34))
        }
        self.task = SimpleNamespace(inputs=inputs, outputs=dict.fromkeys(map(answer, NAMES)), axes={})

    def forward(self, rows: Tensor, joints: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(joints if name in ON_JOINTS else rows) for name, layer in self.layers.items())


@pytest.fixture(scope="module")
def exported() -> tuple[bytes, SideBySide]:
    network = frozen(SideBySide())
    example = {name: torch.zeros(1, *spec.shape[1:]).numpy() for name, spec in network.task.inputs.items()}
    return to_onnx(network, example), network


@pytest.fixture(scope="module")
def run(exported: tuple[bytes, SideBySide]) -> Run:
    return onnx_runner(exported[0])


def inputs(batch: int) -> dict[str, np.ndarray]:
    make = torch.Generator().manual_seed(batch)
    rows, joints = (torch.randn(batch, FRAMES, width, generator=make) for width in (FREE.width, 34))
    return {"rows": rows.numpy(), "joints": joints.numpy()}


@pytest.mark.parametrize("batch", [1, 5])
def test_a_graph_keeps_the_law_where_its_layer_does(run: Run, batch: int):
    x = inputs(batch)
    rows, joints = (torch.from_numpy(x[name]) for name in ("rows", "joints"))
    flipped = run({"rows": transform(rows, FREE).numpy(), "joints": mirrored(IN)(joints).numpy()})
    answers, apart = run(x), {}
    for name, (_, moves) in layers().items():
        wanted = moves(torch.from_numpy(answers[answer(name)])).numpy()
        apart[name] = float(np.abs(flipped[answer(name)] - wanted).max())
        assert np.abs(answers[answer(name)]).max() > 0.1
    kept = {name for name, distance in apart.items() if distance <= TOLERANCE}
    assert kept == set(NAMES) - set(BROKEN), apart
    assert all(apart[name] > 0.1 for name in BROKEN)


def test_a_graph_answers_as_its_layer(run: Run, exported: tuple[bytes, SideBySide]):
    network, x = exported[1], inputs(3)
    with torch.no_grad():
        wanted = network(*(torch.from_numpy(tensor) for tensor in x.values()))
    for (name, found), tensor in zip(run(x).items(), wanted, strict=True):
        np.testing.assert_allclose(found, tensor.numpy(), atol=TOLERANCE, rtol=0, err_msg=name)


def test_a_folded_recurrent_layer_is_one_operator(exported: tuple[bytes, SideBySide]):
    operators = Counter(node.op_type for node in onnx.load_from_string(exported[0]).graph.node)
    assert operators["LSTM"] == 2  # of two layers
    assert operators["GRU"] == 1
