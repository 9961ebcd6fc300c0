"""Tests of plausible persons: all recordings pass in their unit; wrong units, coincident joints and inverted axes fail."""

import numpy as np
import pytest
from people import moving_person

from models.motion.plausible_bodies import check_in_image, check_person, stature
from models.skeletons.body_orders import BODIES
from models.skeletons.units import UNITS, Implausible
from training.tasks.bodies.readers.npz import read_bodies

WINDOW = 30


@pytest.fixture(scope="module")
def clip(data_folder):
    return read_bodies(data_folder / "body", "hdm05_11")[0]


@pytest.mark.parametrize("source", ["hdm05_11", "cmu_9act", "reactidle", "bandai_namco"])
def test_every_recorded_person_is_accepted(data_folder, source):
    checked = 0
    for clip in read_bodies(data_folder / "body", source):
        for start in range(0, len(clip.points), WINDOW):
            warnings = check_person(clip.points[start : start + WINDOW].astype(float), clip.skeleton, "m")
            assert all("lies on their back" in warning for warning in warnings)
            checked += 1
    assert checked


@pytest.mark.parametrize(
    ("unit", "assumed"), [("m", "mm"), ("mm", "m"), ("cm", "m"), ("m", "cm"), ("ft", "m"), ("in", "m")]
)
def test_the_error_for_a_wrong_unit_names_the_correct_one(clip, unit, assumed):
    points = clip.points.astype(float) / UNITS[unit] * UNITS[assumed]
    with pytest.raises(
        Implausible, match=rf"expected a person of 50 cm to 2.6 m, got .* read in {assumed}; .*\b{unit}\b"
    ):
        check_person(points, clip.skeleton, assumed)


def test_stature_is_estimated_without_missing_limbs(clip):
    points = clip.points.astype(float)
    complete = stature(points, clip.skeleton)
    points[:, clip.skeleton.indices(("left_knee", "right_wrist"))] = np.nan
    assert stature(points, clip.skeleton) == pytest.approx(complete, rel=0.15)
    points[:] = np.nan
    assert stature(points, clip.skeleton) is None


def test_the_error_for_an_inverted_person_names_the_axes_parameter(clip):
    with pytest.raises(Implausible, match="axes=camera"):
        check_person(clip.points.astype(float) * np.array([1.0, -1.0, -1.0]), clip.skeleton, "m")


def test_a_person_of_coincident_joints_is_refused(clip):
    with pytest.raises(Implausible, match="all joints at one point"):
        check_person(np.zeros_like(clip.points, dtype=float), clip.skeleton, "m")


def test_the_error_for_normalised_keypoints_says_how_to_get_pixels(clip):
    points = clip.points[..., :2].astype(float)
    normalised = (points - points.min()) / np.ptp(points)
    check_in_image(normalised * 1000, (1920, 1080))
    with pytest.raises(Implausible, match="must be multiplied by the image's width and height"):
        check_in_image(normalised, (1920, 1080))


def test_a_single_keypoint_is_accepted():
    points = np.full((4, 17, 2), np.nan)
    points[:, 3] = 5.0
    check_in_image(points, (1920, 1080))


def test_a_person_with_z_up_and_one_of_an_unusual_size_get_warnings():
    person, order = moving_person("h36m-17", 5), BODIES["h36m-17"]
    assert check_person(person, order, "m") == []
    (warning,) = check_person(person[..., [0, 2, 1]] * [1, -1, 1], order, "m")
    assert "send axes=z-up" in warning
    (warning,) = check_person(person * 0.4, order, "ft")
    assert "tall, read in ft; check `units`" in warning
