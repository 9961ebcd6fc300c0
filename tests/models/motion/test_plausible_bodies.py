"""What points of a person can be: every recording passes in its unit; wrong units, one point and upside down do not."""

import numpy as np
import pytest

from models.motion.plausible_bodies import check_in_image, check_person, stature
from models.skeletons.units import UNITS, Implausible
from training.tasks.bodies.readers.npz import read_bodies

WINDOW = 30


@pytest.fixture(scope="module")
def clip(data_folder):
    return read_bodies(data_folder / "body", "hdm05_11")[0]


@pytest.mark.parametrize("source", ["hdm05_11", "cmu_9act", "reactidle", "bandai_namco"])
def test_no_recorded_person_is_refused(data_folder, source):
    checked = 0
    for clip in read_bodies(data_folder / "body", source):
        for start in range(0, len(clip.points), WINDOW):
            check_person(clip.points[start : start + WINDOW].astype(float), clip.skeleton, "m")
            checked += 1
    assert checked


@pytest.mark.parametrize(
    ("unit", "taken_for"), [("m", "mm"), ("mm", "m"), ("cm", "m"), ("m", "cm"), ("ft", "m"), ("in", "m")]
)
def test_a_unit_that_is_taken_for_another_is_refused(clip, unit, taken_for):
    points = clip.points.astype(float) / UNITS[unit] * UNITS[taken_for]
    with pytest.raises(
        Implausible, match=rf"expected a person of 50 cm to 2.6 m, got .* read in {taken_for}; .*\b{unit}\b"
    ):
        check_person(points, clip.skeleton, taken_for)


def test_limbs_that_are_missing_leave_the_stature_to_the_others(clip):
    points = clip.points.astype(float)
    whole = stature(points, clip.skeleton)
    points[:, clip.skeleton.indices(("left_knee", "right_wrist"))] = np.nan
    assert stature(points, clip.skeleton) == pytest.approx(whole, rel=0.15)
    points[:] = np.nan
    assert stature(points, clip.skeleton) is None


def test_somebody_upside_down_is_told_about_axes(clip):
    with pytest.raises(Implausible, match="axes=camera"):
        check_person(clip.points.astype(float) * np.array([1.0, -1.0, -1.0]), clip.skeleton, "m")


def test_all_joints_at_one_point_are_nobody(clip):
    with pytest.raises(Implausible, match="all joints at one point"):
        check_person(np.zeros_like(clip.points, dtype=float), clip.skeleton, "m")


def test_normalised_keypoints_are_told_about_pixels(clip):
    points = clip.points[..., :2].astype(float)
    normalised = (points - points.min()) / np.ptp(points)
    check_in_image(normalised * 1000, (1920, 1080))
    with pytest.raises(Implausible, match="must be multiplied by the image's width and height"):
        check_in_image(normalised, (1920, 1080))


def test_a_single_keypoint_has_no_size():
    points = np.full((4, 17, 2), np.nan)
    points[:, 3] = 5.0
    check_in_image(points, (1920, 1080))
