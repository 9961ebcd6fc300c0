"""Tests of meshes whose triangles face backwards, with the shipped network: the answer has a warning."""

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
    """Return a function that gives the shipped network's answer for a scan."""
    network = Predictor(BUNDLE).run

    def call(points: np.ndarray, triangles: np.ndarray | None, media: str = JSON) -> Encoded:
        body = Body(ply(points, triangles), OCTETS, media, {"units": "m"}, suffix=".ply")
        landmarks, meta = run(FACE, body, lambda _: (BUNDLE.meta, network), Limits(1 << 24, points=1 << 20))
        return FACE.encode(landmarks, meta, media)

    return call


@pytest.fixture(scope="module")
def triangles(answer) -> np.ndarray:
    """Return the triangles of SCAN, their corners counterclockwise as seen from the front."""
    landmarks = json.loads(answer(SCAN, None).content)["landmarks"]
    pose = head_pose(np.array([landmark["position"] for landmark in landmarks]))
    return Delaunay(in_head_frame(SCAN, pose)[:, :2]).simplices


MIRROR = np.array([-1.0, 1, 1])


def test_an_unmirrored_mesh_has_no_warning(answer, triangles):
    assert json.loads(answer(SCAN, triangles).content)["warnings"] == []
    assert "x-chiron-warnings" not in answer(SCAN, triangles, NPZ).headers


def test_a_mirrored_mesh_is_answered_with_a_warning(answer, triangles):
    (warning,) = json.loads(answer(SCAN * MIRROR, triangles).content)["warnings"]
    assert "either the scan is mirrored, and left and right are exchanged" in warning
    assert answer(SCAN * MIRROR, triangles, NPZ).headers["x-chiron-warnings"] == warning


def test_a_mesh_that_is_inside_out_is_answered_with_a_warning(answer, triangles):
    assert json.loads(answer(SCAN, triangles[:, ::-1]).content)["warnings"]


def test_mirrored_clouds_and_mirrored_meshes_with_reversed_triangles_are_not_recognised(answer, triangles):
    """Both look like another person, as docs/landmarks.md states."""
    for corners in (None, triangles[:, ::-1]):
        assert json.loads(answer(SCAN * MIRROR, corners).content)["warnings"] == []
