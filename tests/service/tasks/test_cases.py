"""Tests of realistic faulty requests to the shipped models: they are answered correctly or refused with the reason."""

import json
from pathlib import Path

import numpy as np
import pytest
from clouds import bumpy_cloud
from fastapi.testclient import TestClient

from models.contract.bundle import read_bundle
from service.app import create_app
from service.settings import Settings

from ..exchange import problem_of

CHECKOUT = Path(__file__).resolve().parents[3]
CASES = CHECKOUT / "tests" / "cases"
REFUSED = {
    "03a": ("/forecast/hands", "implausible", "got 169 m read in m; it would fit in mm"),
    "03b": ("/poses/lift", "implausible", "multiplied by the image's width and height"),
    "03c": ("/actions/recognize", "implausible", "got 1.61 km read in m; it would fit in mm"),
    "03e": ("/actions/recognize", "implausible", "axes=camera"),
    "09": ("/forecast/hands", "implausible", "the points fit mano-smplx"),
    "11": ("/forecast/hands", "malformed-body", "send null for what was not seen"),
}


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(Settings(bundles=CHECKOUT / "bundles"))) as client:
        yield client


def post(client, path: str, case: str, **changes):
    content = (CASES / f"{case}.json").read_bytes()
    for old, new in changes.items():
        content = content.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
    return client.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("case", REFUSED)
def test_an_implausible_request_is_refused_with_the_reason(client, case):
    path, kind, text = REFUSED[case]
    assert text in problem_of(post(client, path, case), kind)["detail"]


def test_a_clip_in_manos_original_order_has_its_own_name(client):
    answer = post(client, "/forecast/hands", "09", mano="mano-smplx")
    assert answer.status_code == 200
    assert answer.json()["joints"] == "mano-smplx"


def test_frames_with_a_hand_of_zeros_are_interpolated(client):
    answer = post(client, "/forecast/hands", "05a")
    assert answer.status_code == 200
    assert answer.json()["filled_frames"] == 4


def test_two_joints_at_zero_are_missing(client):
    body = json.loads((CASES / "05d.json").read_bytes())
    nulls = [[None if point == [0, 0] else point for point in frame] for frame in body["keypoints"]]
    assert nulls != body["keypoints"]
    answer, expected = (
        client.post("/poses/lift", json={**body, "keypoints": sent}) for sent in (body["keypoints"], nulls)
    )
    assert answer.status_code == 200
    assert answer.json() == expected.json()


def test_a_webxr_hand_of_zeros_is_null(client):
    answer = post(client, "/forecast/hands", "10")
    assert answer.status_code == 200
    assert answer.json()["joints"] == "webxr"
    assert answer.json()["right"] is None


def test_a_score_above_one_is_clipped_and_counted(client):
    answer = post(client, "/poses/lift", "12")
    assert answer.status_code == 200
    assert answer.json()["clipped_confidences"] >= 1


def test_integral_floats_are_accepted_as_image_sizes(client):
    assert post(client, "/poses/lift", "13").status_code == 200


# scans

FACE = "/landmarks/face"
READ = "half of the scan is within"  # of a scan that was read, and on which no face is


def face_points() -> np.ndarray:
    """Return the points of a real face, in metres."""
    return read_bundle(CHECKOUT / "bundles" / "face-se3unet").example()[0]["points"][0].astype(float)


def table(points: np.ndarray, separator: str = " ", head: str = "") -> bytes:
    lines = (separator.join(f"{number:.6f}" for number in row) for row in points)
    return "\n".join([*([head] if head else []), *lines, ""]).encode()


def ply(points: np.ndarray) -> bytes:
    head = "".join(f"property double {axis}\n" for axis in "xyz")
    return table(points, head=f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n{head}end_header")


def numbered(points: np.ndarray) -> bytes:
    ids = np.arange(len(points))[:, None]
    return table(np.concatenate([ids, points, ids], axis=1), ",", "Point ID,X,Y,Z,Intensity")


def pcd(points: np.ndarray) -> bytes:
    count, rgb = len(points) + 2, np.full((len(points) + 2, 1), 4.2e6)
    points = np.concatenate([points, np.full((2, 3), np.nan)])
    head = "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0"
    return table(np.concatenate([points, rgb], axis=1), head=f"{head}\nWIDTH {count}\nPOINTS {count}\nDATA ascii")


def stl(points: np.ndarray) -> bytes:
    corners = points[: 3 * (len(points) // 3)].reshape(-1, 3, 3)
    facets = (
        "facet normal 0 0 1\nouter loop\n" + "".join(f"vertex {x:e} {y:e} {z:e}\n" for x, y, z in triangle) + "endloop\nendfacet"
        for triangle in corners
    )  # fmt: skip
    return "\n".join(["solid face facet scan", *facets, "endsolid face facet scan", ""]).encode()


CLOUD = bumpy_cloud(2000)
SCANS = {  # name of the file, unit, content, kind of problem or nothing, what its text must say
    "02": ("a.ply", "mm", lambda: ply(face_points()), "implausible", "units=m would fit"),
    "04": ("a.xyz", "auto", lambda: table(face_points() / 0.0254), "unclear-units", "say units=in if that is the scan's unit"),
    "04, in said": ("a.xyz", "in", lambda: table(face_points() / 0.0254), None, ""),
    "06": ("a.ply", "m", "06.ply", "degenerate-scan", "expected a cloud of 1024 points or more, got 42"),
    "07": ("a.csv", "auto", lambda: numbered(face_points()), None, ""),
    "08a": ("a.ply", "m", "08a.ply", "no-face", READ),
    "14a": ("a.pcd", "m", lambda: pcd(CLOUD), "no-face", READ),
    "15a": ("a.glb", "m", "15a.glb", "no-face", READ),
    "16a": ("a.obj", "m", "16a.obj", "no-face", READ),
    "17a": ("a.stl", "m", lambda: stl(CLOUD), "no-face", READ),
    "18a": ("a.ply", "m", "18a.ply", "no-face", READ),
    "18e": ("a.obj", "m", "18e.obj", "degenerate-scan", "send a denser cloud, or the scan as a mesh"),
    "19a": ("a.txt", "m", lambda: table(CLOUD, head="2000"), "no-face", READ),
    "19b": ("a.csv", "m", lambda: table(CLOUD, ",", "X (mm),Y (mm),Z (mm)"), "no-face", READ),
}  # fmt: skip


@pytest.mark.parametrize("case", SCANS)
def test_a_scan_is_read_as_it_was_meant_or_refused_with_the_reason(client, case):
    name, units, content, kind, text = SCANS[case]
    body = (CASES / content).read_bytes() if isinstance(content, str) else content()
    query = {"filename": name, "units": units}
    answer = client.post(FACE, params=query, content=body, headers={"content-type": "application/octet-stream"})
    if kind is not None:
        assert text in problem_of(answer, kind)["detail"]
        return
    assert answer.status_code == 200, answer.text
    plain = client.post(
        FACE, params={"units": "m"}, content=ply(face_points()), headers={"content-type": "model/vnd.ply"}
    )
    scale = {"in": 0.0254}.get(answer.json()["units"], 1.0)
    places = [np.array([mark["position"] for mark in one.json()["landmarks"]]) for one in (answer, plain)]
    np.testing.assert_allclose(places[0] * scale, places[1], atol=1e-4)
