"""Tests of the shipped landmark network on depth maps over a socket: its laws, real faces, refusals and the choice of models."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from waiting import get, post

from models.contract.bundle import read_bundle
from models.contract.cpus import usable_cpus
from models.contract.symmetry import random_rotation
from models.scans.cloud import Scan
from models.scans.files import read_scan
from models.skeletons.face import FACE68

from .scans import NPZ, ply
from .test_server import Running, start, stop
from .test_shipped_bundles import SHIPPED, other_shapes

pytestmark = pytest.mark.long(30)

NAME = "face-depth"
QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about the scan's z axis
EXACT_MM = 1e-3
# by which any rotation changes landmarks: 1.3 and 3.8 are the largest on three faces of facefuns
MEAN_MM, MOST_MM = 2.0, 6.0
BUST_MM = 7.0  # the scale of that scan is a guess; the mean was 3.9 to 5.2 in six poses


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = start(SHIPPED, CHIRON_SLOTS=str(usable_cpus()))
    yield running
    stop(running)


@pytest.fixture(scope="module")
def scan(data_folder: Path) -> Scan:
    return read_scan((data_folder / "faces" / "raw_scans" / "humface.ply").read_bytes(), ".ply")


def find(server: Running, points: np.ndarray, triangles: np.ndarray | None, **query: str) -> dict[str, np.ndarray]:
    response = post(
        f"{server.url}/landmarks/face",
        params={"model": NAME, "heatmaps": "points", **query},
        content=ply(points, triangles),
        headers={"content-type": "model/ply", "accept": NPZ},
    )
    assert response.status_code == 200, response.text
    return dict(np.load(io.BytesIO(response.content), allow_pickle=False))


def test_a_roll_by_quarter_turns_and_a_shift_move_the_landmarks_exactly(server: Running, scan: Scan):
    straight, turn = find(server, scan.points, scan.triangles)["landmarks"], np.eye(3)
    assert "quarter-turn" in read_bundle(SHIPPED / NAME).meta.symmetries
    for shift in ([0, 0, 0], [100, -2000, 30], [0, 5000, 0]):
        turn = QUARTER @ turn
        moved = find(server, scan.points @ turn.T + shift, scan.triangles)["landmarks"]
        assert np.abs(moved - straight @ turn.T - shift).max() <= EXACT_MM


def test_the_mirror_image_has_the_mirrored_landmarks_with_left_and_right_exchanged(server: Running, scan: Scan):
    assert "map-mirror" in read_bundle(SHIPPED / NAME).meta.symmetries
    straight, mirror = find(server, scan.points, scan.triangles), np.array([-1.0, 1, 1])
    mirrored = find(server, scan.points * mirror, scan.triangles)
    exchanged = list(FACE68.mirror)
    assert np.abs(mirrored["landmarks"] - straight["landmarks"][exchanged] * mirror).max() <= EXACT_MM
    assert np.abs(mirrored["confidence"] - straight["confidence"][exchanged]).max() <= 1e-5
    assert np.abs(mirrored["landmarks"] - straight["landmarks"] * mirror).max() > 10  # unexchanged


def test_any_rotation_moves_the_landmarks_within_the_measured_tolerance(server: Running, scan: Scan):
    """Only quarter turns about the scan's z axis are exact: any other pose is interpolated on the map."""
    straight, rng = find(server, scan.points, scan.triangles)["landmarks"], np.random.default_rng(0)
    off = []
    for _ in range(6):
        turn = random_rotation(rng)
        moved = find(server, scan.points @ turn.T, scan.triangles)["landmarks"]
        off.append(np.linalg.norm(moved - straight @ turn.T, axis=1))
    assert np.mean(off) <= MEAN_MM
    assert np.max(off) <= MOST_MM
    assert np.max(off) > EXACT_MM  # control: it is no exact law


@pytest.mark.parametrize("shape", other_shapes())
def test_a_cloud_that_faces_nothing_gets_the_no_face_problem(server: Running, shape: str):
    np.save(body := io.BytesIO(), other_shapes()[shape])
    response = post(
        f"{server.url}/landmarks/face",
        params={"model": NAME, "units": "m"},
        content=body.getvalue(),
        headers={"content-type": "application/x-npy"},
    )
    assert (response.status_code, response.json()["type"]) == (422, "/problems/no-face")


@pytest.fixture(scope="module")
def bust(data_folder: Path) -> Scan:
    return read_scan((data_folder / "faces" / "raw_scans" / "lee_perry_smith.ply").read_bytes(), ".ply")


def test_the_face_of_a_bust_is_found_though_it_is_off_the_middle(server: Running, bust: Scan, data_folder: Path):
    file = data_folder / "faces" / "raw_scans" / "lee_perry_smith_landmarks68_fitted.csv"
    rows = np.loadtxt(file, delimiter=",", skiprows=1)  # index, x, y, z, valid
    turn = random_rotation(np.random.default_rng(0))
    found = find(server, bust.points @ turn.T, bust.triangles)["landmarks"]
    valid = rows[:, 4] > 0
    assert np.linalg.norm(found - rows[:, 1:4] @ turn.T, axis=1)[valid].mean() <= BUST_MM


def test_the_back_of_a_bust_which_faces_away_gets_the_no_face_problem(server: Running, bust: Scan):
    back = bust.points[bust.points[:, 2] < np.median(bust.points[:, 2])]
    np.save(body := io.BytesIO(), back)
    response = post(
        f"{server.url}/landmarks/face",
        params={"model": NAME, "units": "mm"},
        content=body.getvalue(),
        headers={"content-type": "application/x-npy"},
    )
    assert (response.status_code, response.json()["type"]) == (422, "/problems/no-face")
    assert "confidence" in response.json()["detail"]


def test_the_example_of_the_model_is_a_scan_on_which_it_finds_a_face(server: Running):
    example = get(f"{server.url}/models/{NAME}/example")
    assert example.headers["content-type"].startswith("model/vnd.ply")
    response = post(
        f"{server.url}/landmarks/face",
        params={"model": NAME, "units": "m"},
        content=example.content,
        headers={"content-type": "model/ply"},
    )
    answer = response.json()
    assert response.status_code == 200, response.text
    assert answer["model"]["name"] == NAME
    assert len(answer["landmarks"]) == 68


def test_a_request_that_names_no_model_is_answered_by_the_network_for_any_pose(server: Running, scan: Scan):
    response = post(
        f"{server.url}/landmarks/face",
        content=ply(scan.points, scan.triangles),
        headers={"content-type": "model/ply"},
    )
    assert response.json()["model"]["name"] == "face-se3unet"
