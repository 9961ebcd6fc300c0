"""Tests of the shipped hand and face models over a socket: accuracy on real data, symmetry, and independence of batches."""

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from clouds import bumpy_cloud
from waiting import post

from models.contract.bundle import META, model_card, read_bundle
from models.contract.cpus import usable_cpus
from models.contract.preference import preference, standing
from models.contract.symmetry import SYMMETRIES, random_rotation
from models.contract.task import HandForecast, Task
from models.scans.files import read_scan
from training.catalogue import all_runs
from training.engine.export import onnx_runner
from training.tasks.hands.data import HandBatches, HandData
from training.tasks.hands.windows import Window

from .scans import NPZ, ply
from .test_server import Running, start, stop

pytestmark = pytest.mark.long(30)

SHIPPED = Path(__file__).resolve().parents[2] / "bundles"
KINDS = {path.parent.name: json.loads(path.read_text())["task"]["kind"] for path in sorted(SHIPPED.glob(f"*/{META}"))}
HANDS, FACES = (
    [name for name, kind in KINDS.items() if kind == task_kind] for task_kind in ("hand-forecast", "face-landmarks")
)
FPS = {name: json.loads((SHIPPED / name / META).read_text())["task"]["fps"] for name in HANDS}
SCANS = ("humface", "lee_perry_smith")
SHARE_ALIKE = "CC BY-SA 3.0"  # derived works must have the same licence
MAY_SHIP = {"Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0", "CC BY 4.0", "free for all uses, no resale", SHARE_ALIKE}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = start(SHIPPED, CHIRON_SLOTS=str(usable_cpus()))
    yield running
    stop(running)


def ask(server: Running, model: str, past: np.ndarray, **fields) -> np.ndarray:
    """Return the forecast for `past` (frames, nodes, 3), at the model's rate, as an array."""
    body = {"fps": FPS[model], "model": model, "past": past.astype(float).tolist(), **fields}
    response = post(f"{server.url}/forecast/hands", json=body)
    assert response.status_code == 200, response.text
    return np.array(response.json()["future"])


def batches_of(name: str, data_folder: Path, sources: int | None = None) -> HandBatches:
    """Return the windows of the sources on the card of a bundle, or of the first `sources` of them."""
    meta = read_bundle(SHIPPED / name).meta
    assert isinstance(meta.task, HandForecast)
    window = Window(meta.task.past, meta.task.future, meta.task.fps)
    measured = tuple(dict.fromkeys(one.source for one in meta.measurements))
    run = all_runs().get(name)
    return HandData(measured[:sources], window, rates=run.data.rates if run else None).load(data_folder)


def inputs_of(past: np.ndarray, task: Task) -> dict[str, np.ndarray]:
    """Return the inputs of a forecaster for pasts that were wholly seen."""
    return {"past": past, **({"seen": np.ones(past.shape[:3], np.float32)} if "seen" in task.inputs else {})}


def test_hand_forecasters_are_shipped_beside_those_without_weights():
    assert {"hands-eqmotion", "hands-latency", "hands-hold", "hands-damped", "hands-kalman"} <= set(HANDS)


def test_the_default_hand_forecaster_is_the_one_of_a_second_and_not_the_better_one_of_less():
    metas = {name: read_bundle(SHIPPED / name).meta for name in HANDS}
    best = {name: found for name, meta in metas.items() if (found := standing(meta))}
    assert min(metas.values(), key=preference).name == "hands-forecast"
    assert best["hands-latency"].ratio < best["hands-forecast"].ratio < 1, "so the ratio alone would choose otherwise"


@pytest.mark.parametrize("name", KINDS)
def test_a_shipped_model_is_trained_on_permitted_data_that_its_card_lists(name):
    meta = read_bundle(SHIPPED / name).meta
    assert meta.trained_on or name == "hands-hold", "expected the sources of whatever was fitted"
    licences = {source.licence for source in meta.trained_on}
    assert licences <= MAY_SHIP
    assert (SHARE_ALIKE in licences) == (meta.licence == "CC-BY-SA-3.0")
    assert (SHIPPED / name / "README.md").read_text() == model_card(meta)
    assert {m.split for m in meta.measurements} == {"test"}


