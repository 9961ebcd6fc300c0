"""Scans of wrong sizes, with the network that is shipped: refused by name, never answered."""

import numpy as np
import pytest

from models.contract.bundle import read_bundle
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
    """Finds the face on a scan with the shipped network."""
    network = Predictor(BUNDLE).run

    def call(points: np.ndarray, units: str) -> FoundFace:
        body = Body(npy(points), NPY, "application/json", {"units": units}, suffix=".npy")
        return run(FACE, body, lambda _: (BUNDLE.meta, network), Limits(1 << 24, points=1 << 20))[0]

    return call


@pytest.mark.parametrize("unit", UNITS)
def test_a_face_is_found_in_every_unit_that_is_said(find, unit):
    found = find(SCAN / UNITS[unit], unit)
    assert found.landmarks * UNITS[unit] == pytest.approx(find(SCAN, "m").landmarks, abs=1e-6)


@pytest.mark.parametrize("unit", ["m", "cm", "mm"])
def test_a_face_is_found_in_every_metric_unit_that_is_not_said(find, unit):
    assert find(SCAN / UNITS[unit], "auto").scan.unit == unit


@pytest.mark.parametrize(("true", "said"), [("m", "mm"), ("m", "cm"), ("cm", "mm"), ("in", "mm")])
def test_a_scan_whose_unit_is_larger_than_said_is_implausible_however_confident_the_network_is(find, true, said):
    with pytest.raises(Problem, match=rf"read in {said}; units=.*\b{true}\b.* would fit") as caught:
        find(SCAN / UNITS[true], said)
    assert caught.value.kind == "implausible"
    assert "implausible" in ERRORS


def test_inches_are_not_taken_for_centimetres(find):
    with pytest.raises(Problem, match=r"got 3.73 cm in cm, .* say units=in if") as caught:
        find(SCAN / UNITS["in"], "auto")
    assert caught.value.kind == "unclear-units"


def test_feet_are_not_taken_for_metres(find):
    with pytest.raises(Problem, match=r"28.5 cm if in m, .* 8.7 cm if in ft; say its units") as caught:
        find(SCAN / UNITS["ft"], "auto")
    assert caught.value.kind == "unclear-units"
