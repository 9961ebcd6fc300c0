"""Tests of landmarks off the end of a scan, with the shipped network: every form of the answer says that there is no surface."""

import csv
import io
import json

import numpy as np
import pytest

from models.contract.bundle import read_bundle
from models.scans.head import head_pose, in_head_frame
from models.skeletons.face import FACE68
from service.http.negotiation import JSON, NPZ
from service.inference.predictor import Predictor
from service.tasks.endpoint import Body, Limits, run
from service.tasks.faces import endpoint
from service.tasks.faces.endpoint import FACE
from service.tasks.faces.upload import CSV, FCSV, MRK, OBJ, OCTETS, PLY

from ...command_line import CHECKOUT
from ...exchange import CLOUD, NPY, npy
from ...scans import ask, ply

BUNDLE = read_bundle(CHECKOUT / "bundles" / "face-se3unet")
SCAN = BUNDLE.example()[0]["points"][0].astype(float)  # metres, 1024 points
LEFT = np.array([name.startswith("left_jaw") for name in FACE68.joints])


@pytest.fixture(scope="module")
def found():
    """Return a function that finds the face on a cloud with the shipped network, and encodes the answer."""
    network = Predictor(BUNDLE).run

    def call(points: np.ndarray, media: str = JSON, keep: bool = False):
        body = Body(ply(points), OCTETS, media, {"units": "m"}, suffix=".ply", keep=keep)
        result, meta = run(FACE, body, lambda _: (BUNDLE.meta, network), Limits(1 << 24, points=1 << 20))
        return result, FACE.encode(result, meta, media).content

    return call


@pytest.fixture(scope="module")
def part(found) -> np.ndarray:
    """Return a scan without the person's left cheek, of as many points as the network needs."""
    landmarks = json.loads(found(SCAN)[1])["landmarks"]
    side = in_head_frame(SCAN, head_pose(np.array([landmark["position"] for landmark in landmarks])))[:, 0]
    kept = SCAN[side < 0.035]
    rng = np.random.default_rng(0)
    middles = (kept[rng.integers(len(kept), size=1500)] + kept[rng.integers(len(kept), size=1500)]) / 2
    near = np.array([np.linalg.norm(kept - middle, axis=1).min() for middle in middles]) < 0.002
    return np.concatenate([kept, kept + 1e-4, middles[near]])


def test_every_landmark_of_a_whole_face_has_surface(found):
    assert all(landmark["seen"] for landmark in json.loads(found(SCAN)[1])["landmarks"])


def test_every_form_says_which_landmarks_have_no_surface(found, part):
    seen = np.array([landmark["seen"] for landmark in json.loads(found(part)[1])["landmarks"]])
    assert not seen[LEFT].all(), "expected landmarks of the missing cheek without surface"
    assert seen[~LEFT].mean() > 0.8
    assert np.array_equal(np.load(io.BytesIO(found(part, NPZ)[1]))["seen"], seen)
    rows = list(csv.DictReader(io.StringIO(found(part, CSV)[1].decode())))
    assert [row["seen"] for row in rows] == [str(int(one)) for one in seen]
    points = json.loads(found(part, MRK)[1])["markups"][0]["controlPoints"]
    assert [point["selected"] for point in points] == seen.tolist()
    assert ["no surface" in point["description"] for point in points] == (~seen).tolist()
    table = [line.split(",") for line in found(part, FCSV)[1].decode().splitlines()[3:]]
    assert [row[9] for row in table] == [str(int(one)) for one in seen]
    vertices = found(part, PLY)[1].decode().partition("end_header\n")[2].splitlines()[:68]
    assert [row.split()[9] for row in vertices] == [str(int(one)) for one in seen]
    comments = [line for line in found(part, OBJ)[1].decode().splitlines() if ", confidence " in line]
    assert ["no surface" in line for line in comments] == (~seen).tolist()


def test_the_picture_is_told_which_landmarks_have_no_surface(found, part, monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(endpoint, "draw_face", lambda *_, **options: given.update(options))
    result, _ = found(part, keep=True)
    endpoint.draw(result, BUNDLE.meta, tmp_path / "face.png", "")
    assert np.array_equal(given["seen"], result.seen)


def test_seen_is_served_over_http(client):
    """The graph of this service places landmarks between -5 and 3 cm beside a shell, so some are on no surface."""
    seen = [landmark["seen"] for landmark in ask(client, npy(CLOUD), NPY)["landmarks"]]
    assert set(seen) == {True, False}
