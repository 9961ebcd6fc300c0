"""Tests of plausible hands: all recordings pass in all units; wrong units and wrong joint orders fail."""

from itertools import combinations

import numpy as np
import pytest
from hand_motion import moving_hands, rest_hand
from hypothesis import given
from hypothesis import strategies as st

from models.motion.plausible_hands import are_usual, check_hand, check_side, hand_length, orders_that_fit
from models.skeletons.hand import ASSEMBLY101, HANDS
from models.skeletons.skeleton import LEFT_RIGHT
from models.skeletons.units import UNITS, Implausible
from training.tasks.hands.npz import read_hands

SOURCES = (
    "assembly101_sample",
    "humoto",
    "leap",
    "leap_playground",
    "leap_vrcollage",
    "manipnet",
    "thai_sign_leap",
    "tzionas",
    "ultraleap_tracking",
)
WINDOW = 60


def windows(data_folder, source):
    for recording in read_hands(data_folder / "hands", source):
        for hand in range(recording.clip.hands):
            visible = recording.clip.joints[recording.clip.valid[:, hand], hand].astype(float)
            yield from (visible[start : start + WINDOW] for start in range(0, len(visible), WINDOW))


@pytest.fixture(scope="module")
def hand(data_folder):
    return next(windows(data_folder, "leap"))


@pytest.mark.parametrize("source", SOURCES)
def test_every_recorded_hand_is_accepted(data_folder, source):
    checked = 0
    for window in windows(data_folder, source):
        assert check_hand(window, ASSEMBLY101, "m") == []
        assert check_hand(window[:1], ASSEMBLY101, "m") == []
        checked += 1
    assert checked


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("assumed", UNITS)
def test_the_error_for_a_wrong_unit_names_the_correct_one(hand, unit, assumed):
    read = hand / UNITS[unit] * UNITS[assumed]
    if unit == assumed:
        assert check_hand(read, ASSEMBLY101, assumed) == []
        return
    with pytest.raises(Implausible, match=rf"got .* read in {assumed}; it would fit in .*\b{unit}\b"):
        check_hand(read, ASSEMBLY101, assumed)


