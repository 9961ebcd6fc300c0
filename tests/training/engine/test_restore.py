"""Tests of weights that are read back from a bundle: they are the network's own, and what a graph lacks is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clouds import TWO_LEVELS, bumpy_cloud, inputs_of
from laws import LIFT, NARROW, pairs, perturbed, with_random_prior
from torch import nn

from models.contract.bundle import TrainingSource, read_bundle
from models.contract.task import PoseLift
from models.landmarks.se3_unet import SE3UNetConfig
from models.layers.degrees import DegreeLinear
from models.layers.tensor_field import Kernel
from models.pose.lifter import LifterConfig
from models.pose.window_lifter import WindowLifterConfig
from training.engine.checkpoints import load_best
from training.engine.export import Facts, NotTheNetwork, export
from training.engine.folders import folder_of
from training.engine.restore import Counterparts, NotRestorable, disassembled, restore, restored, tensors_of
from training.engine.run import Run
from training.tasks.faces.data import FaceData
from training.tasks.faces.losses import LandmarkLoss, mean_distance_mm

SOURCES = (TrainingSource(name="made up", licence="CC0-1.0", attribution="nobody", recordings=1),)
CARD: dict[str, Any] = {"name": "made-up", "title": "Made up", "licence": "CC0-1.0", "command": "none"}
CONFIG = SE3UNetConfig(channels=NARROW.channels[:2], layers=1, functions=4, key_functions=2, hidden=16, votes=6)


def face_network() -> nn.Module:
    network = perturbed(with_random_prior(CONFIG.build(TWO_LEVELS))).eval()
    network.confidence.scan.copy_(torch.tensor([0.9, 0.1, 0.2]))  # pyright: ignore - an attribute of a Module
    return network


def exported(network: nn.Module, example: dict[str, np.ndarray], folder: Path) -> Path:
    export(network, folder, Facts(example, SOURCES, ()), **CARD)
    return folder


def test_a_bundle_has_all_weights_of_an_equivariant_network(tmp_path: Path):
    network = face_network()
    folder = exported(network, inputs_of(TWO_LEVELS, bumpy_cloud(300)), tmp_path / "bundle")
    loss = LandmarkLoss(TWO_LEVELS.sigma_m)
    run = Run("made-up", "Made up", TWO_LEVELS, CONFIG, FaceData(TWO_LEVELS), "CC0-1.0", loss, mean_distance_mm)
    path = restore(run, read_bundle(folder), 3, tmp_path / "out")
    assert path == folder_of(tmp_path / "out", run, 3) / "best.ckpt"
    trained = load_best(run, path)
    for name, x in network.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], x, rtol=1e-6, atol=1e-7)
    with pytest.raises(FileExistsError, match=r"best\.ckpt exists"):
        restore(run, read_bundle(folder), 3, tmp_path / "out")

    wider = SE3UNetConfig(channels=((8, 4), (6, 4)), layers=1, functions=4, key_functions=2, hidden=16, votes=6)
    with pytest.raises(NotRestorable, match=r"does not contain .*down\.0\.attentions\.0\.value\.weights\.000"):
        restored(wider.build(TWO_LEVELS), read_bundle(folder))
    other = face_network()
    bundle = read_bundle(exported(other, inputs_of(TWO_LEVELS, bumpy_cloud(300, seed=1)), tmp_path / "other"))
    (bundle.folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    with pytest.raises(NotTheNetwork, match="differs from its example"):
        restored(CONFIG.build(TWO_LEVELS), bundle)


def test_weights_that_were_folded_into_others_are_named(tmp_path: Path):
    network = LifterConfig(pairs(32)).build(LIFT).eval()
    seen = {name: np.random.default_rng(0).normal(size=(1, 9, 17, 2)).astype(np.float32) for name in LIFT.inputs}
    bundle = read_bundle(exported(network, seen, tmp_path / "bundle"))
    with pytest.raises(NotRestorable, match=r"made-up does not contain .*expand\.map\.\w+"):
        restored(LifterConfig(pairs(32)).build(LIFT), bundle)


def test_biases_of_chiral_layers_are_read_back_also_two_equal_ones_that_are_stored_once(tmp_path: Path):
    task = PoseLift(receptive=3, confidence=True)
    network = perturbed(WindowLifterConfig(pairs(16), blocks=1).build(task)).eval()
    network.read_out.bias.data.copy_(network.linear.bias.data)  # pyright: ignore - attributes of a Module; their gradients are equal
    seen = {"keypoints": np.random.default_rng(0).uniform(0.1, 1, (1, 5, 17, 3)).astype(np.float32)}
    bundle = read_bundle(exported(network, seen, tmp_path / "bundle"))
    weights = restored(WindowLifterConfig(pairs(16), blocks=1).build(task), bundle).state_dict()
    for name, x in network.state_dict().items():
        torch.testing.assert_close(weights[name], x, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "module",
    [
        DegreeLinear((5, 3), (4, 2)),
        DegreeLinear((5,), (4, 2), bias=True),
        Kernel((3, 2, 1), (4, 2, 2), 3, 4, handed=True),
        Kernel((3, 2), (4, 2), 2, 1, handed=False),
    ],
)
def test_an_assembled_matrix_determines_its_weights(module: Kernel | DegreeLinear):
    matrix = module.assemble().detach().double()
    weights = disassembled(module, matrix)
    assert weights.keys() == {name for name, x in module.named_parameters() if name != "bias" and x.numel()}
    for name, x in weights.items():
        torch.testing.assert_close(x.float(), module.get_parameter(name).data, rtol=1e-6, atol=1e-7)
    assert disassembled(module, matrix + 0.1) == {}


def test_counterparts_are_found_in_any_place_and_never_guessed():
    probe = {"a": np.array([1.0, 1.25, 1.5, 1.5]), "b": 2 * np.arange(6.0).reshape(3, 2), "gone": np.ones(3)}
    own = {"a": np.array([7.0, 8.0, 9.0, 9.0]), "b": np.arange(6.0).reshape(3, 2), "gone": np.ones(4)}
    find = Counterparts(probe, own)
    assert find.named("gone", (3,)) is None, "expected a constant of another shape to be left out"
    assert find.gathered(np.array([[1.5], [1.0]])).tolist() == [[9.0], [7.0]]  # pyright: ignore - not None here
    assert find.gathered(np.array([1.75])) is None
    turned = find.permuted(np.arange(6.0).reshape(3, 2).T)
    assert turned is not None
    assert turned.tolist() == (np.arange(6.0).reshape(3, 2).T / 2).tolist()
    assert find.permuted(np.arange(6.0).reshape(3, 2).T) is None, "expected a constant to be taken once"
    ambiguous = Counterparts({"a": np.array([1.5, 1.5])}, {"a": np.array([1.0, 2.0])})
    assert ambiguous.gathered(np.array([1.5])) is None


def test_a_constant_that_has_all_numbers_comes_before_one_that_has_some_by_accident():
    probe = {"x": np.array([1.5, 1.75]), "w": np.array([[1.25, 1.5], [1.0, 1.125]])}
    own = {"x": np.array([0.0, 0.0]), "w": np.array([[7.0, 8.0], [9.0, 6.0]])}
    found = Counterparts(probe, own).gathered(np.array([[1.25, 1.0], [1.5, 1.125]]))
    assert found is not None
    assert found.tolist() == [[7.0, 9.0], [8.0, 6.0]]


def test_integers_are_no_weights():
    module = nn.Linear(2, 2)
    module.register_buffer("places", torch.arange(3))
    assert set(tensors_of(module)) == {"weight", "bias"}
