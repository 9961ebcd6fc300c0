"""A service over tiny bundles made here: constant velocity as an ONNX graph, so that only the service is under test."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from fastapi.testclient import TestClient
from onnx import TensorProto, helper, numpy_helper

from models.contract.bundle import BundleMeta, Measurement, TrainingSource, write_bundle
from models.contract.task import HandForecast
from service.app import create_app
from service.settings import Settings

OPSET = 17
MAX_BODY = 1_000_000


def constant_velocity(past: int, future: int, modes: int = 1) -> bytes:
    """Every joint goes on as it went between the last two frames; mode m at 1/(m+1) of that speed."""
    steps = np.arange(1, future + 1, dtype=np.float32).reshape(1, 1, future, 1, 1)
    steps = steps / np.arange(1, modes + 1, dtype=np.float32).reshape(1, modes, 1, 1, 1)
    constants = {
        "last_index": np.array([past - 1]),
        "previous_index": np.array([past - 2]),
        "mode_axis": np.array([1]),
        "steps": steps,
    }
    nodes = [
        helper.make_node("Gather", ["past", "last_index"], ["last"], axis=1),
        helper.make_node("Gather", ["past", "previous_index"], ["previous"], axis=1),
        helper.make_node("Sub", ["last", "previous"], ["velocity"]),
        helper.make_node("Unsqueeze", ["velocity", "mode_axis"], ["velocities"]),
        helper.make_node("Unsqueeze", ["last", "mode_axis"], ["origin"]),
        helper.make_node("Mul", ["velocities", "steps"], ["moved"]),
        helper.make_node("Add", ["origin", "moved"], ["future"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant-velocity",
        [helper.make_tensor_value_info("past", TensorProto.FLOAT, ["batch", past, "nodes", 3])],
        [helper.make_tensor_value_info("future", TensorProto.FLOAT, ["batch", modes, future, "nodes", 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def make_bundle(parent: Path, name: str, task: HandForecast) -> Path:
    """A whole bundle of the constant-velocity graph in `parent`/`name`."""
    model = constant_velocity(task.past, task.future, task.modes)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = {"past": moving_hands(task.past, hands=2).astype(np.float32)[None]}
    outputs = {"future": np.asarray(session.run(["future"], inputs)[0])}
    error = Measurement(metric="mpjpe", value=12.5, unit="mm", split="test", source="made up", windows=10, recordings=2)
    meta = BundleMeta(
        name=name,
        title="Constant velocity",
        task=task,
        symmetries=("translation", "rotation", "mirror-swap"),
        network="constant velocity",
        parameters=0,
        opset=OPSET,
        licence="Apache-2.0",
        trained_on=(TrainingSource(name="nothing", licence="none", attribution="nobody", recordings=0),),
        measurements=(error, error.model_copy(update={"split": "validation"})),
        command="python -m training export constant-velocity",
        git_commit="0" * 40,
        made_with={"onnx": onnx.__version__},
    )
    write_bundle(parent / name, meta, model, inputs, outputs)
    return parent / name


def moving_hands(frames: int, hands: int, joints: int = 21, seed: int = 0) -> np.ndarray:
    """(frames, hands * joints, 3) metres: hands of points within 0.1 m that drift and wave smoothly."""
    rng = np.random.default_rng(seed)
    rest = rng.normal(scale=0.05, size=(1, hands, joints, 3)) + np.arange(hands).reshape(1, hands, 1, 1) * 0.3
    time = np.linspace(0, 1, frames).reshape(frames, 1, 1, 1)
    wave = 0.02 * np.sin(3 * time + rng.uniform(0, 6, size=(1, hands, joints, 3)))
    return (rest + wave + 0.2 * time * rng.normal(size=(1, hands, 1, 3))).reshape(frames, hands * joints, 3)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two bundles: `hands-thirty` (30 to 30 frames at 30 fps) and `hands-modes` (10 to 10, three modes)."""
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder, "hands-thirty", HandForecast(past=30, future=30, fps=30))
    make_bundle(folder, "hands-modes", HandForecast(past=10, future=10, fps=30, modes=3))
    return folder


@pytest.fixture(scope="session")
def settings(bundles: Path) -> Settings:
    return Settings(bundles=bundles, default_model="hands-thirty", max_body_bytes=MAX_BODY)


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[TestClient]:
    """A client of a running app; an error that the service did not expect comes as its 500, not as an exception."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
