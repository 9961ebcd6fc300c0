"""The bundles that ship, over a real socket: they answer real clips and scans as well as they say, and turn with them."""

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
from models.contract.symmetry import SYMMETRIES, random_rotation
from models.contract.task import HandForecast
from models.scans.files import read_scan
from training.engine.export import onnx_runner
from training.tasks.hands.data import HandBatches, HandData
from training.tasks.hands.windows import Window

from .scans import NPZ, ply
from .test_server import Running, start, stop

pytestmark = pytest.mark.long

SHIPPED = Path(__file__).resolve().parents[2] / "bundles"
KINDS = {path.parent.name: json.loads(path.read_text())["task"]["kind"] for path in sorted(SHIPPED.glob(f"*/{META}"))}
HANDS, FACES = (
    [name for name, kind in KINDS.items() if kind == wanted] for wanted in ("hand-forecast", "face-landmarks")
)
SCANS = ("humface", "lee_perry_smith")
SHARE_ALIKE = "CC BY-SA 3.0"  # what is made of it is under the same licence
MAY_SHIP = {"Apache-2.0", "MIT", "CC0-1.0", "CC BY 4.0", "free for all uses, no resale", SHARE_ALIKE}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = start(SHIPPED, CHIRON_SLOTS=str(usable_cpus()))
    yield running
    stop(running)


def ask(server: Running, model: str, past: np.ndarray, **fields) -> np.ndarray:
    """The forecast of past (frames, nodes, 3), as an array."""
    body = {"fps": 30, "model": model, "past": past.astype(float).tolist(), **fields}
    response = post(f"{server.url}/forecast/hands", json=body)
    assert response.status_code == 200, response.text
    return np.array(response.json()["future"])


def batches_of(name: str, data_folder: Path) -> HandBatches:
    meta = read_bundle(SHIPPED / name).meta
    assert isinstance(meta.task, HandForecast)
    window = Window(meta.task.past, meta.task.future, meta.task.fps)
    return HandData(tuple(source.name for source in meta.trained_on), window).load(data_folder)


def test_there_is_a_shipped_bundle():
    assert "hands-eqmotion" in HANDS


@pytest.mark.parametrize("name", KINDS)
def test_it_was_trained_on_data_that_may_ship_and_says_so_on_its_card(name):
    meta = read_bundle(SHIPPED / name).meta
    assert meta.trained_on
    licences = {source.licence for source in meta.trained_on}
    assert licences <= MAY_SHIP
    assert (SHARE_ALIKE in licences) == (meta.licence == "CC-BY-SA-3.0")
    assert (SHIPPED / name / "README.md").read_text() == model_card(meta)
    assert {m.split for m in meta.measurements} == {"test"}


