"""Tests of scans of wrong sizes with the shipped network: each is refused."""

import numpy as np
import pytest

from models.contract.bundle import read_bundle
from models.scans.head import head_pose, in_head_frame
from models.skeletons.units import UNITS
from service.http.problems import Problem
from service.inference.predictor import Predictor
from service.tasks.endpoint import Body, Limits, run
from service.tasks.faces.endpoint import ERRORS, FACE
from service.tasks.faces.prepare import FoundFace

from ...command_line import CHECKOUT
from ...exchange import NPY, npy

BUNDLE = read_bundle(CHECKOUT / "bundles" / "face-se3unet")
SCAN = BUNDLE.example()[0]["points"][0].astype(float)  # metres


@pytest.fixture(scope="module")
def find():
    """Return a function that finds the face on a scan with the shipped network."""
    network = Predictor(BUNDLE).run

    def call(points: np.ndarray, units: str) -> FoundFace:
        body = Body(npy(points), NPY, "application/json", {"units": units}, suffix=".npy")
        return run(FACE, body, lambda _: (BUNDLE.meta, network), Limits(1 << 24, points=1 << 20))[0]

    return call


@pytest.mark.parametrize("unit", UNITS)
def test_a_face_is_found_in_every_stated_unit(find, unit):
    face = find(SCAN / UNITS[unit], unit)
    assert face.landmarks * UNITS[unit] == pytest.approx(find(SCAN, "m").landmarks, abs=1e-6)


@pytest.mark.parametrize("unit", ["m", "cm", "mm"])
def test_every_metric_unit_is_inferred(find, unit):
    assert find(SCAN / UNITS[unit], "auto").scan.unit == unit


@pytest.mark.parametrize(("true", "stated"), [("m", "mm"), ("m", "cm"), ("cm", "mm"), ("in", "mm")])
def test_a_scan_in_a_larger_unit_than_stated_is_implausible(find, true, stated):
    with pytest.raises(Problem, match=rf"read in {stated}; units=.*\b{true}\b.* would fit") as caught:
        find(SCAN / UNITS[true], stated)
    assert caught.value.kind == "implausible"
    assert "implausible" in ERRORS


def test_inches_are_not_mistaken_for_centimetres(find):
    with pytest.raises(Problem, match=r"got 4.03 cm in cm, .* say units=in if") as caught:
        find(SCAN / UNITS["in"], "auto")
    assert caught.value.kind == "unclear-units"


def test_feet_are_not_mistaken_for_metres(find):
    with pytest.raises(Problem, match=r"28.5 cm if in m, .* 8.7 cm if in ft; say its units") as caught:
        find(SCAN / UNITS["ft"], "auto")
    assert caught.value.kind == "unclear-units"


def capsule(start: tuple[float, ...], end: tuple[float, ...], radius: float, points: int) -> np.ndarray:
    """Return points on a cylinder."""
    rng = np.random.default_rng(points)
    along, outward = np.subtract(end, start), rng.normal(size=(points, 3))
    outward -= (outward @ along)[:, None] * along / (along @ along)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return start + rng.random((points, 1)) * along + radius * outward


BODY = [  # of a person of 1.7 m, from between the eyes
    capsule((0, -0.12, -0.1), (0, 0.06, -0.1), 0.085, 5000),
    capsule((-0.2, -0.27, -0.1), (0.2, -0.27, -0.1), 0.07, 9000),
    capsule((0, -0.27, -0.1), (0, -0.8, -0.1), 0.16, 20_000),
    *(capsule((side * 0.22, -0.27, -0.1), (side * 0.3, -0.85, -0.05), 0.045, 8000) for side in (-1, 1)),
    *(capsule((side * 0.1, -0.8, -0.1), (side * 0.12, -1.6, -0.1), 0.07, 9000) for side in (-1, 1)),
]


def test_the_face_of_a_whole_person_is_found_if_the_unit_is_stated(find):
    head = in_head_frame(SCAN, head_pose(find(SCAN, "m").face.landmarks))
    person = np.concatenate([head, *BODY])
    result = find(person, "m")
    assert result.face.looks > 2
    assert np.linalg.norm(result.landmarks - find(head, "m").landmarks, axis=1).mean() < 0.005
    with pytest.raises(Problem, match="say its units, and crop it to the head and shoulders") as caught:
        find(person, "auto")
    assert caught.value.kind == "unclear-units"


def test_a_room_is_not_searched_and_refused_with_advice(find):
    wall = np.random.default_rng(0).uniform(-2.5, 2.5, (20_000, 3)) * np.array([1, 1, 0])
    with pytest.raises(Problem, match="crop it to the head and shoulders") as caught:
        find(np.concatenate([SCAN, *BODY, wall - np.array([0, 0, 1])]), "m")
    assert caught.value.kind == "no-face"
