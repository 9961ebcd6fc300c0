"""Tests of entries of a Triton model repository: the configuration, by Triton's own schema, versions and labels."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from hand_motion import moving_hands
from tritonclient.grpc import model_config_pb2
from typer.testing import CliRunner

from models.contract.bundle import BadBundle, read_bundle
from models.contract.runtime import onnxruntime
from models.contract.task import HandForecast
from models.skeletons.face import FACE68
from service.cli import app
from service.registry.triton import OtherTensors, export

from ..conftest import ARMS, constant_velocity, make_bundle
from ..places import corrupt

SCHEMA: Any = model_config_pb2  # generated, without types
SHIPPED = Path(__file__).resolve().parents[3] / "bundles"
TYPES = {"tensor(float)": "TYPE_FP32", "tensor(double)": "TYPE_FP64", "tensor(int64)": "TYPE_INT64"}


def config_of(entry: Path) -> Any:
    """Parse a configuration with Triton's schema, which raises on an unknown field."""
    return text_format.Parse((entry / "config.pbtxt").read_text(), SCHEMA.ModelConfig())


def assert_describes(config: Any, graph: Path) -> None:
    """Check that names, types and dimensions of a configuration are those of a graph, without its batch axis."""
    session = onnxruntime.InferenceSession(graph)
    for described, tensors in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        actual = {tensor.name: (TYPES[tensor.type], tensor.shape[1:]) for tensor in tensors}
        assert {one.name for one in described} == set(actual)
        for one in described:
            datatype, shape = actual[one.name]
            assert SCHEMA.DataType.Name(one.data_type) == datatype
            assert len(one.dims) == len(shape)
            for dim, axis in zip(one.dims, shape, strict=True):
                assert dim == axis if dim != -1 else isinstance(axis, str)


@pytest.mark.parametrize("name", sorted(path.name for path in SHIPPED.iterdir()))
def test_the_configuration_of_every_shipped_bundle_describes_its_graph(tmp_path, name):
    bundle = read_bundle(SHIPPED / name)
    folder = export(bundle, tmp_path)
    assert folder == tmp_path / name / "1"
    config = config_of(tmp_path / name)
    assert (config.name, config.platform, config.max_batch_size) == (name, "onnxruntime_onnx", 32)
    assert config.HasField("dynamic_batching")
    assert config.parameters["chiron_version_1"].string_value == bundle.meta.version
    assert (folder / "model.onnx").read_bytes() == bundle.model.read_bytes()
    assert_describes(config, folder / "model.onnx")
    assert not list(tmp_path.rglob(".*"))


def test_a_wrong_configuration_is_noticed(tmp_path):
    folder = export(read_bundle(SHIPPED / "hands-hold"), tmp_path)
    config = config_of(folder.parent)
    config.input[0].dims[0] = 29
    with pytest.raises(AssertionError):
        assert_describes(config, folder / "model.onnx")


def test_outputs_with_a_number_a_class_or_landmark_have_labels(tmp_path, bundles):
    for name, output, expected in (("actions-3d", "logits", ARMS), ("face-shells", "confidence", FACE68.joints)):
        export(read_bundle(bundles / name), tmp_path)
        files = {one.name: one.label_filename for one in config_of(tmp_path / name).output if one.label_filename}
        assert files == {output: f"{output}.txt"}
        assert (tmp_path / name / files[output]).read_text().splitlines() == list(expected)


def version(parent: Path, number: int, modes: int = 1) -> Path:
    """Write a version of a model whose graph differs from those of other numbers by its version alone."""
    task = HandForecast(past=10, future=5, fps=30, modes=modes)
    graph = onnx.load_from_string(constant_velocity(task))
    graph.model_version = number
    inputs = {"past": moving_hands(task.past, hands=2).astype(np.float32)[None]}
    return make_bundle(parent / str(number), "hands-some", task, graph.SerializeToString(), inputs)


def test_another_version_gets_the_next_number_and_one_that_is_there_is_kept(tmp_path):
    one, two = (read_bundle(version(tmp_path, number)) for number in (1, 2))
    repository = tmp_path / "repository"
    folders = [export(bundle, repository).name for bundle in (one, two, one, two)]
    assert folders == ["1", "2", "1", "2"]
    parameters = config_of(repository / "hands-some").parameters
    assert [parameters[f"chiron_version_{n}"].string_value for n in (1, 2)] == [one.meta.version, two.meta.version]


def test_a_version_with_other_tensors_is_refused_and_changes_nothing(tmp_path):
    repository = tmp_path / "repository"
    export(read_bundle(version(tmp_path, 1)), repository)
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    with pytest.raises(OtherTensors, match="other tensors"):
        export(read_bundle(version(tmp_path, 2, modes=3)), repository)
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before


def test_the_command_takes_names_and_folders_and_refuses_a_damaged_bundle(tmp_path, bundles):
    folder = version(tmp_path, 1)
    arguments = ["export-triton", "lift-means", str(folder), "--to", str(tmp_path / "to"), "--bundles", str(bundles)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"lift-means", "hands-some"}
    corrupt(folder, "model.onnx")
    with pytest.raises(BadBundle):
        read_bundle(folder)
    assert CliRunner().invoke(app, arguments).exit_code == 2
