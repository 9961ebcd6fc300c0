"""Tests that the quick way through JSON reads what the other reads, and leaves to it whatever has anything but whole arrays."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.negotiation import JSON
from service.http.problems import Problem
from service.tasks import flat_json
from service.tasks.endpoint import Body
from service.tasks.flat_json import parse
from service.tasks.hands import wire
from service.tasks.hands.checks import seen_frames

NAMES = ("past", "left", "right")
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**20), 10**20),
    st.sampled_from([0, -0.0, 1e-320, 1e308]),
)
CLIP = [[[1, 2.5, -3e-2], [4, 5, 6]], [[7, 8, 9], [0, 1, 2]]]


@st.composite
def clips(draw) -> list:
    frames, nodes = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    return [[[draw(NUMBERS) for _ in range(3)] for _ in range(nodes)] for _ in range(frames)]


VALUES = st.one_of(
    clips(),
    st.none(),
    st.recursive(
        st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=3)), lambda inner: st.lists(inner, max_size=3)
    ),
)
FIELDS = st.one_of(
    st.tuples(st.sampled_from(NAMES), VALUES),
    st.tuples(st.sampled_from(["fps", "at", "units", "joints", "model", "pas-t", "l3ft", "p\\u0061st", 'a"b']), VALUES),
    st.just(("fps", 30)),
)


def outcome(data: bytes, monkeypatch, *, quick: bool):
    """Return the decoded request, or the problem."""
    with monkeypatch.context() as patch:
        if not quick:
            patch.setattr(wire, "parse", lambda *_: None)
        try:
            decoded = wire.decode(Body(data, JSON, JSON))
        except Problem as problem:
            return problem.kind, problem.detail, problem.errors
    arrays = {
        name: (points.values.tobytes(), points.values.shape, seen_frames(points).tolist(), points.nulls is None)
        for name, points in decoded.arrays.items()
    }
    return decoded.options, list(arrays.items()), decoded.dtype


def read(data: bytes, names: tuple[str, ...]):
    parsed = parse(data, names)
    assert parsed is not None
    return parsed


@given(st.lists(FIELDS, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_any_body_is_read_or_refused_as_by_the_other_way(fields, indent, twice):
    text = ",".join(
        f"{json.dumps(name)}: {json.dumps(value, indent=indent)}" for name, value in (*fields, *fields[: int(twice)])
    )
    data = f"{{{text}}}".encode()
    with pytest.MonkeyPatch.context() as patch:
        assert outcome(data, patch, quick=True) == outcome(data, patch, quick=False)


@pytest.mark.parametrize("space", ["", " ", "\n\t "])
def test_whole_arrays_are_read_as_floats_bit_for_bit(space: str):
    rng = np.random.default_rng(0)
    left = rng.normal(size=(5, 21, 3)).astype(np.float32).astype(float).tolist()
    separators = (f",{space}", f":{space}")
    fields, arrays = read(
        json.dumps({"fps": 30, "left": left, "at": [0.1], "right": CLIP}, separators=separators).encode(), NAMES
    )
    assert fields == {"fps": 30, "at": [0.1]}
    assert np.array_equal(arrays["left"], left)
    assert np.array_equal(arrays["right"], CLIP)
    assert arrays["right"].dtype == np.float64


OTHERS = {
    "null for a hand": [None, *CLIP],
    "null for a point": [[None, [1, 2, 3]]],
    "true for a number": [[[True, 1, 2]]],
    "text for a number": [[["1", 1, 2]]],
    "a point of two": [[[1, 2], [3, 4, 5, 6]]],
    "frames of two lengths": [[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]],
    "too deep": [CLIP],
    "no frames": [],
    "no points": [[]],
    "a point": [1, 2, 3],
    "a number": 3,
    "null": None,
    "an object": {"x": [[[1, 2, 3]]]},
    "a large whole number": [[[10**30, 2, 3]]],
}


@pytest.mark.parametrize("other", OTHERS)
def test_any_other_array_is_left_to_the_other_way(other: str):
    assert parse(json.dumps({"past": OTHERS[other], "fps": 30}).encode(), NAMES) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'"past"',
        b"{",
        b'{"past": [[[1, 2, 3]]]',
        b'{"past": [[[1, 2, 3]]]} x',
        b'{"past": [[[1, 2, 3]]], "past": [[[1, 2, 3]]]}',
        b'{"fps": 30, "fps": 31, "past": [[[1, 2, 3]]]}',
        b'{"past": [[[1, 2, 1e999]]]}',
        b'{"past": [[[1, 2, 01]]]}',
        b'{"past": [[[1, 2, NaN]]]}',
        b'{"p\\u0061st": [[[1, 2, 3]]]}',
        b'\xef\xbb\xbf{"past": [[[1, 2, 3]]]}',
        b'{"past": [[[1, 2, 3]]], "model": "\xff"}',
    ],
)
def test_what_is_no_such_object_is_left_to_the_other_way(data: bytes):
    assert parse(data, NAMES) is None


def test_brackets_in_strings_and_names_with_digits_are_no_arrays():
    body = {"model": "[[[1,2,3]]]", "pas-t": CLIP, "past": CLIP}
    assert parse(json.dumps(body).encode(), NAMES) is None  # two fields look like the name once digits are taken out
    fields, arrays = read(json.dumps({"model": ":[[[1,2,3]]],", "past": CLIP}).encode(), NAMES)
    assert (fields["model"], arrays["past"].shape) == (":[[[1,2,3]]],", (2, 2, 3))


def test_without_the_library_every_body_takes_the_other_way(monkeypatch):
    monkeypatch.setattr(flat_json, "simdjson", None)
    data = json.dumps({"fps": 30, "past": CLIP}).encode()
    assert parse(data, NAMES) is None
    assert math.isclose(wire.decode(Body(data, JSON, JSON)).arrays["past"].values[0, 0, 1], 2.5)
