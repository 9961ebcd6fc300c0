"""Tests that the short way of the usual request gives what the way of any request gives, and leaves every other request to it."""

import dataclasses

import numpy as np
import pytest
from hand_motion import moving_hands
from hypothesis import given
from hypothesis import strategies as st

from models.contract.task import HandForecast
from models.skeletons.units import to_metres
from service.tasks.endpoint import Limits
from service.tasks.hands.prepare import prepare_any
from service.tasks.hands.prepared import PreparedHands
from service.tasks.hands.schemas import HandsOptions
from service.tasks.hands.usual import prepare_usual
from service.tasks.hands.wire import DecodedHands, Points

FPS, PAST, JOINTS = 30, 10, 21
PLAIN = HandForecast(past=PAST, future=12, fps=FPS)
LIKELY = HandForecast(past=PAST, future=12, fps=FPS, modes=3, masked=True, spread=True)
TASKS = st.sampled_from([PLAIN, LIKELY])
FORMS = ("two", "left hand", "unnamed hand", "both", "right")


class Meta:
    """The part of a bundle's description that preparing reads."""

    name = "hands-any"


def request(
    form: str = "two", frames: int = PAST, seed: int = 0, metres: float = 0.0, **options: object
) -> DecodedHands:
    """Return a request whose hands are so many `metres` from the origin."""
    chosen = HandsOptions(**{"fps": FPS, "hand": "left" if form == "left hand" else None, **options})
    clip = moving_hands(frames, 2, seed=seed) + metres
    clip = clip * (1, 1, -1 if chosen.axes == "left-handed" else 1) / to_metres(chosen.units)
    left, right = clip[:, :JOINTS], clip[:, JOINTS:]
    arrays = {
        "two": {"past": clip},
        "left hand": {"past": left},
        "unnamed hand": {"past": right},
        "both": {"left": left, "right": right},
        "right": {"right": right},
    }[form]
    return DecodedHands(chosen, {name: Points(values, None) for name, values in arrays.items()}, "<f8")


def ways(asked: DecodedHands, task: HandForecast) -> tuple[PreparedHands | None, PreparedHands]:
    """Return the request prepared in the short way and in the other."""
    return prepare_usual(asked, task, Meta.name), prepare_any(asked, Meta, task, Limits(10**6, gap_s=0.2))  # pyright: ignore[reportArgumentType] - the part of a description that is read


@given(
    TASKS,
    st.sampled_from(FORMS),
    st.integers(PAST, 40),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 1.5, -300.0]),
    st.sampled_from(["m", "cm", "mm", "in"]),
    st.sampled_from(["right-handed", "left-handed"]),
    st.sampled_from([{}, {"at": [0.2, 0.03]}, {"horizon": 0.25}, {"joints": "assembly101"}, {"keep_bones": True}]),
)
def test_both_ways_give_the_same(task, form, frames, seed, metres, units, axes, further):
    short, other = ways(request(form, frames, seed, metres, units=units, axes=axes, **further), task)
    assert short is not None
    for field in dataclasses.fields(short):
        mine, theirs = getattr(short, field.name), getattr(other, field.name)
        if field.name == "past":
            np.testing.assert_array_equal(mine.joints, theirs.joints)
            assert mine[1:] == theirs[1:]
        else:
            np.testing.assert_equal(mine, theirs)
    for name, tensor in short.tensors.items():
        np.testing.assert_array_equal(tensor, other.tensors[name])
        assert tensor.dtype == np.float32


def changed(values: np.ndarray, kind: str) -> np.ndarray:
    """Return hands that are not usual."""
    values = values.copy()
    if kind == "unseen":
        values[3, 4] = np.nan
    elif kind == "infinite":
        values[3, 4, 1] = np.inf
    elif kind == "far":
        values += 2000
    elif kind == "large":
        values *= 1.6
    elif kind == "mirrored":
        values *= (-1, 1, 1)
    elif kind == "jump":
        values[5:] += 1.0
    elif kind == "zeros":
        values[3, :2] = 0
    elif kind == "copied":
        values[:, JOINTS:] = values[:, :JOINTS]
    return values


@pytest.mark.parametrize("kind", ["unseen", "infinite", "far", "large", "mirrored", "jump", "zeros", "copied"])
def test_doubtful_points_take_the_other_way(kind):
    asked = request()
    asked.arrays["past"] = Points(changed(asked.arrays["past"].values, kind), None)
    with np.errstate(invalid="ignore"):
        assert prepare_usual(asked, LIKELY, Meta.name) is None


@pytest.mark.parametrize(
    "asked",
    [
        request(fps=60),
        request(fps=None, timestamps=[frame / FPS for frame in range(PAST)]),
        request(joints="mediapipe"),
        request(frames=PAST - 1),
        request(hand="left"),
        request("both", hand="left"),
        request(spread=True),
        DecodedHands(HandsOptions(fps=FPS), {}, "<f8"),
        DecodedHands(HandsOptions(fps=FPS), {"past": Points(np.zeros((PAST, 0, 3)), None)}, "<f8"),
        DecodedHands(HandsOptions(fps=FPS), {"past": Points(np.zeros((PAST, 63, 3)), None)}, "<f8"),
        DecodedHands(HandsOptions(fps=FPS), {"past": Points(moving_hands(PAST, 2), np.ones(PAST, bool))}, "<f8"),
    ],
)
def test_another_request_takes_the_other_way(asked):
    assert prepare_usual(asked, PLAIN, Meta.name) is None
