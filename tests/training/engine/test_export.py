"""Export: a bundle is written where graph, network and symmetries agree, and refused where any of them does not."""

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

# TorchScript is written for those who ask for it, though PyTorch has deprecated it.
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
    """Claims rotation and bends every axis by itself."""

    symmetries = ("translation", "rotation")

    def __init__(self, task: HandForecast) -> None:
        super().__init__()
        self.task = task

    def forward(self, past: Tensor) -> Tensor:
        moved = past[:, -1:] + (past[:, -1:] - past[:, :1]).relu()
        return moved.unsqueeze(1).expand(-1, self.task.modes, self.task.future, -1, -1)


class Shells(nn.Module):
    """Landmarks that are means of the points at a certain distance from the centroid: what the smallest landmark network can be."""

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
    """ONNX graphs: of the network, of another one and of one that breaks its claim."""
    others = {"network": network, "other": LinearForecast(TASK, hold(TASK)), "broken": AxisByAxis(TASK)}
    return {name: to_onnx(module.eval(), EXAMPLE) for name, module in others.items()}


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch, graphs: dict[str, bytes]):
    """Makes the exporter write the graph of that name, whatever it is given."""
    return lambda name: monkeypatch.setattr(training.engine.export, "to_onnx", lambda *_: graphs[name])


def test_a_bundle_is_written_and_answers_its_example(network: LinearForecast, exporting, tmp_path: Path):
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


def test_a_graph_that_is_not_the_networks_is_refused_and_nothing_is_written(network, exporting, tmp_path: Path):
    exporting("other")
    with pytest.raises(NotTheNetwork, match=r"the ONNX graph of made-up differs from the network by .* in future"):
        export(network, tmp_path / "made-up", FACTS, **CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_breaks_a_symmetry_it_claims_is_refused_and_nothing_is_written(exporting, tmp_path: Path):
    exporting("broken")
    with pytest.raises(BrokenSymmetry, match="the ONNX graph of made-up claims rotation and breaks it by"):
        export(AxisByAxis(TASK), tmp_path / "made-up", FACTS, **CARD)
    assert list(tmp_path.iterdir()) == []


def test_the_torchscript_twin_answers_as_the_network_does(network: LinearForecast, exporting, tmp_path: Path):
    exporting("network")
    bundle = export(network, tmp_path / "made-up", FACTS, torchscript=True, **CARD)
    assert "model.ts" in bundle.meta.files
    twin = torch.jit.load(io.BytesIO((bundle.folder / "model.ts").read_bytes()))
    for inputs in sizes(TASK, EXAMPLE):
        past = torch.from_numpy(inputs["past"])
        assert (twin(past) - network(past)).abs().max() <= 1e-6


def test_a_torchscript_that_froze_a_size_is_refused(network: LinearForecast, exporting, monkeypatch, tmp_path: Path):
    class Frozen(nn.Module):
        def forward(self, past: Tensor) -> Tensor:
            return past[:1, -1:].unsqueeze(1).expand(1, 2, 3, -1, -1)

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(Frozen(), torch.from_numpy(EXAMPLE["past"])), buffer)
    exporting("network")
    monkeypatch.setattr(training.engine.export, "to_torchscript", lambda *_: buffer.getvalue())
    with pytest.raises(NotTheNetwork, match="the TorchScript of made-up"):
        export(network, tmp_path / "made-up", FACTS, torchscript=True, **CARD)


def test_the_opset_is_in_the_file_and_the_axes_are_those_of_the_task(graphs: dict[str, bytes]):
    model = onnx.load_from_string(graphs["network"])
    assert {o.version for o in model.opset_import if o.domain in ("", "ai.onnx")} == {OPSET}
    (given,) = model.graph.input
    dims = given.type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 5, "nodes", 3]
    assert [o.name for o in model.graph.output] == ["future"]


def test_a_file_of_another_opset_is_refused(network: LinearForecast, graphs: dict[str, bytes], monkeypatch):
    class Program:
        """What the exporter hands back, of the opset that it liked better."""

        def save(self, path: Path) -> None:
            path.write_bytes(graphs["network"])

    monkeypatch.setattr(training.engine.export, "OPSET", OPSET + 1)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Program())
    with pytest.raises(NotTheNetwork, match=f"expected the exporter to write opset {OPSET + 1}, got opset {OPSET}"):
        to_onnx(network, EXAMPLE)


