"""Tests of export: a bundle is written only if graph, network and claimed symmetries agree."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from clouds import SMALL, bumpy_cloud, inputs_of
from laws import NARROW, hand_motion
from torch import Tensor, nn

import training.engine.export
from models.contract.bundle import TrainingSource, read_bundle, repeat_example
from models.contract.task import FaceLandmarks, HandForecast
from models.forecast.linear import LinearForecast, damped_velocity, hold
from training.engine.export import (
    OPSET,
    BrokenSymmetry,
    Facts,
    NotTheNetwork,
    export,
    git_commit,
    onnx_runner,
    refuse_mismatch,
    refuse_violation,
    runner,
    sizes,
    to_onnx,
)

# TorchScript is optional; PyTorch has deprecated it.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

TASK = HandForecast(past=5, future=3, fps=30, modes=2)
EXAMPLE = {"past": hand_motion(5, 42, batch=1).astype(np.float32)}
SOURCES = (TrainingSource(name="leap", licence="Apache-2.0", attribution="Leap", recordings=2),)
FACTS = Facts(EXAMPLE, SOURCES, ())
CARD: dict[str, Any] = {
    "name": "made-up",
    "title": "Made up",
    "licence": "Apache-2.0",
    "command": "python -m training export made-up",
}


class AxisByAxis(nn.Module):
    """A network that claims rotation but applies a ReLU to each axis."""

    symmetries = ("translation", "rotation")

    def __init__(self, task: HandForecast) -> None:
        super().__init__()
        self.task = task

    def forward(self, past: Tensor) -> Tensor:
        moved = past[:, -1:] + (past[:, -1:] - past[:, :1]).relu()
        return moved.unsqueeze(1).expand(-1, self.task.modes, self.task.future, -1, -1)


class Shells(nn.Module):
    """A minimal landmark network, whose landmarks are means of the points near a radius from the centroid."""

    symmetries = ("translation", "rotation")

    def __init__(self, task: FaceLandmarks) -> None:
        super().__init__()
        self.task = task
        self.radii = nn.Parameter(torch.linspace(0.05, 0.12, 68).unsqueeze(1))

    def forward(self, points: Tensor, neighbours: Tensor, parents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        centre = points.mean(dim=1, keepdim=True)
        distances = (points - centre).norm(dim=2).float().unsqueeze(1)
        heatmaps = torch.exp(-((distances - self.radii) * 50).square())
        weights = heatmaps.double() / heatmaps.double().sum(dim=2, keepdim=True)
        return heatmaps, weights @ points, heatmaps.amax(dim=2)


@pytest.fixture(scope="module")
def network() -> LinearForecast:
    return LinearForecast(TASK, damped_velocity(TASK, 0.8))


@pytest.fixture(scope="module")
def graphs(network: LinearForecast) -> dict[str, bytes]:
    """Export the network, another one, and one that violates its claim."""
    others = {"network": network, "other": LinearForecast(TASK, hold(TASK)), "broken": AxisByAxis(TASK)}
    return {name: to_onnx(module.eval(), EXAMPLE) for name, module in others.items()}


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch, graphs: dict[str, bytes]):
    """Return a function that makes the exporter write the named graph."""
    return lambda name: monkeypatch.setattr(training.engine.export, "to_onnx", lambda *_: graphs[name])


def test_an_exported_bundle_repeats_its_example(network: LinearForecast, exporting, tmp_path: Path):
    exporting("network")
    written = export(network, tmp_path / "made-up", FACTS, **CARD)
    bundle = read_bundle(tmp_path / "made-up")
    assert bundle.meta == written.meta
    assert (bundle.meta.task, bundle.meta.symmetries) == (TASK, network.symmetries)
    assert (bundle.meta.opset, bundle.meta.parameters, bundle.meta.network) == (OPSET, 0, "LinearForecast")
    assert set(bundle.meta.files) == {"model.onnx", "example.npz"}
    assert bundle.meta.made_with["torch"] == torch.__version__
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-6
    with pytest.raises(FileExistsError):
        export(network, tmp_path / "made-up", FACTS, **CARD)


def test_a_graph_that_differs_from_its_network_is_not_written(network, exporting, tmp_path: Path):
    exporting("other")
    with pytest.raises(NotTheNetwork, match=r"the ONNX graph of made-up differs from the network by .* in future"):
        export(network, tmp_path / "made-up", FACTS, **CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_violates_a_claimed_symmetry_is_not_written(exporting, tmp_path: Path):
    exporting("broken")
    with pytest.raises(BrokenSymmetry, match="the ONNX graph of made-up claims rotation and breaks it by"):
        export(AxisByAxis(TASK), tmp_path / "made-up", FACTS, **CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_torchscript_copy_gives_the_answers_of_the_network(network: LinearForecast, exporting, tmp_path: Path):
    exporting("network")
    bundle = export(network, tmp_path / "made-up", FACTS, torchscript=True, **CARD)
    assert "model.ts" in bundle.meta.files
    copy = torch.jit.load(io.BytesIO((bundle.folder / "model.ts").read_bytes()))
    for inputs in sizes(TASK, EXAMPLE):
        past = torch.from_numpy(inputs["past"])
        assert (copy(past) - network(past)).abs().max() <= 1e-6


def test_a_torchscript_with_a_fixed_size_is_refused(network: LinearForecast, exporting, monkeypatch, tmp_path: Path):
    class Frozen(nn.Module):
        def forward(self, past: Tensor) -> Tensor:
            return past[:1, -1:].unsqueeze(1).expand(1, 2, 3, -1, -1)

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(Frozen(), torch.from_numpy(EXAMPLE["past"])), buffer)
    exporting("network")
    monkeypatch.setattr(training.engine.export, "to_torchscript", lambda *_: buffer.getvalue())
    with pytest.raises(NotTheNetwork, match="the TorchScript of made-up"):
        export(network, tmp_path / "made-up", FACTS, torchscript=True, **CARD)


def test_a_graph_has_the_opset_and_the_axes_of_the_task(graphs: dict[str, bytes]):
    model = onnx.load_from_string(graphs["network"])
    assert {o.version for o in model.opset_import if o.domain in ("", "ai.onnx")} == {OPSET}
    (tensor,) = model.graph.input
    dims = tensor.type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 5, "nodes", 3]
    assert [o.name for o in model.graph.output] == ["future"]


def test_a_file_of_another_opset_is_refused(network: LinearForecast, graphs: dict[str, bytes], monkeypatch):
    class Program:
        """A result of the exporter with an unexpected opset."""

        def save(self, path: Path) -> None:
            path.write_bytes(graphs["network"])

    monkeypatch.setattr(training.engine.export, "OPSET", OPSET + 1)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Program())
    with pytest.raises(NotTheNetwork, match=f"expected the exporter to write opset {OPSET + 1}, got opset {OPSET}"):
        to_onnx(network, EXAMPLE)


def test_a_graph_is_checked_at_every_size_alone_and_in_a_batch():
    assert [x["past"].shape for x in sizes(TASK, EXAMPLE)] == [
        (1, 5, 21, 3),
        (3, 5, 21, 3),
        (1, 5, 42, 3),
        (3, 5, 42, 3),
    ]
    one_hand = {"past": EXAMPLE["past"][:, :, :21]}
    assert {x["past"].shape[2] for x in sizes(TASK, one_hand)} == {21, 42}, "expected one hand beside itself"


def test_a_graph_of_fixed_sizes_is_checked_with_valid_indices():
    example = inputs_of(SMALL, bumpy_cloud(200))
    alone, batch = sizes(SMALL, example)
    assert all(np.array_equal(alone[name], example[name]) for name in example)
    assert batch["points"].shape == (3, *example["points"].shape[1:])
    assert batch["neighbours"].dtype == np.int64
    assert np.array_equal(batch["neighbours"][2], example["neighbours"][0])


def test_a_landmark_network_is_exported_with_three_outputs(tmp_path: Path):
    network = Shells(SMALL)
    facts = Facts(inputs_of(SMALL, bumpy_cloud(200)), SOURCES, ())
    bundle = export(network, tmp_path / "made-up", facts, **CARD)
    assert bundle.meta.symmetries == ("translation", "rotation")
    assert set(bundle.example()[1]) == {"heatmaps", "landmarks", "confidence"}
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5
    assert "| source | people | licence |" in (bundle.folder / "README.md").read_text()
    assert any(p.requires_grad for p in network.parameters())  # export works on a copy


@pytest.mark.parametrize("name", ["heatmaps", "landmarks", "confidence"])
def test_nan_in_any_output_is_a_difference(name: str):
    """NaN is a difference even if both functions return it."""
    network, inputs = NARROW.build(SMALL).eval(), inputs_of(SMALL, bumpy_cloud(200))
    run = runner(network, SMALL)

    def nan(inputs):
        answer = run(inputs)
        return answer | {name: np.full_like(answer[name], np.nan)}

    refuse_mismatch("it", run, run, inputs)
    for expected, actual in ((run, nan), (nan, run), (nan, nan)):
        with pytest.raises(NotTheNetwork, match=f"by nan in {name}"):
            refuse_mismatch("it", expected, actual, inputs)
    with pytest.raises(BrokenSymmetry, match="by nan"):
        refuse_violation("it", nan, "rotation", inputs, SMALL)


# --- replacement of a bundle ---


@pytest.fixture
def existing(network: LinearForecast, exporting, tmp_path: Path) -> Path:
    """Export a bundle; return its folder."""
    exporting("network")
    return export(network, tmp_path / "made-up", FACTS, **CARD).folder


def test_a_bundle_is_replaced_by_the_new_one(network: LinearForecast, existing: Path):
    new = export(network, existing, FACTS, replace=True, **{**CARD, "title": "Another"})
    assert read_bundle(existing).meta == new.meta
    assert (new.folder, new.meta.title) == (existing, "Another")
    assert list(existing.parent.iterdir()) == [existing], "expected no temporary files"


@pytest.mark.parametrize("failing", ["to_onnx", "write_bundle", "repeat_example", "os.rename"])
def test_a_bundle_stays_until_the_new_one_is_written_and_checked(
    network: LinearForecast, existing: Path, monkeypatch: pytest.MonkeyPatch, failing: str
):
    before = read_bundle(existing).meta
    rename = os.rename

    def fail(*arguments: Any, **_: Any) -> None:
        if failing == "os.rename" and arguments[1] != existing:
            rename(*arguments)
            return
        monkeypatch.undo()  # restoring the old bundle may succeed
        raise OSError("the disk is full")

    monkeypatch.setattr(f"training.engine.export.{failing}", fail)
    with pytest.raises(OSError, match="disk"):
        export(network, existing, FACTS, replace=True, **CARD)
    assert read_bundle(existing).meta == before
    assert list(existing.parent.iterdir()) == [existing]


def test_the_commit_is_a_hash_or_unknown():
    assert git_commit() == "unknown" or len(git_commit()) == 40
