"""Meshes that are seen from behind, with the network that is shipped: answered, with a warning."""

import json

import numpy as np
import pytest
from scipy.spatial import Delaunay

from models.contract.bundle import read_bundle
from models.scans.head import head_pose, in_head_frame
from service.http.negotiation import JSON, NPZ
from service.inference.predictor import Predictor
from service.tasks.endpoint import Body, Encoded, Limits, run
from service.tasks.faces.endpoint import FACE
from service.tasks.faces.upload import OCTETS

from ...command_line import CHECKOUT
from ...scans import ply

BUNDLE = read_bundle(CHECKOUT / "bundles" / "face-se3unet")
SCAN = BUNDLE.example()[0]["points"][0].astype(float)  # metres


@pytest.fixture(scope="module")
def answer():
    """Returns the answer for a scan from the shipped network."""
    network = Predictor(BUNDLE).run

    def call(points: np.ndarray, triangles: np.ndarray | None, media: str = JSON) -> Encoded:
        body = Body(ply(points, triangles), OCTETS, media, {"units": "m"}, suffix=".ply")
        found, meta = run(FACE, body, lambda _: (BUNDLE.meta, network), Limits(1 << 24, points=1 << 20))
        return FACE.encode(found, meta, media)

    return call


@pytest.fixture(scope="module")
def triangles(answer) -> np.ndarray:
    """The surface of SCAN, its corners counterclockwise as seen from the front."""
    landmarks = json.loads(answer(SCAN, None).content)["landmarks"]
    pose = head_pose(np.array([landmark["position"] for landmark in landmarks]))
    return Delaunay(in_head_frame(SCAN, pose)[:, :2]).simplices


MIRROR = np.array([-1.0, 1, 1])


def test_a_mesh_as_it_should_be_has_no_warning(answer, triangles):
    assert json.loads(answer(SCAN, triangles).content)["warnings"] == []
    assert "x-chiron-warnings" not in answer(SCAN, triangles, NPZ).headers


def test_a_mirrored_mesh_is_answered_with_a_warning(answer, triangles):
    (warning,) = json.loads(answer(SCAN * MIRROR, triangles).content)["warnings"]
    assert "either the scan is mirrored, and left and right are exchanged" in warning
    assert answer(SCAN * MIRROR, triangles, NPZ).headers["x-chiron-warnings"] == warning


def test_a_mesh_that_is_inside_out_is_answered_with_a_warning(answer, triangles):
    assert json.loads(answer(SCAN, triangles[:, ::-1]).content)["warnings"]


def test_a_mirrored_cloud_and_a_mesh_whose_triangles_were_turned_too_look_like_another_person(answer, triangles):
    """Check the limits that docs/landmarks.md names."""
    for corners in (None, triangles[:, ::-1]):
        assert json.loads(answer(SCAN * MIRROR, corners).content)["warnings"] == []