@pytest.mark.parametrize("frames", [1, 2, 5, 40])
def test_the_length_of_a_hand_is_the_median_of_its_middle_fingers_bones(frames):
    points = rest_hand() * np.random.default_rng(0).uniform(0.9, 1.1, size=(frames, 1, 1))
    names = ("wrist", "middle_mcp", "middle_pip", "middle_dip", "middle_tip")
    checked = points[:: -(-frames // 16)][:, ASSEMBLY101.indices(names)]
    expected = np.median(np.linalg.norm(np.diff(checked, axis=1), axis=-1), axis=0).sum()
    assert hand_length(points, ASSEMBLY101) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("a", "b"), list(combinations(("index", "middle", "ring", "pinky"), 2)))
def test_exchanged_fingers_are_refused(hand, a, b):
    names, wrong = list(ASSEMBLY101.joints), hand.copy()
    for part in ("mcp", "pip", "dip", "tip"):
        i, j = names.index(f"{a}_{part}"), names.index(f"{b}_{part}")
        wrong[:, [i, j]] = wrong[:, [j, i]]
    with pytest.raises(Implausible, match="knuckle nearer to"):
        check_hand(wrong, ASSEMBLY101, "m")


def test_an_exchanged_wrist_and_palm_are_refused(hand):
    i, j = ASSEMBLY101.indices(("wrist", "palm_centre"))
    wrong = hand.copy()
    wrong[:, [i, j]] = wrong[:, [j, i]]
    with pytest.raises(Implausible, match=r"a wrist 2.% of the hand's length from the middle knuckle"):
        check_hand(wrong, ASSEMBLY101, "m")


def test_the_error_for_a_wrong_joint_order_names_the_correct_one(hand):
    assert "assembly101" in orders_that_fit(hand)
    with pytest.raises(Implausible, match=r"expected a hand in mediapipe order, got .*; the points fit assembly101"):
        check_hand(hand, HANDS["mediapipe"], "m")


def test_a_hand_of_coincident_joints_is_refused():
    with pytest.raises(Implausible, match="all joints at one point"):
        check_hand(np.ones((5, 21, 3)), ASSEMBLY101, "m")


def test_plausibility_is_invariant_to_rotation_translation_and_mirror(hand):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    moved = hand @ turn.T * np.array([1.0, 1.0, -1.0]) + 5.0
    assert hand_length(moved, ASSEMBLY101) == pytest.approx(hand_length(hand, ASSEMBLY101), rel=1e-9)
    assert orders_that_fit(moved) == orders_that_fit(hand)
    check_hand(moved, ASSEMBLY101, "m")


def test_an_unusual_hand_gets_a_warning():
    hand = rest_hand()[None]
    (warning,) = check_hand(hand * 0.5, ASSEMBLY101, "m")
    assert "the hand is 9.33 cm long, read in m" in warning
    long_tip = hand.copy()
    tip, dip = ASSEMBLY101.indices(("index_tip", "index_dip"))
    long_tip[:, tip] = long_tip[:, dip] + 3.0 * (long_tip[:, tip] - long_tip[:, dip])
    (warning,) = check_hand(long_tip, ASSEMBLY101, "m")
    assert "the joints hardly fit assembly101 order" in warning
    assert check_hand(hand, ASSEMBLY101, "m") == []


def test_a_hand_with_fingers_that_bend_backwards_gets_a_warning():
    fist = rest_hand()[None].copy()
    names = ASSEMBLY101.joints
    for finger in ("index", "middle", "ring", "pinky"):
        base = fist[:, names.index(f"{finger}_mcp")]
        for depth, part in ((0.03, "pip"), (0.05, "dip"), (0.06, "tip")):
            fist[:, names.index(f"{finger}_{part}")] = base + np.array([0.0, 0.02, -depth])
    mirrored = fist * np.array([-1.0, 1.0, 1.0])
    assert check_side(fist, ASSEMBLY101, "right") == check_side(mirrored, ASSEMBLY101, "left") == []
    warnings = check_side(fist, ASSEMBLY101, "left") + check_side(mirrored, ASSEMBLY101, "right")
    assert ["left hand bend backwards" in warnings[0], "right hand bend backwards" in warnings[1]] == [True, True]


@pytest.mark.parametrize("source", ["leap", "tzionas", "humoto"])
def test_recorded_hands_get_no_warning_about_their_side(data_folder, source):
    for recording in read_hands(data_folder / "hands", source):
        for i, side in enumerate(LEFT_RIGHT if recording.clip.hands == 2 else ()):
            visible = recording.clip.joints[recording.clip.valid[:, i], i].astype(float)
            assert check_side(visible, ASSEMBLY101, side) == []


@pytest.mark.parametrize("order", HANDS)
@pytest.mark.parametrize("frames", [1, 2, 17, 30])
def test_both_hands_of_every_order_are_usual_in_one_pass(order, frames):
    points = moving_hands(frames, 2, order).reshape(frames, 2, -1, 3)
    assert are_usual(points, HANDS[order], LEFT_RIGHT)
    assert not are_usual(points, HANDS[order], LEFT_RIGHT[::-1])


@given(
    st.integers(1, 40),
    st.sampled_from(sorted(HANDS)),
    st.sampled_from([("left", "right"), ("right", "left"), ("future", "future")]),
    st.floats(0.3, 2.5),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.003, 0.01, 0.03]),
)
def test_no_check_has_anything_to_say_about_usual_hands(frames, order, sides, scale, seed, noise):
    rng = np.random.default_rng(seed)
    points = scale * moving_hands(frames, 2, order, seed % 100).reshape(frames, 2, -1, 3)
    points = points + rng.normal(scale=noise, size=points.shape)
    doubts: list[str] = []
    try:
        for hand, side in enumerate(sides):
            doubts += check_hand(points[:, hand], HANDS[order], "m")
            doubts += check_side(points[:, hand], HANDS[order], side) if side in LEFT_RIGHT else []
    except Implausible as error:
        doubts.append(str(error))
    assert are_usual(points, HANDS[order], sides) is (not doubts)


def test_hands_at_one_point_and_numbers_beyond_all_are_not_usual():
    for points in (np.zeros((4, 2, 21, 3)), np.full((4, 2, 21, 3), 1e200)):
        assert not are_usual(points, ASSEMBLY101, LEFT_RIGHT)


@pytest.mark.parametrize("source", SOURCES)
def test_nearly_all_recorded_hands_are_usual(data_folder, source):
    found = [are_usual(window[:, None], ASSEMBLY101, ("future",)) for window in windows(data_folder, source)]
    assert np.mean(found) == 1