def test_the_checks_run_at_every_legal_size_alone_and_in_company():
    assert [x["past"].shape for x in sizes(TASK, EXAMPLE)] == [
        (1, 5, 21, 3),
        (3, 5, 21, 3),
        (1, 5, 42, 3),
        (3, 5, 42, 3),
    ]
    one_hand = {"past": EXAMPLE["past"][:, :, :21]}
    assert {x["past"].shape[2] for x in sizes(TASK, one_hand)} == {21}


def test_a_task_of_fixed_sizes_is_checked_as_it_is_and_its_indices_stay_indices():
    example = inputs_of(SMALL, bumpy_cloud(200))
    alone, company = sizes(SMALL, example)
    assert all(np.array_equal(alone[name], example[name]) for name in example)
    assert company["points"].shape == (3, *example["points"].shape[1:])
    assert company["neighbours"].dtype == np.int64
    assert np.array_equal(company["neighbours"][2], example["neighbours"][0])


def test_a_landmark_network_is_written_with_its_three_outputs(tmp_path: Path):
    network = Shells(SMALL)
    facts = Facts(inputs_of(SMALL, bumpy_cloud(200)), SOURCES, ())
    bundle = export(network, tmp_path / "made-up", facts, **CARD)
    assert bundle.meta.symmetries == ("translation", "rotation")
    assert set(bundle.example()[1]) == {"heatmaps", "landmarks", "confidence"}
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5
    assert "| source | people | licence |" in (bundle.folder / "README.md").read_text()
    assert any(p.requires_grad for p in network.parameters())  # what is exported is a copy


@pytest.mark.parametrize("spoilt", ["heatmaps", "landmarks", "confidence"])
def test_nan_in_any_output_is_a_difference(spoilt: str):
    """Of several outputs, also in a later one; and NaN in both functions is a difference too."""
    network, inputs = NARROW.build(SMALL).eval(), inputs_of(SMALL, bumpy_cloud(200))
    run = runner(network, SMALL)

    def nan(inputs):
        answer = run(inputs)
        return answer | {spoilt: np.full_like(answer[spoilt], np.nan)}

    refuse_mismatch("it", run, run, inputs)
    for expected, actual in ((run, nan), (nan, run), (nan, nan)):
        with pytest.raises(NotTheNetwork, match=f"by nan in {spoilt}"):
            refuse_mismatch("it", expected, actual, inputs)
    with pytest.raises(BrokenSymmetry, match="by nan"):
        refuse_violation("it", nan, "rotation", inputs, SMALL)


# --- in place of a bundle that is there ---


@pytest.fixture
def there(network: LinearForecast, exporting, tmp_path: Path) -> Path:
    """The folder of a bundle."""
    exporting("network")
    return export(network, tmp_path / "made-up", FACTS, **CARD).folder


def test_a_bundle_is_replaced_by_the_new_one(network: LinearForecast, there: Path):
    new = export(network, there, FACTS, replace=True, **{**CARD, "title": "Another"})
    assert read_bundle(there).meta == new.meta
    assert (new.folder, new.meta.title) == (there, "Another")
    assert list(there.parent.iterdir()) == [there], "nothing is left beside it"


@pytest.mark.parametrize("failing", ["to_onnx", "write_bundle", "repeat_example", "os.rename"])
def test_a_bundle_stays_until_the_new_one_is_written_and_checked(
    network: LinearForecast, there: Path, monkeypatch: pytest.MonkeyPatch, failing: str
):
    before = read_bundle(there).meta
    rename = os.rename

    def fail(*arguments: Any, **_: Any) -> None:
        if failing == "os.rename" and arguments[1] != there:
            rename(*arguments)
            return
        monkeypatch.undo()  # the way back may succeed
        raise OSError("the disk is full")

    monkeypatch.setattr(f"training.engine.export.{failing}", fail)
    with pytest.raises(OSError, match="disk"):
        export(network, there, FACTS, replace=True, **CARD)
    assert read_bundle(there).meta == before
    assert list(there.parent.iterdir()) == [there]


def test_the_commit_is_a_hash_or_unknown():
    assert git_commit() == "unknown" or len(git_commit()) == 40
