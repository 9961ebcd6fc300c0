"""Tests of the symmetry of the shipped landmark network over a socket."""

import io
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from waiting import post

from models.contract.bundle import read_bundle
from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.scans.cloud import Tree
from models.scans.files import read_scan
from models.scans.looks import find
from models.skeletons.face import INTEROCULAR
from service.inference.predictor import Predictor

from ...command_line import CHECKOUT
from ...exchange import FACE_URL as URL
from ...exchange import npy
from ...scans import NPZ, npz, ply
from ...test_server import Running, start, stop

pytestmark = pytest.mark.long(20)

SHIPPED = CHECKOUT / "bundles" / "face-se3unet"
BUNDLE = read_bundle(SHIPPED)
TASK = BUNDLE.meta.task
FORMS = {"npy": npy, "npz": lambda points: npz(points=points), "ply": ply}


def dense(points: np.ndarray, times: int) -> np.ndarray:
    """Return `times` as many points: those of a scan, and the midpoints to their nearest neighbours."""
    middles = (points[:, None] + points[Tree(points).neighbours(times - 1)]) / 2
    return np.concatenate([points, middles.reshape(-1, 3)])


CLOUD = dense(BUNDLE.example()[0]["points"][0].astype(float), 8)  # a face of 8192 points, in metres
PATCHES = np.concatenate(
    [np.arange(len(CLOUD))[:, None], Tree(CLOUD).neighbours(2)], axis=1
)  # triangles on its surface


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("bundles")
    shutil.copytree(SHIPPED, folder / SHIPPED.name)
    running = start(folder)
    yield running
    stop(running)


def arrays(server: Running, body: bytes, form: str, **query: str) -> dict[str, np.ndarray]:
    response = post(
        server.url + URL,
        params={"format": form, "heatmaps": "points", **query},
        content=body,
        headers={"content-type": "application/octet-stream", "accept": NPZ},
    )
    assert response.status_code == 200, response.text
    return dict(np.load(io.BytesIO(response.content), allow_pickle=False))


def test_the_answer_over_http_is_that_of_the_graph(server):
    assert isinstance(TASK, FaceLandmarks)
    face = find(CLOUD, TASK, Predictor(BUNDLE).run)
    over_http = arrays(server, npy(CLOUD), "npy")
    assert np.abs(over_http["landmarks"] - face.landmarks).max() <= 1e-7
    assert np.abs(over_http["heatmaps"] - face.heatmaps).max() <= 1e-6
    assert np.array_equal(over_http["sampled_indices"], face.sampled)
    assert np.ptp(face.heatmaps) > 0.005, "expected heatmaps that vary, since constant ones have every symmetry"
    assert np.linalg.norm(np.subtract(*face.landmarks[list(INTEROCULAR)])) > 0.001


@pytest.mark.parametrize(("form", "unit_m"), [("npy", 1.0), ("npz", 0.001), ("ply", 1.0)])
def test_landmarks_of_a_moved_upload_are_the_moved_landmarks(server, form, unit_m):
    """For 20 random motions within 10 m, landmarks agree to 1e-6 m, heatmaps to 1e-5, and the samples are equal."""
    encode, rng = FORMS[form], np.random.default_rng(0)
    straight = arrays(server, encode(CLOUD / unit_m), form)
    assert str(straight["units"]) == {1.0: "m", 0.001: "mm"}[unit_m]
    worst, changed = 0.0, 0.0
    for _ in range(20):
        turn, offset = random_rotation(rng), rng.uniform(-10, 10, 3)
        turned = arrays(server, encode((CLOUD @ turn.T + offset) / unit_m), form)
        assert np.array_equal(turned["sampled_indices"], straight["sampled_indices"])
        expected = straight["landmarks"] @ turn.T + offset / unit_m
        worst = max(worst, unit_m * np.linalg.norm(turned["landmarks"] - expected, axis=1).max())
        for name in ("heatmaps", "confidence"):
            changed = max(changed, np.abs(turned[name] - straight[name]).max())
    assert worst <= 1e-6
    assert changed <= 1e-5


def test_landmarks_of_a_moved_mesh_are_the_moved_landmarks(server):
    rng = np.random.default_rng(1)
    straight = arrays(server, ply(CLOUD, PATCHES), "ply")
    for _ in range(3):
        turn, offset = random_rotation(rng), rng.uniform(-10, 10, 3)
        turned = arrays(server, ply(CLOUD @ turn.T + offset, PATCHES), "ply")
        assert np.abs(turned["landmarks"] - (straight["landmarks"] @ turn.T + offset)).max() <= 1e-6
        assert np.abs(turned["heatmaps"] - straight["heatmaps"]).max() <= 1e-5


@pytest.mark.parametrize("change", ["mirrored", "sheared", "stretched"])
def test_landmarks_do_not_commute_with_other_transformations(server, change):
    """Control: the mirror is not a symmetry, since left and right landmarks must differ."""
    act = {
        "mirrored": np.diag([-1.0, 1, 1]),
        "sheared": np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1]]),
        "stretched": np.diag([1.2, 1, 1]),
    }[change]
    straight, changed = arrays(server, npy(CLOUD), "npy"), arrays(server, npy(CLOUD @ act.T), "npy")
    assert np.abs(changed["landmarks"] - straight["landmarks"] @ act.T).max() > 1e-4


def test_landmarks_do_not_depend_on_concurrent_uploads(server):
    rng = np.random.default_rng(2)
    bodies = [npy(rng.permutation(CLOUD)[: 3000 + 100 * seed]) for seed in range(6)]
    alone = [arrays(server, body, "npy") for body in bodies]
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda body: arrays(server, body, "npy"), bodies * 8))
    for index, answer in enumerate(together):
        for name, expected in alone[index % 6].items():
            assert np.array_equal(answer[name], expected)


@pytest.mark.parametrize("name", ["humface", "lee_perry_smith"])
def test_a_real_scan_is_answered_in_its_own_frame_and_unit(server, data_folder, name):
    """The landmarks lie on the scan, in millimetres, and there is a heatmap value for every vertex."""
    body = (Path(data_folder) / "faces" / "raw_scans" / f"{name}.ply").read_bytes()
    scan = read_scan(body, ".ply")
    answer = arrays(server, body, "ply", heatmaps="full")
    assert str(answer["units"]) == "mm"
    assert answer["full_heatmaps"].shape == (68, len(scan.points))
    assert (answer["landmarks"] >= scan.points.min(axis=0) - 50).all()
    assert (answer["landmarks"] <= scan.points.max(axis=0) + 50).all()
