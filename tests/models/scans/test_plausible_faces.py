"""Tests of plausible scans and landmarks of faces."""

import numpy as np
import pytest
from faces import synthetic_face

from models.contract.symmetry import random_rotation
from models.scans.plausible_faces import check_face, eye_distance, typical_radius, units_of_eyes, units_of_scan
from models.skeletons.units import UNITS, Implausible


@pytest.mark.parametrize("unit", UNITS)
def test_a_face_is_plausible_in_any_unit_and_pose(unit: str):
    scan, landmarks = synthetic_face()
    turn = random_rotation(np.random.default_rng(0))
    check_face(landmarks @ turn.T + 3, scan @ turn.T + 3, unit)


@pytest.mark.parametrize(("assumed", "true"), [("mm", "m"), ("mm", "cm"), ("m", "mm"), ("cm", "m"), ("ft", "cm")])
def test_the_error_for_a_wrong_size_states_the_size_and_a_unit_that_fits(assumed: str, true: str):
    scan, landmarks = synthetic_face()
    scale = UNITS[assumed] / UNITS[true]
    with pytest.raises(Implausible, match=rf"expected .*, got .* read in {assumed}; units=.*\b{true}\b.* would fit"):
        check_face(scale * landmarks, scale * scan, assumed)


def test_the_error_for_a_small_scan_states_the_size_of_the_scan():
    scan, landmarks = synthetic_face()
    with pytest.raises(
        Implausible, match=r"at least 4 cm wide, got a face on a scan .* read in mm; units=cm or in would fit"
    ):
        check_face(landmarks, 0.1 * scan, "mm")


def test_the_error_for_small_landmarks_states_their_span():
    scan, landmarks = synthetic_face()
    with pytest.raises(Implausible, match=r"span 5 cm to 40 cm, got 1\.\d+ cm on a scan that is about"):
        check_face(0.1 * landmarks, scan, "m")


def test_the_error_for_a_face_that_fits_no_unit_says_so():
    scan, landmarks = synthetic_face()
    with pytest.raises(Implausible, match="as large as a face in no other unit"):
        check_face(1e-9 * landmarks, 1e-9 * scan, "m")


def test_landmarks_beside_the_scan_are_refused_but_not_those_of_a_cropped_jaw():
    scan, landmarks = synthetic_face()
    with pytest.raises(
        Implausible, match=r"within 4 cm of the scan, got 68 of 68 that are farther on a scan that is about"
    ):
        check_face(landmarks + np.array([0, 0, 0.2]), scan, "m")
    cropped = scan[np.linalg.norm(scan - landmarks[30], axis=1) < 0.06]
    check_face(landmarks, cropped, "m")


def test_eyes_in_inches_that_are_read_as_centimetres_fit_inches_only():
    _, landmarks = synthetic_face()
    assert eye_distance(landmarks) == pytest.approx(0.09, abs=0.002)
    assert units_of_eyes(landmarks, "m") == ("m",)
    assert units_of_eyes(landmarks / 2.54, "cm") == ("in",)


def test_the_units_of_a_scan_are_those_that_give_it_the_size_of_a_face():
    scan, _ = synthetic_face()
    assert 0.03 < typical_radius(scan) < 0.09
    assert "m" in units_of_scan(0.001 * scan, "mm")
    assert "mm" not in units_of_scan(0.001 * scan, "mm")
