"""Tests of chiral layers in ONNX Runtime: they give PyTorch's answers and commute with the chirality transform."""

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

pytestmark = pytest.mark.long(26)

FRAMES = 7
HIDDEN = Spec(4, 6, 3, 5)
IN, OUT = order_of(H36M, 2, (0,)), order_of(H36M, 3, (0,))
CLASSES = (0, 2, 1)
TOLERANCE = 1e-6  # all answers have size 1


class OverTime(nn.Module):
    """Layers whose inputs have channels before frames."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2)).transpose(1, 2)


class Sequences(nn.Module):
    """The outputs of a recurrent network at its first frames, without its states."""

    def __init__(self, network: nn.Module, frames: int = FRAMES) -> None:
        super().__init__()
        self.network, self.frames = network, frames

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x[:, : self.frames])[0]


def norm_of(spec: Spec) -> ChiralBatchNorm:
    norm = ChiralBatchNorm(spec)
    norm(2 * torch.randn(8, spec.width, 5) + 1)
    return norm.eval()


def identity(x: Tensor) -> Tensor:
    return x


def moved_by_t(spec: Spec) -> Callable[[Tensor], Tensor]:
    return lambda x: transform(x, spec)


def layers() -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """Map a name to a layer and the action of T on its answer; layers on joints begin with `enter`."""
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
        "linear": (ChiralLinear(FREE, HIDDEN), moved_by_t(HIDDEN)),
        "linear_paper": (ChiralLinear(FREE, HIDDEN, paper_exact=True), moved_by_t(HIDDEN)),
        "linear_no_centre": (ChiralLinear(FREE, Spec(2, 3)), moved_by_t(Spec(2, 3))),
        "convolution": (OverTime(strided), moved_by_t(HIDDEN)),
        "norm": (OverTime(norm_of(FREE)), moved_by_t(FREE)),
        "folded_norm": (OverTime(fold_norm(strided, norm_of(HIDDEN))), moved_by_t(HIDDEN)),
        "pointwise": (Pointwise(FREE, F.gelu, F.softsign), moved_by_t(FREE)),
        "gate": (ChiralGate(FREE), moved_by_t(FREE)),
        "invariant": (ChiralLinear(FREE, invariant(6)), identity),
        "logits": (ChiralLogits(FREE, CLASSES), lambda x: x[..., list(CLASSES)]),
        "lstm": (Sequences(ChiralLSTM(FREE, HIDDEN), frames=2), moved_by_t(HIDDEN)),
        "gru": (Sequences(ChiralGRU(FREE, HIDDEN), frames=2), moved_by_t(HIDDEN)),
        "lstm_folded": (Sequences(ChiralLSTM(FREE, HIDDEN, 2).folded()), moved_by_t(HIDDEN)),
        "gru_folded": (Sequences(ChiralGRU(FREE, HIDDEN).folded()), moved_by_t(HIDDEN)),
        "lifter": (lifter, mirrored(OUT)),
        "plain_averaged": (FlipAveraged(plain, IN, OUT), mirrored(OUT)),
        "plain_linear": (nn.Linear(FREE.width, FREE.width), moved_by_t(FREE)),
        "plain_sigmoid": (nn.Sequential(ChiralLinear(FREE, FREE), nn.Sigmoid()), moved_by_t(FREE)),
    }


def output_name(name: str) -> str:
    """Return the name of a layer's output. The exporter may use the layer's own name for a node."""
    return f"{name}_answer"


NAMES = list(layers())
ON_JOINTS, BROKEN = ("lifter", "plain_averaged"), ("plain_linear", "plain_sigmoid")


class SideBySide(nn.Module):
    """One network with an output for each layer, so that all layers share one export."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: layer for name, (layer, _) in layers().items()})
        inputs = {
            name: TensorSpec(shape=("batch", FRAMES, width), unit="")
            for name, width in (("rows", FREE.width), ("joints", 34))
        }
        self.task = SimpleNamespace(inputs=inputs, outputs=dict.fromkeys(map(output_name, NAMES)), axes={})

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
def test_the_graph_of_a_layer_commutes_with_t_if_the_layer_does(run: Run, batch: int):
    x = inputs(batch)
    rows, joints = (torch.from_numpy(x[name]) for name in ("rows", "joints"))
    flipped = run({"rows": transform(rows, FREE).numpy(), "joints": mirrored(IN)(joints).numpy()})
    answers, violations = run(x), {}
    for name, (_, moves) in layers().items():
        expected = moves(torch.from_numpy(answers[output_name(name)])).numpy()
        violations[name] = float(np.abs(flipped[output_name(name)] - expected).max())
        assert np.abs(answers[output_name(name)]).max() > 0.1
    chiral = {name for name, distance in violations.items() if distance <= TOLERANCE}
    assert chiral == set(NAMES) - set(BROKEN), violations
    assert all(violations[name] > 0.1 for name in BROKEN)


def test_a_graph_gives_the_answers_of_its_layer(run: Run, exported: tuple[bytes, SideBySide]):
    network, x = exported[1], inputs(3)
    with torch.no_grad():
        expected = network(*(torch.from_numpy(tensor) for tensor in x.values()))
    for (name, actual), tensor in zip(run(x).items(), expected, strict=True):
        np.testing.assert_allclose(actual, tensor.numpy(), atol=TOLERANCE, rtol=0, err_msg=name)


def test_a_folded_recurrent_layer_is_one_operator(exported: tuple[bytes, SideBySide]):
    operators = Counter(node.op_type for node in onnx.load_from_string(exported[0]).graph.node)
    assert operators["LSTM"] == 2  # the LSTM has two layers
    assert operators["GRU"] == 1
