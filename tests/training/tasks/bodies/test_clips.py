"""Tests of clips of bodies: handedness, mirrored classes, held-out clips and missing points."""

from pathlib import Path

import numpy as np
import pytest

from training.data.splits import Split
from training.tasks.bodies.clips import class_mirror, confidence_of, handedness, hold_out, seen_points
from training.tasks.bodies.readers.npz import SOURCES, UP, read_bodies


@pytest.fixture
def bodies(data_folder: Path) -> Path:
    return data_folder / "body"


def test_exchanging_two_axes_is_a_reflection_for_any_up_direction(bodies: Path):
    """The forward kinematics published with the CMU angles gives (x, z, y)."""
    clip = read_bodies(bodies, "cmu_9act")[0]
    assert handedness(clip.points, clip.skeleton, UP) > 0.9
    assert handedness(clip.points[..., [0, 2, 1]], clip.skeleton, (0.0, 0.0, 1.0)) < 0.1
    turned = clip.points[..., [0, 2, 1]] * np.array([1, -1, 1], np.float32)  # a rotation to z up
    assert handedness(turned, clip.skeleton, (0.0, 0.0, 1.0)) > 0.9


def test_the_mirror_exchanges_classes_that_name_opposite_sides(bodies: Path):
    classes = sorted({clip.label for clip in read_bodies(bodies, "bandai_namco")})
    image = class_mirror(classes)
    swapped = {classes[i]: classes[j] for i, j in enumerate(image) if i != j}
    assert swapped == {
        f"{stem}-{a}{tail}": f"{stem}-{b}{tail}"
        for stem, tail in (("walk", ""), ("walk-turn", ""), ("wave", "-hand"), ("raise-up", "-hand"))
        for a, b in (("left", "right"), ("right", "left"))
    }
    assert [image[i] for i in image] == list(range(len(classes)))
    assert class_mirror(["grabHighR", "bright", "left"]) == (0, 1, 2)  # a class without a counterpart maps to itself


def test_the_arm_that_a_class_names_moves_most(bodies: Path):
    left, right = SOURCES["bandai_namco"].skeleton.indices(("left_wrist", "right_wrist"))
    busier = {"wave-left-hand": left, "wave-right-hand": right}
    agreed = []
    for clip in read_bodies(bodies, "bandai_namco"):
        if clip.label in busier:
            moved = np.ptp(clip.points - clip.points[:, :1], axis=0).sum(axis=-1)
            agreed.append(moved[busier[clip.label]] == moved[[left, right]].max())
    assert len(agreed) == 112
    assert np.mean(agreed) > 0.98


def test_the_last_training_clips_of_each_class_are_held_out():
    splits: list[Split] = ["test" if i == 20 else "train" for i in range(25)]
    labels = ["a"] * 21 + ["b"] * 3 + ["c"]
    held_out = [i for i, split in enumerate(hold_out(splits, labels)) if split == "validation"]
    assert held_out == [18, 19, 23]


def test_points_without_confidence_are_missing_and_missing_points_have_no_confidence():
    points = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    confidence = np.array([[1, 0, 0.5], [1, 1, 0]], np.float32)
    seen = seen_points(points, confidence)
    assert np.isnan(seen).all(axis=-1).tolist() == [[False, True, False], [False, False, True]]
    np.testing.assert_array_equal(confidence_of(seen), confidence > 0)


def test_frames_with_missing_joints_do_not_count_for_handedness(bodies: Path):
    clip = read_bodies(bodies, "hdm05_11")[0]
    points = clip.points.copy()
    share = handedness(points, clip.skeleton, UP)
    points[::2, clip.skeleton.joints.index("left_toe")] = np.nan
    assert handedness(points, clip.skeleton, UP) == pytest.approx(share, abs=0.02)
