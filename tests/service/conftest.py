"""Fixtures of a service with small bundles, whose ONNX graphs are written here so that only the service is under test."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from clouds import bumpy_cloud, inputs_of
from fastapi.testclient import TestClient
from hand_motion import moving_hands
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Browser
from waiting import PATIENCE_S

from models.contract.bundle import BundleMeta, Measurement, TrainingSource, write_bundle
from models.contract.runtime import onnxruntime
from models.contract.task import ActionRecognition, FaceLandmarks, HandForecast, PoseForecast, PoseLift, Task
from models.skeletons.body_orders import get_body_order
from models.skeletons.face import FACE68, INTEROCULAR
from service.app import create_app
from service.settings import Settings

from .browser import chromium
from .processes import Stack, stack

SHIPPED = Path(__file__).parents[2] / "bundles"

if "CHIRON_STATE" not in os.environ:  # keeps jobs of tests out of the checkout
    os.environ["CHIRON_STATE"] = tempfile.mkdtemp(prefix="chiron-")
    atexit.register(shutil.rmtree, os.environ["CHIRON_STATE"], ignore_errors=True)
for limit in (
    "DEADLINE_S",
    "BODY_PAUSE_S",
    "BODY_S",
):  # a busy machine misses the default deadlines; tests of deadlines set their own
    os.environ.setdefault(f"CHIRON_{limit}", str(PATIENCE_S))
os.environ.setdefault("CHIRON_DECODERS", "0")  # tests change what threads compute; those of processes start some
os.environ.setdefault("CHIRON_HOSTS", "*")  # the test client's host is "testserver"

OPSET = 17
MAX_BODY, MAX_SCAN = 1_000_000, 4_000_000
ARMS = ("left up", "right up", "neither")


def constant_velocity(task: HandForecast) -> bytes:
    """Write a graph that continues every joint at its last velocity; mode m moves at 1/(m+1) of it."""
    past, future, modes = task.past, task.future, task.modes
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
    return graph_of("constant-velocity", nodes, constants, task)


def seen_means(task: HandForecast) -> bytes:
    """Write a graph of a masked task with spread whose velocity is that from the mean of the seen frames to the newest of them.

    The newest place is a mean of the seen frames in which each weighs 1000 times the one before. Mode m moves at 1/(m+1) of the velocity.
    Standard deviations grow by a millimetre a frame, and by another for each frame in which the joint was not seen.
    """
    past, future, modes = task.past, task.future, task.modes
    steps = np.arange(1, future + 1, dtype=np.float32)
    constants = {
        "axes": np.array([3]),
        "time": np.array([1]),
        "recent": (1000.0 ** np.maximum(np.arange(past) - past + 1, -9)).astype(np.float32).reshape(1, past, 1, 1),
        "tiny": np.array([1e-30], np.float32),
        "steps": steps.reshape(1, 1, future, 1, 1)
        / np.arange(1, modes + 1, dtype=np.float32).reshape(1, modes, 1, 1, 1)
        / past,
        "frames": np.array([past], np.float32),
        "one": np.array([1.0], np.float32),
        "millimetres": steps.reshape(1, future, 1) / 1000,
        "shares": np.linspace(1, 0, modes, dtype=np.float32).reshape(1, modes),
        "nothing": np.zeros(1, np.float32),
        "mode_axis": np.array([1, 2]),
        "all": np.array([1, 2]),
        "beside": np.array([1]),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["seen", "axes"], ["weight"]),
        helper.make_node("Mul", ["past", "weight"], ["known"]),
        *_weighted_mean("known", "weight", "mean"),
        helper.make_node("Mul", ["known", "recent"], ["known_recent"]),
        helper.make_node("Mul", ["weight", "recent"], ["weight_recent"]),
        *_weighted_mean("known_recent", "weight_recent", "last"),
        helper.make_node("Sub", ["last", "mean"], ["velocity"]),
        helper.make_node("Unsqueeze", ["velocity", "mode_axis"], ["velocities"]),
        helper.make_node("Unsqueeze", ["last", "mode_axis"], ["origin"]),
        helper.make_node("Mul", ["velocities", "steps"], ["moved"]),
        helper.make_node("Add", ["origin", "moved"], ["future"]),
        helper.make_node("ReduceSum", ["seen", "time"], ["count"], keepdims=1),
        helper.make_node("Sub", ["frames", "count"], ["missing"]),
        helper.make_node("Add", ["missing", "one"], ["unsure"]),
        helper.make_node("Mul", ["unsure", "millimetres"], ["std"]),
        helper.make_node("ReduceSum", ["seen", "all"], ["total"], keepdims=0),
        helper.make_node("Unsqueeze", ["total", "beside"], ["totals"]),
        helper.make_node("Mul", ["totals", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "shares"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["weights"], axis=1),
    ]
    return graph_of("seen-means", nodes, constants, task)


def _weighted_mean(values: str, weights: str, name: str) -> list[onnx.NodeProto]:
    """Return nodes for the sum over frames of `values` divided by that of `weights`."""
    return [
        helper.make_node("ReduceSum", [values, "time"], [f"{name}_sum"], keepdims=0),
        helper.make_node("ReduceSum", [weights, "time"], [f"{name}_weight"], keepdims=0),
        helper.make_node("Add", [f"{name}_weight", "tiny"], [f"{name}_positive"]),
        helper.make_node("Div", [f"{name}_sum", f"{name}_positive"], [name]),
    ]


ASIDE_M = np.interp(np.arange(len(FACE68.joints)), INTEROCULAR, (-0.05, 0.03))


def shells(task: FaceLandmarks) -> bytes:
    """Write a graph whose landmark l is the mean of the points near radius l from the centroid, weighted by heatmap l, plus an offset.

    The offset of landmark l has length ASIDE_M[l] and the direction of the first point, so that the landmarks span a face. The graph
    is confident only for clouds of the size of a face.
    """
    sigma, landmarks = 0.004, len(FACE68.joints)
    constants = {
        "radii": np.linspace(0.05, 0.12, landmarks, dtype=np.float32).reshape(1, -1, 1),
        "widths": np.array([-0.5 / sigma**2], np.float32),
        "largest": np.array([0.2], np.float32),
        "first": np.array([0]),
        "aside": ASIDE_M.astype(np.float32).reshape(1, -1, 1),
        "steepness": np.array([50.0], np.float32),
        "doubts": np.linspace(0, -1, landmarks, dtype=np.float32).reshape(1, -1),
    }
    nodes = [
        helper.make_node("ReduceMean", ["points"], ["centre"], axes=[1]),
        helper.make_node("Sub", ["points", "centre"], ["exactly"]),
        helper.make_node("Cast", ["exactly"], ["apart"], to=TensorProto.FLOAT),
        helper.make_node("ReduceL2", ["apart"], ["distances"], axes=[2]),
        helper.make_node("Transpose", ["distances"], ["row"], perm=[0, 2, 1]),
        helper.make_node("Sub", ["row", "radii"], ["beside"]),
        helper.make_node("Mul", ["beside", "beside"], ["squares"]),
        helper.make_node("Mul", ["squares", "widths"], ["logits"]),
        helper.make_node("Exp", ["logits"], ["heatmaps"]),
        helper.make_node("Softmax", ["logits"], ["weights"], axis=2),
        helper.make_node("MatMul", ["weights", "apart"], ["means"]),
        helper.make_node("Gather", ["apart", "first"], ["outward"], axis=1),
        helper.make_node("ReduceL2", ["outward"], ["length"], axes=[2]),
        helper.make_node("Div", ["outward", "length"], ["direction"]),
        helper.make_node("Mul", ["direction", "aside"], ["offsets"]),
        helper.make_node("Add", ["means", "offsets"], ["votes"]),
        helper.make_node("Cast", ["votes"], ["exact_means"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["exact_means", "centre"], ["landmarks"]),
        helper.make_node("ReduceMean", ["distances"], ["size"], axes=[1], keepdims=0),
        helper.make_node("Sub", ["largest", "size"], ["smaller"]),
        helper.make_node("Mul", ["smaller", "steepness"], ["sure"]),
        helper.make_node("Add", ["sure", "doubts"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["confidence"]),
    ]
    return graph_of("shells", nodes, constants, task)


def window_means(task: PoseLift) -> bytes:
    """Write a graph whose pose is the window's mean keypoints relative to the pelvis; the last channel serves as depth."""
    joints, numbers = len(get_body_order(task.order).joints), 3 if task.confidence else 2
    constants = {
        "rows": np.array([0, -1, joints * numbers]),
        "bodies": np.array([0, -1, joints, numbers]),
        "pelvis": np.array([get_body_order(task.order).joints.index("pelvis")]),
        "channels": np.array([0, 1, numbers - 1]),
    }
    nodes = [
        helper.make_node("Reshape", ["keypoints", "rows"], ["frames_first"]),
        helper.make_node("Transpose", ["frames_first"], ["frames_last"], perm=[0, 2, 1]),
        helper.make_node("AveragePool", ["frames_last"], ["means_last"], kernel_shape=[task.receptive]),
        helper.make_node("Transpose", ["means_last"], ["means_first"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["means_first", "bodies"], ["means"]),
        helper.make_node("Gather", ["means", "pelvis"], ["origin"], axis=2),
        helper.make_node("Sub", ["means", "origin"], ["from_pelvis"]),
        helper.make_node("Gather", ["from_pelvis", "channels"], ["poses"], axis=3),
    ]
    return graph_of("window-means", nodes, constants, task)


def onwards_2d(task: PoseForecast) -> bytes:
    """Write a graph that continues every keypoint at its last velocity."""
    constants = {
        "xy": np.array([0, 1]),
        "last_index": np.array([task.past - 1]),
        "previous_index": np.array([task.past - 2]),
        "steps": np.arange(1, task.future + 1, dtype=np.float32).reshape(1, -1, 1, 1),
    }
    nodes = [
        helper.make_node("Gather", ["past", "xy"], ["seen"], axis=3),
        helper.make_node("Gather", ["seen", "last_index"], ["last"], axis=1),
        helper.make_node("Gather", ["seen", "previous_index"], ["previous"], axis=1),
        helper.make_node("Sub", ["last", "previous"], ["velocity"]),
        helper.make_node("Mul", ["velocity", "steps"], ["moved"]),
        helper.make_node("Add", ["last", "moved"], ["future"]),
    ]
    return graph_of("onwards", nodes, constants, task)


def raised_wrists(task: ActionRecognition) -> bytes:
    """Write a graph whose logits of left up, right up and neither are the wrists' mean heights, and 0.1, or -9 beside none."""
    joints = get_body_order(task.order).joints
    constants = {
        "wrists": np.array([joints.index("left_wrist"), joints.index("right_wrist")]),
        "height": np.array(1),
        "neither": np.full((1, 1), -9.0 if task.none else 0.1, np.float32),
        "none": np.zeros((1, 1), np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["clips", "height"], ["heights"], axis=4),
        helper.make_node("Gather", ["heights", "wrists"], ["two"], axis=3),
        helper.make_node("ReduceMean", ["two"], ["sides"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["sides"], ["both"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["both", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "neither"], ["third"]),
        helper.make_node("Concat", ["sides", "third"], ["logits"], axis=1),
    ]
    return graph_of("raised-wrists", nodes, constants, task)


def graph_of(name: str, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], task: Task) -> bytes:
    """Return an ONNX file with the inputs and outputs of the task."""
    kinds = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}
    inputs, outputs = (
        [helper.make_tensor_value_info(key, kinds[spec.dtype], spec.shape) for key, spec in specs.items()]
        for specs in (task.inputs, task.outputs)
    )
    graph = helper.make_graph(
        nodes, name, inputs, outputs, [numpy_helper.from_array(array, key) for key, array in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def make_bundle(
    parent: Path, name: str, task: Task, model: bytes, inputs: dict[str, np.ndarray], baseline: float | None = None
) -> Path:
    """Write a complete bundle of the graph to `parent`/`name`, with `inputs` as its example.

    Its error is 12.5 mm; `baseline` is that of the best forecast without weights.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = {key: np.asarray(x) for key, x in zip(task.outputs, session.run(list(task.outputs), inputs), strict=True)}
    error = Measurement(
        metric="error", value=12.5, unit="mm", split="test", source="made up", windows=100, recordings=2,
        baseline=None if baseline is None else "hold", baseline_value=baseline,
    )  # fmt: skip
    symmetries = {
        "hand-forecast": ("translation", "rotation", "mirror-swap"),
        "face-landmarks": ("translation", "rotation"),
    }
    meta = BundleMeta(
        name=name,
        title="Made in a test",
        task=task,
        symmetries=symmetries.get(task.kind, ("chirality",)),
        network="no network",
        parameters=0,
        opset=OPSET,
        licence="Apache-2.0",
        trained_on=(TrainingSource(name="nothing", licence="none", attribution="nobody", recordings=0),),
        measurements=(error, error.model_copy(update={"split": "validation"})),
        command="python -m training export nothing",
        git_commit="0" * 40,
        made_with={"onnx": onnx.__version__},
    )
    write_bundle(parent / name, meta, model, inputs, outputs)
    return parent / name


def make_hands(parent: Path, name: str, task: HandForecast, baseline: float | None = None) -> Path:
    inputs = {"past": moving_hands(task.past, hands=2).astype(np.float32)[None]}
    if task.masked:
        inputs["seen"] = np.ones(inputs["past"].shape[:3], np.float32)
        inputs["seen"][:, 2:5, 3:9] = 0
    graph = seen_means(task) if task.masked else constant_velocity(task)
    return make_bundle(parent, name, task, graph, inputs, baseline)


def make_face(parent: Path, name: str, task: FaceLandmarks) -> Path:
    return make_bundle(parent, name, task, shells(task), inputs_of(task, bumpy_cloud(2000)))


def make_lifter(parent: Path, name: str, task: PoseLift) -> Path:
    keypoints = moving_body(task.receptive + 3, 2)[None] / 1000
    ones = np.ones((*keypoints.shape[:-1], int(task.confidence)))
    inputs = {"keypoints": np.concatenate([keypoints, ones], axis=-1).astype(np.float32)}
    return make_bundle(parent, name, task, window_means(task), inputs)


def make_forecaster(parent: Path, name: str, task: PoseForecast) -> Path:
    past = moving_body(task.past, 2, len(get_body_order(task.order).joints))[None] / 1000
    ones = np.ones((*past.shape[:-1], int(task.confidence)))
    inputs = {"past": np.concatenate([past, ones], axis=-1).astype(np.float32)}
    return make_bundle(parent, name, task, onwards_2d(task), inputs)


def make_recogniser(parent: Path, name: str, task: ActionRecognition) -> Path:
    joints = len(get_body_order(task.order).joints)
    clips = np.stack([moving_body(task.frames, task.dims, joints, seed) / 1000 for seed in range(task.persons)])[None]
    inputs = {"clips": np.concatenate([clips, np.ones((*clips.shape[:-1], 1))], axis=-1).astype(np.float32)}
    return make_bundle(parent, name, task, raised_wrists(task), inputs)


def moving_body(frames: int, dims: int, joints: int = 17, seed: int = 0) -> np.ndarray:
    """Return (frames, joints, dims): points within some hundred units of 500 that drift and wave smoothly.

    In three dimensions the head of Human3.6M's order is above the hips.
    """
    rng = np.random.default_rng(seed)
    rest = 500 + rng.normal(scale=100, size=(1, joints, dims))
    if dims == 3:
        rest[:, 9:11, 1] = rest[..., 1].max() + 400
    time = np.arange(frames).reshape(frames, 1, 1) / 30
    wave = 30 * np.sin(3 * time + rng.uniform(0, 6, size=(1, joints, dims)))
    return rest + wave + 20 * time * rng.normal(size=(1, 1, dims))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder of bundles for hands, faces and bodies.

    `hands-thirty` forecasts 30 frames from 30 at 30 fps; `hands-modes` forecasts 10 from 10 in three modes.
    `hands-unsure` does so too, and takes joints that were not seen and has standard deviations and probabilities. Models of bodies take
    confidences, except those named `-sure`. One recogniser takes one person in 3D, the other takes two in 2D.
    """
    folder = tmp_path_factory.mktemp("bundles")
    make_hands(folder, "hands-thirty", HandForecast(past=30, future=30, fps=30))
    make_hands(folder, "hands-modes", HandForecast(past=10, future=10, fps=30, modes=3))
    make_hands(folder, "hands-unsure", HandForecast(past=10, future=10, fps=30, modes=3, masked=True, spread=True))
    make_face(folder, "face-shells", FaceLandmarks())
    make_lifter(folder, "lift-means", PoseLift(receptive=9, confidence=True))
    make_lifter(folder, "lift-sure", PoseLift(receptive=3, fps=25))
    make_forecaster(folder, "poses-onwards", PoseForecast(past=10, future=10, fps=10, confidence=True))
    make_forecaster(folder, "poses-sure", PoseForecast(order="penn-13", past=5, future=3, fps=10))
    make_recogniser(folder, "actions-3d", ActionRecognition(
        order="h36m-17", classes=ARMS, dims=3, frames=20, turned=True, mirrored=(1, 0, 2)
    ))  # fmt: skip
    make_recogniser(folder, "actions-pairs", ActionRecognition(
        order="coco-17", classes=ARMS, persons=2, frames=16, tempo="crop", mirrored=(1, 0, 2)
    ))  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def settings(bundles: Path) -> Settings:
    return Settings(bundles=bundles, default_model="hands-thirty", max_body_bytes=MAX_BODY, max_scan_bytes=MAX_SCAN)


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[TestClient]:
    """Return a client of a running application; an unexpected error is a 500 response, not an exception."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run a service with the shipped models and without keys; the browser comes first, so that nothing starts where there is none."""
    with stack(tmp_path_factory.mktemp("data"), SHIPPED) as running:
        running.api()
        yield running