@pytest.mark.parametrize("name", HANDS)
def test_the_error_on_test_clips_is_the_one_on_the_card(server, data_folder, name):
    """The graph's mean error over all test windows is the card's to 0.01 mm, and requests get the graph's answers."""
    batches, meta = batches_of(name, data_folder), read_bundle(SHIPPED / name).meta
    graph = onnx_runner(read_bundle(SHIPPED / name).model.read_bytes())
    for measured in meta.measurements:
        hands = 2 if measured.metric.endswith("two hands") else 1
        windows = batches.windows("test", hands, (measured.source,), phases="first")
        assert len(windows) == measured.windows
        past, true = windows.past_future(np.arange(len(windows)))
        answers = np.concatenate(
            [graph(inputs_of(chunk, meta.task))["future"][:, 0] for chunk in np.array_split(past, -(-len(past) // 32))]
        )
        error = 1000 * np.linalg.norm(answers - true, axis=-1).mean()
        assert error == pytest.approx(measured.value, abs=0.01)
        for at in range(0, len(past), max(20, len(past) // 12)):
            assert np.abs(ask(server, name, past[at]) - answers[at]).max() <= 2e-6


@pytest.mark.parametrize("name", HANDS)
@pytest.mark.parametrize("symmetry", ["translation", "rotation", "mirror-swap"])
@pytest.mark.parametrize("hands", [1, 2])
def test_the_answer_to_a_transformed_clip_is_the_transformed_answer(server, data_folder, name, symmetry, hands):
    """The tolerance is 1e-5 m within 10 m of the origin."""
    windows = batches_of(name, data_folder, 2).windows("test", hands, phases="first")
    past, _ = windows.past_future(np.linspace(0, len(windows) - 1, 4).astype(int))
    rng = np.random.default_rng(0)
    for clip in past.astype(float):
        straight = ask(server, name, clip)
        for _ in range(3):
            act = SYMMETRIES[symmetry](rng)
            assert np.abs(ask(server, name, act(clip)) - act(straight)).max() <= 1e-5


@pytest.mark.parametrize("name", [name for name in HANDS if read_bundle(SHIPPED / name).meta.parameters])
def test_the_answer_does_not_commute_with_a_shear(server, data_folder, name):
    """Control for the test of symmetries: shearing is not one. The forecasts without weights are linear and commute with it."""
    windows = batches_of(name, data_folder, 2).windows("test", 2, phases="first")
    clip = windows.past_future(np.array([len(windows) // 2]))[0][0].astype(float)
    shear = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert np.abs(ask(server, name, clip @ shear.T) - ask(server, name, clip) @ shear.T).max() > 1e-4


@pytest.mark.parametrize("name", HANDS)
def test_a_forecast_does_not_depend_on_concurrent_requests(server, data_folder, name):
    windows = batches_of(name, data_folder, 2).windows("test", 2, phases="first")
    past, _ = windows.past_future(np.linspace(0, len(windows) - 1, 16).astype(int))
    alone = [ask(server, name, clip) for clip in past]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda clip: ask(server, name, clip), past))
    np.testing.assert_allclose(together, alone, rtol=0, atol=1.5e-6)  # one unit of the last decimal: the batches differ


def find(server: Running, model: str, body: bytes, **query: str) -> dict[str, np.ndarray]:
    """Return the answer to a .ply as arrays."""
    response = post(
        f"{server.url}/landmarks/face",
        params={"model": model, "heatmaps": "points", **query},
        content=body,
        headers={"content-type": "model/ply", "accept": NPZ},
    )
    assert response.status_code == 200, response.text
    return dict(np.load(io.BytesIO(response.content), allow_pickle=False))


def raw_scans(data_folder: Path) -> Path:
    return data_folder / "faces" / "raw_scans"


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("scan", SCANS)
def test_landmarks_of_a_moved_real_scan_are_the_moved_landmarks(server, data_folder, name, scan):
    """For 20 random motions within 10 m, landmarks agree to a micrometre, heatmaps and confidence to 1e-5."""
    mesh = read_scan((raw_scans(data_folder) / f"{scan}.ply").read_bytes(), ".ply")
    straight, rng = find(server, name, ply(mesh.points, mesh.triangles)), np.random.default_rng(0)
    assert str(straight["units"]) == "mm"
    for _ in range(20):
        turn, offset = random_rotation(rng), rng.uniform(-10_000, 10_000, 3)
        turned = find(server, name, ply(mesh.points @ turn.T + offset, mesh.triangles))
        expected = straight["landmarks"] @ turn.T + offset
        assert np.linalg.norm(turned["landmarks"] - expected, axis=1).max() <= 1e-3
        for invariant in ("heatmaps", "confidence"):
            assert np.abs(turned[invariant] - straight[invariant]).max() <= 1e-5


@pytest.mark.parametrize("name", FACES)
def test_landmarks_of_a_mirrored_scan_are_not_the_mirrored_landmarks(server, data_folder, name):
    """Control: a network that cannot tell left from right would answer with the mirror image."""
    mesh = read_scan((raw_scans(data_folder) / "humface.ply").read_bytes(), ".ply")
    mirror = np.array([-1.0, 1, 1])
    straight = find(server, name, ply(mesh.points, mesh.triangles))["landmarks"]
    assert (
        np.abs(find(server, name, ply(mesh.points * mirror, mesh.triangles))["landmarks"] - straight * mirror).max() > 1
    )


@pytest.mark.parametrize("name", FACES)
def test_landmarks_of_a_real_scan_are_close_to_manual_ones(server, data_folder, name):
    """The seven manual points are the corners of the eyes and of the mouth and the tip of the nose."""
    folder = raw_scans(data_folder)
    with (folder / "humface_landmarks7_manual.csv").open() as file:
        manual = {int(row["ibug"]): [float(row[axis]) for axis in "xyz"] for row in csv.DictReader(file)}
    landmarks = find(server, name, (folder / "humface.ply").read_bytes())["landmarks"]
    assert np.linalg.norm(landmarks[list(manual)] - list(manual.values()), axis=1).mean() < 5.0


def other_shapes() -> dict[str, np.ndarray]:
    """Return clouds of 8192 points of the size of a face, in metres."""
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((8192, 3))
    ball *= 0.1 / np.linalg.norm(ball, axis=1, keepdims=True)
    box = rng.uniform(-0.1, 0.1, (8192, 3))
    box[np.arange(8192), rng.integers(0, 3, 8192)] = 0.1 * rng.choice([-1, 1], 8192)
    return {
        "ball": ball,
        "egg": ball * [0.8, 1.2, 1.0],
        "box": box,
        "board": box * [1, 1, 0.001],
        "bumps": bumpy_cloud(8192),
    }


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("shape", other_shapes())
def test_a_cloud_without_a_face_gets_the_no_face_problem(server, name, shape):
    body = io.BytesIO()
    np.save(body, other_shapes()[shape])
    response = post(
        f"{server.url}/landmarks/face",
        params={"model": name, "units": "m"},
        content=body.getvalue(),
        headers={"content-type": "application/x-npy"},
    )
    assert (response.status_code, response.json()["type"]) == (422, "/problems/no-face")


@pytest.mark.parametrize("name", FACES)
def test_landmarks_do_not_depend_on_concurrent_requests(server, data_folder, name):
    bodies = [(raw_scans(data_folder) / f"{scan}.ply").read_bytes() for scan in SCANS]
    alone = [find(server, name, body) for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: find(server, name, body), bodies * 8))
    for index, answer in enumerate(together):
        np.testing.assert_array_equal(answer["landmarks"], alone[index % 2]["landmarks"])
        np.testing.assert_array_equal(answer["heatmaps"], alone[index % 2]["heatmaps"])
