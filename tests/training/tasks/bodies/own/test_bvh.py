"""Tests of the reader of BVH: places computed by hand, the skeletons it knows by name, and files that are refused."""

from pathlib import Path

import numpy as np
import pytest
from own_bodies import DECLARED, NAMES, bvh

from training.tasks.bodies.own.bvh import read_bvh
from training.tasks.bodies.own.declaration import Declaration
from training.tasks.bodies.own.recorded import MalformedMotion
from training.tasks.bodies.own.sets import motion

CHAIN = """HIERARCHY
ROOT Hips
{
\tOFFSET 9 9 9
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Upper Leg
\t{
\t\tOFFSET 0 10 0
\t\tCHANNELS 3 Zrotation Xrotation Yrotation
\t\tJOINT Slider
\t\t{
\t\t\tOFFSET 5 0 0
\t\t\tCHANNELS 1 Xposition
\t\t\tEnd Site
\t\t\t{
\t\t\t\tOFFSET 0 0 2
\t\t\t}
\t\t}
\t}
}
MOTION
Frames: 2
Frame Time: 0.0083333
1 2 3 0 0 0 0 0 0 5
1 2 3 90 0 0 0 90 0 7
"""


def test_places_follow_from_offsets_positions_and_turns_in_the_order_of_the_channels():
    recorded = read_bvh(CHAIN.encode())
    assert recorded.labels == ("Hips", "Upper Leg", "Slider", "Slider_end")
    assert recorded.fps == 120
    np.testing.assert_allclose(recorded.points[0], [(1, 2, 3), (1, 12, 3), (6, 12, 3), (6, 12, 5)], atol=1e-12)
    # a quarter about z takes y to -x and x to y; then one about the turned x takes z to -y in the leg's axes: here to x
    np.testing.assert_allclose(recorded.points[1], [(1, 2, 3), (-9, 2, 3), (-9, 9, 3), (-7, 9, 3)], atol=1e-12)


def test_turns_are_applied_in_the_order_that_the_channels_have():
    turned = read_bvh(CHAIN.replace("90 0 0 0 90 0 7", "90 90 0 0 0 0 5").encode()).points[1]
    swapped = CHAIN.replace("Zrotation Xrotation Yrotation\n\tJOINT", "Xrotation Zrotation Yrotation\n\tJOINT")
    other = read_bvh(swapped.replace("90 0 0 0 90 0 7", "90 90 0 0 0 0 5").encode()).points[1]
    np.testing.assert_allclose(turned[1], (1, 2, 13), atol=1e-12)  # about x, y goes to z, which the turn about z leaves
    np.testing.assert_allclose(other[1], (-9, 2, 3), atol=1e-12)  # about z, y goes to -x, which the turn about x leaves


@pytest.mark.parametrize("family", NAMES)
def test_skeletons_of_usual_names_become_a_joint_order(family: str, tmp_path: Path):
    (tmp_path / "a.bvh").write_text(bvh(30, family, turn_deg=90))
    declared = Declaration.model_validate({**DECLARED, "joints": "bandai-21", "units": "cm"})
    joints = dict(zip(declared.order.joints, motion(tmp_path / "a.bvh", tmp_path, declared).points[7], strict=True))
    np.testing.assert_allclose(
        joints["pelvis"], (0, 0.93, 0), atol=1e-9
    )  # the lowest point, 2 cm above 0, is the floor
    np.testing.assert_allclose(joints["spine"], (0, 1.18, 0), atol=1e-9)
    np.testing.assert_allclose(joints["right_knee"], (-0.1, 0.48, 0), atol=1e-9)
    np.testing.assert_allclose(joints["left_shoulder"], (0.18, 1.38, 0), atol=1e-9)
    np.testing.assert_allclose(joints["left_elbow"], (0.18, 1.38, -0.3), atol=1e-9)  # a quarter about x takes -y to -z
    np.testing.assert_allclose(joints["right_wrist"], (-0.18, 1.38, -0.55), atol=1e-9)


def test_the_end_of_the_heads_bone_is_the_crown(tmp_path: Path):
    (tmp_path / "a.bvh").write_text(bvh(30))
    declared = Declaration.model_validate({**DECLARED, "units": "cm"})
    points = motion(tmp_path / "a.bvh", tmp_path, declared).points
    np.testing.assert_allclose(
        points[0, declared.order.joints.index("head_top")], (0, 1.64, 0.03), atol=1e-9
    )  # from the ankles, the lowest points


def test_an_unknown_skeleton_is_refused_with_what_is_missing_and_names_can_be_mapped(tmp_path: Path):
    (tmp_path / "a.bvh").write_text(bvh(30).replace("LeftForeArm", "Ellbogen"))
    declared = Declaration.model_validate({**DECLARED, "units": "cm"})
    with pytest.raises(
        MalformedMotion, match=r"joints of h36m-17, got none for left_elbow; the file has Hips, LeftUpLeg"
    ):
        motion(tmp_path / "a.bvh", tmp_path, declared)
    mapped = declared.model_copy(update={"markers": {"left_elbow": ("Ellbogen",)}})
    assert motion(tmp_path / "a.bvh", tmp_path, mapped).points.shape == (30, 17, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("walk", "expected HIERARCHY and MOTION"),
        (CHAIN.replace("Frames: 2", "Frames: 2.5"), "expected Frames and Frame Time"),
        (CHAIN.replace("0.0083333", "0"), "expected a frame time in seconds, got 0"),
        (CHAIN.replace("Frames: 2", "Frames: 999999999"), "expected at most 1,000,000 frames, got 999,999,999"),
        (CHAIN.replace("Frames: 2", "Frames: 3"), "expected 3 frames of 10 numbers, got 20 numbers"),
        (CHAIN.replace("90 0 7", "90 0 x"), "expected numbers in every frame"),
        (CHAIN.replace("}\nMOTION", "MOTION"), "expected closed braces"),
        (CHAIN.replace("MOTION", "}\nMOTION"), "with a brace for each brace"),
        (CHAIN.replace("OFFSET 5 0 0", "OFFSET 5 0"), "expected a number, got 'CHANNELS'"),
        (CHAIN.replace("CHANNELS 1", "CHANNELS 7"), "expected 0 to 6 channels, got '7'"),
        (CHAIN.replace("CHANNELS 1 Xposition", "CHANNELS 1 Wposition"), "expected a channel such as Zrotation"),
        (CHAIN.replace("OFFSET 5", "SCALE 5"), "expected a joint, OFFSET, CHANNELS or a brace, got 'SCALE'"),
        ("HIERARCHY\n" + "ROOT a { CHANNELS 0 " * 1001 + "\nMOTION\nFrames: 1\nFrame Time: 1\n", "at most 1000 joints"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(content: str, message: str):
    with pytest.raises(MalformedMotion, match=message):
        read_bvh(content.encode())