@pytest.mark.parametrize("name", HANDS)
def test_real_test_clips_are_forecast_as_well_as_the_card_says(server, data_folder, name):
    """Over every test window of its sources the graph's mean error is the card's to 0.01 mm, and a request has the graph's answer."""
    batches, meta = batches_of(name, data_folder), read_bundle(SHIPPED / name).meta
    graph = onnx_runner(read_bundle(SHIPPED / name).model.read_bytes())
    for measured in meta.measurements:
        hands = 2 if measured.metric.endswith("two hands") else 1
        windows = batches.windows("test", hands, (measured.source,), phases="first")
        assert len(windows) == measured.windows
        past, true = windows.past_future(np.arange(len(windows)))
        answers = np.concatenate(
            [graph({"past": chunk})["future"][:, 0] for chunk in np.array_split(past, -(-len(past) // 32))]
        )
        error = 1000 * np.linalg.norm(answers - true, axis=-1).mean()
        assert error == pytest.approx(measured.value, abs=0.01)
        for at in range(0, len(past), 20):
            assert np.abs(ask(server, name, past[at]) - answers[at]).max() <= 2e-6


@pytest.mark.parametrize("name", HANDS)
@pytest.mark.parametrize("symmetry", ["translation", "rotation", "mirror-swap"])
@pytest.mark.parametrize("hands", [1, 2])
def test_turning_moving_or_mirroring_a_real_request_does_so_to_the_answer(server, data_folder, name, symmetry, hands):
    """To 1e-5 m, within 10 m of the origin."""
    windows = batches_of(name, data_folder).windows("test", hands, phases="first")
    past, _ = windows.past_future(np.linspace(0, len(windows) - 1, 4).astype(int))
    rng = np.random.default_rng(0)
    for clip in past.astype(float):
        straight = ask(server, name, clip)
        for _ in range(3):
            act = SYMMETRIES[symmetry](rng)
            assert np.abs(ask(server, name, act(clip)) - act(straight)).max() <= 1e-5


@pytest.mark.parametrize("name", HANDS)
def test_an_answer_that_should_not_turn_with_the_request_does_not(server, data_folder, name):
    """The control: shearing is no symmetry, and the comparison above would see it."""
    windows = batches_of(name, data_folder).windows("test", 2, phases="first")
    clip = windows.past_future(np.array([len(windows) // 2]))[0][0].astype(float)
    shear = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert np.abs(ask(server, name, clip @ shear.T) - ask(server, name, clip) @ shear.T).max() > 1e-4


@pytest.mark.parametrize("name", HANDS)
def test_company_never_changes_an_answer(server, data_folder, name):
    windows = batches_of(name, data_folder).windows("test", 2, phases="first")
    past, _ = windows.past_future(np.linspace(0, len(windows) - 1, 16).astype(int))
    alone = [ask(server, name, clip) for clip in past]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda clip: ask(server, name, clip), past))
    np.testing.assert_array_equal(alone, together)


def find(server: Running, model: str, body: bytes, **query: str) -> dict[str, np.ndarray]:
    """The answer to a .ply, as arrays."""
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
def test_turning_and_moving_a_real_scan_moves_its_landmarks_and_changes_nothing_else(server, data_folder, name, scan):
    """20 random rotations and translations within 10 m: points to a micrometre, heatmaps and confidence to 1e-5."""
    mesh = read_scan((raw_scans(data_folder) / f"{scan}.ply").read_bytes(), ".ply")
    straight, rng = find(server, name, ply(mesh.points, mesh.triangles)), np.random.default_rng(0)
    assert str(straight["units"]) == "mm"
    for _ in range(20):
        turn, offset = random_rotation(rng), rng.uniform(-10_000, 10_000, 3)
        turned = find(server, name, ply(mesh.points @ turn.T + offset, mesh.triangles))
        wanted = straight["landmarks"] @ turn.T + offset
        assert np.linalg.norm(turned["landmarks"] - wanted, axis=1).max() <= 1e-3
        for invariant in ("heatmaps", "confidence"):
            assert np.abs(turned[invariant] - straight[invariant]).max() <= 1e-5


@pytest.mark.parametrize("name", FACES)
def test_a_mirrored_face_is_another_face(server, data_folder, name):
    """The control: what is right becomes left, and a network that could not tell would answer with the mirror image."""
    mesh = read_scan((raw_scans(data_folder) / "humface.ply").read_bytes(), ".ply")
    mirror = np.array([-1.0, 1, 1])
    straight = find(server, name, ply(mesh.points, mesh.triangles))["landmarks"]
    assert (
        np.abs(find(server, name, ply(mesh.points * mirror, mesh.triangles))["landmarks"] - straight * mirror).max() > 1
    )


@pytest.mark.parametrize("name", FACES)
def test_on_a_real_scan_the_landmarks_are_where_a_person_put_them(server, data_folder, name):
    """The seven points that came with the scan: corners of the eyes and of the mouth, tip of the nose."""
    folder = raw_scans(data_folder)
    with (folder / "humface_landmarks7_manual.csv").open() as file:
        manual = {int(row["ibug"]): [float(row[axis]) for axis in "xyz"] for row in csv.DictReader(file)}
    found = find(server, name, (folder / "humface.ply").read_bytes())["landmarks"]
    assert np.linalg.norm(found[list(manual)] - list(manual.values()), axis=1).mean() < 5.0


def other_things() -> dict[str, np.ndarray]:
    """Clouds of 8192 points of the size of a face, in metres."""
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
@pytest.mark.parametrize("thing", other_things())
def test_what_is_no_face_is_said_to_be_none(server, name, thing):
    body = io.BytesIO()
    np.save(body, other_things()[thing])
    response = post(
        f"{server.url}/landmarks/face",
        params={"model": name, "units": "m"},
        content=body.getvalue(),
        headers={"content-type": "application/x-npy"},
    )
    assert (response.status_code, response.json()["type"]) == (422, "/problems/no-face")


@pytest.mark.parametrize("name", FACES)
def test_company_never_changes_what_is_found_on_a_scan(server, data_folder, name):
    bodies = [(raw_scans(data_folder) / f"{scan}.ply").read_bytes() for scan in SCANS]
    alone = [find(server, name, body) for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: find(server, name, body), bodies * 8))
    for index, answer in enumerate(together):
        np.testing.assert_array_equal(answer["landmarks"], alone[index % 2]["landmarks"])
        np.testing.assert_array_equal(answer["heatmaps"], alone[index % 2]["heatmaps"])
