"""Tests of the 68 face landmarks: their order, regions and mirror pairs."""

import numpy as np

from models.skeletons.face import FACE68, FACE_REGIONS, INTEROCULAR


def test_the_landmarks_are_in_ibug_order():
    joints = FACE68.joints
    assert len(joints) == len(set(joints)) == 68
    assert (joints[0], joints[8], joints[16]) == ("right_jaw_1", "chin", "left_jaw_1")
    assert (joints[27], joints[30], joints[33]) == ("nasion", "nose_tip", "subnasale")
    assert (joints[36], joints[39], joints[42], joints[45]) == (
        *("right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer"),
    )
    assert (joints[48], joints[54], joints[60], joints[64]) == (
        *("right_mouth_corner", "left_mouth_corner", "right_mouth_corner_inside", "left_mouth_corner_inside"),
    )
    assert INTEROCULAR == (36, 45)


def test_every_landmark_is_in_one_region_and_every_curve_within_a_region():
    assert [i for region in FACE_REGIONS.values() for i in region] == list(range(68))
    assert [len(region) for region in FACE_REGIONS.values()] == [17, 5, 5, 4, 5, 6, 6, 12, 8]
    assert all(any({a, b} <= set(region) for region in FACE_REGIONS.values()) for a, b in FACE68.bones)
    assert len(FACE68.bones) == 68 - 5  # five of the nine curves are open


def test_mirroring_twice_is_the_identity_and_maps_curves_to_curves():
    mirror = np.array(FACE68.mirror)
    np.testing.assert_array_equal(mirror[mirror], np.arange(68))
    assert {frozenset((FACE68.mirror[a], FACE68.mirror[b])) for a, b in FACE68.bones} == set(
        map(frozenset, FACE68.bones)
    )
    assert [FACE68.joints[i] for i in np.flatnonzero(mirror == np.arange(68))] == [
        *("chin", "nasion", "nose_bridge_upper", "nose_bridge_lower", "nose_tip", "subnasale"),
        *("upper_lip", "lower_lip", "upper_lip_inside", "lower_lip_inside"),
    ]


def test_on_a_symmetric_face_a_landmark_mirrors_to_its_partner(data_folder):
    with np.load(data_folder / "faces/ict_facekit/ict_facekit_light.npz") as arrays:
        landmarks = arrays["mean"][arrays["landmarks68"]].astype(np.float64)
    mirrored = landmarks * [-1, 1, 1]
    assert np.linalg.norm(mirrored - landmarks[list(FACE68.mirror)], axis=1).max() < 0.01  # measured: 0.006 mm
    assert np.linalg.norm(mirrored - landmarks, axis=1).max() > 100
    right = [i for i, joint in enumerate(FACE68.joints) if joint.startswith("right")]
    assert (landmarks[right, 0] < 0).all()  # the subject's right is at -x
