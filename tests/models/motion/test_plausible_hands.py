"""What points of a hand can be: every recording passes in every unit; wrong units and wrong joint orders do not."""

from itertools import combinations

import numpy as np
import pytest

from models.motion.plausible_hands import check_hand, hand_length, orders_that_fit
from models.skeletons.hand import ASSEMBLY101, HANDS
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
            seen = recording.clip.joints[recording.clip.valid[:, hand], hand].astype(float)
            yield from (seen[start : start + WINDOW] for start in range(0, len(seen), WINDOW))


@pytest.fixture(scope="module")
def hand(data_folder):
    return next(windows(data_folder, "leap"))


@pytest.mark.parametrize("source", SOURCES)
def test_no_recorded_hand_is_refused(data_folder, source):
    checked = 0
    for window in windows(data_folder, source):
        check_hand(window, ASSEMBLY101, "m")
        check_hand(window[:1], ASSEMBLY101, "m")
        checked += 1
    assert checked


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("taken_for", UNITS)
def test_a_unit_that_is_taken_for_another_is_refused_with_the_right_one(hand, unit, taken_for):
    read = hand / UNITS[unit] * UNITS[taken_for]
    if unit == taken_for:
        return check_hand(read, ASSEMBLY101, taken_for)
    with pytest.raises(Implausible, match=rf"got .* read in {taken_for}; it would fit in .*\b{unit}\b"):
        check_hand(read, ASSEMBLY101, taken_for)


@pytest.mark.parametrize(("a", "b"), list(combinations(("index", "middle", "ring", "pinky"), 2)))
def test_two_fingers_that_are_exchanged_are_noticed(hand, a, b):
    names, wrong = list(ASSEMBLY101.joints), hand.copy()
    for part in ("mcp", "pip", "dip", "tip"):
        i, j = names.index(f"{a}_{part}"), names.index(f"{b}_{part}")
        wrong[:, [i, j]] = wrong[:, [j, i]]
    with pytest.raises(Implausible, match="knuckle nearer to"):
        check_hand(wrong, ASSEMBLY101, "m")


def test_wrist_and_palm_that_are_exchanged_are_noticed(hand):
    i, j = ASSEMBLY101.indices(("wrist", "palm_centre"))
    wrong = hand.copy()
    wrong[:, [i, j]] = wrong[:, [j, i]]
    with pytest.raises(Implausible, match=r"a wrist 2.% of the hand's length from the middle knuckle"):
        check_hand(wrong, ASSEMBLY101, "m")


def test_an_order_that_is_taken_for_another_is_named(hand):
    assert "assembly101" in orders_that_fit(hand)
    with pytest.raises(Implausible, match=r"expected a hand in mediapipe order, got .*; the points fit assembly101"):
        check_hand(hand, HANDS["mediapipe"], "m")


def test_all_joints_at_one_point_are_no_hand():
    with pytest.raises(Implausible, match="all joints at one point"):
        check_hand(np.ones((5, 21, 3)), ASSEMBLY101, "m")


def test_turning_moving_and_mirroring_change_no_verdict(hand):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    moved = hand @ turn.T * np.array([1.0, 1.0, -1.0]) + 5.0
    assert hand_length(moved, ASSEMBLY101) == pytest.approx(hand_length(hand, ASSEMBLY101), rel=1e-9)
    assert orders_that_fit(moved) == orders_that_fit(hand)
    check_hand(moved, ASSEMBLY101, "m")
