"""Tests of invalid requests about hands: each problem states expected and actual values."""

import json

import msgspec
import numpy as np
import pytest
from hand_motion import moving_hands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.negotiation import TYPES
from service.http.problems import KINDS, MEDIA_TYPE

from ...conftest import MAX_BODY
from ...damage import damaged
from ...exchange import problem_of
from .test_endpoint import MSGPACK, NPY, URL, npy

GOOD = moving_hands(30, hands=1).tolist()
PAIR = moving_hands(30, hands=2).tolist()
BASE = {"fps": 30}


def with_number(text: str) -> bytes:
    """Return a valid body with one number replaced by `text`."""
    return json.dumps({**BASE, "past": GOOD}).encode().replace(str(GOOD[3][4][1]).encode(), text.encode(), 1)


def changed(index: tuple[int, ...], value: object) -> list:
    """Return GOOD with one frame, joint or number replaced."""
    copy = json.loads(json.dumps(GOOD))
    place = copy
    for i in index[:-1]:
        place = place[i]
    place[index[-1]] = value
    return copy


def gap(start: int, stop: int) -> list:
    """Return GOOD without the frames start to stop - 1."""
    return GOOD[:start] + [None] * (stop - start) + GOOD[stop:]


JSON_ERRORS: dict[str, tuple[object, str, str]] = {  # body, kind of problem, text in it
    "nothing": (b"", "malformed-body", "expected a body, got none"),
    "half": (b'{"fps": 30, "past": [[[1,', "malformed-body", "truncated"),
    "text": (b"hello", "malformed-body", "malformed"),
    "not utf-8": (b'{"joints": "\xff\xfe"}', "malformed-body", ""),
    "deep": (b'{"past":' + b"[" * 100_000, "invalid-request", "/past/0/0/0"),
    "deep unknown": (b'{"x":' + b"[" * 100_000, "invalid-request", "no field `x`; there are"),
    "surrogate": (b'{"fps": 30, "model": "\\ud800"}', "malformed-body", ""),
    "array": ([], "invalid-request", "Expected `object`"),
    "no fps": ({"past": GOOD}, "invalid-request", "`fps`"),
    "no hands": (BASE, "invalid-request", "none of them"),
    "past and left": ({**BASE, "past": GOOD, "left": GOOD}, "invalid-request", "past, left"),
    "misspelt field": ({**BASE, "past": GOOD, "unit": "mm"}, "invalid-request", "`unit`"),
    "fps zero": ({"fps": 0, "past": GOOD}, "invalid-request", "/fps"),
    "fps huge": ({"fps": 1e9, "past": GOOD}, "invalid-request", "at most 1000"),
    "fps text": ({"fps": "30", "past": GOOD}, "invalid-request", "got `str`"),
    "units": ({**BASE, "past": GOOD, "units": "inch"}, "invalid-request", "/units"),
    "true": (with_number("true"), "invalid-request", "/past/3/4/1: Expected `float`, got `bool`"),
    "text number": (with_number('"1.5"'), "invalid-request", "/past/3/4/1: Expected `float`, got `str`"),
    "null number": (with_number("null"), "invalid-request", "/past/3/4/1: Expected `float`, got `null`"),
    "NaN": (with_number("NaN"), "malformed-body", ""),
    "Infinity": (with_number("Infinity"), "malformed-body", ""),
    "1e400": (with_number("1e400"), "invalid-request", "out of range"),
    "huge": (with_number("1e300"), "out-of-range", "/past/3/4/1: expected at most 1000 m"),
    "millimetres read as metres": ({**BASE, "past": changed((29, 0, 0), 1500.5)}, "out-of-range", "/past/29/0/0"),
    "one frame short of a joint": ({**BASE, "past": changed((7,), GOOD[0][:20])}, "wrong-shape", "/past/7: expected 21 joints"),
    "two coordinates": ({**BASE, "past": changed((7, 2), [1, 2])}, "invalid-request", "array` of length 3"),
    "empty frames": ({**BASE, "past": [[]] * 30}, "wrong-shape", "[30][0][3]"),
    "null joint": ({**BASE, "past": changed((7, 2), None)}, "invalid-request", "/past/7/2"),
    "20 joints": ({**BASE, "past": [f[:20] for f in GOOD]}, "wrong-shape", "[frames][21][3] for a hand"),
    "42 joints as left": ({**BASE, "left": PAIR}, "wrong-shape", "got [30][42][3]"),
    "26 joints by order": ({**BASE, "past": GOOD, "joints": "openxr"}, "wrong-shape", "[frames][26][3]"),
    "left longer": ({**BASE, "left": GOOD, "right": GOOD[1:]}, "wrong-shape", "got 30 and 29"),
    "no frames": ({**BASE, "past": []}, "too-few-frames", "at least 30 frames at 30 fps, since hands-thirty needs the last 0.967 s; got 0"),
    "too few": ({**BASE, "past": GOOD[:10]}, "too-few-frames", "got 10"),
    "too few at 60": ({"fps": 60, "past": GOOD}, "too-few-frames", "at least 59 frames at 60 fps"),
    "gone": ({**BASE, "past": [*GOOD[:-1], None]}, "gap-too-long", "missing in the last frame"),
    "left gone": ({**BASE, "left": [*GOOD[:-1], None]}, "gap-too-long", "missing in the last frame"),
    "long gap": ({**BASE, "right": gap(9, 18)}, "gap-too-long", "between frames 8 and 18"),
    "millimetres as metres": ({**BASE, "left": [[[1000 * x for x in point] for point in frame] for frame in GOOD]},
                              "implausible", "it would fit in mm"),
    "faster than any hand": ({**BASE, "left": [[[x + 20 * (i == 28), y, z] for x, y, z in frame] for i, frame in enumerate(GOOD)]},
                             "implausible", "the left hand moves 20 m from frame"),
    "another order": ({**BASE, "left": GOOD, "joints": "mediapipe"}, "implausible", "the points fit assembly101"),
    "not a number": (b'{"fps": 30, "left": [[[0.1, NaN, 0.2]]]}', "malformed-body", "send null for what was not seen"),
    "never there": ({**BASE, "past": [None] * 30}, "gap-too-long", "expected a visible hand"),
    "joints": ({**BASE, "past": GOOD, "joints": "kinect"}, "unknown-joints", "assembly101, mano, mediapipe"),
    "model": ({**BASE, "past": GOOD, "model": "gpt"}, "unknown-model", "hands-modes, hands-thirty"),
    "no side": ({**BASE, "past": GOOD, "joints": "mano"}, "invalid-request", "expected left or right for one hand in mano order"),
    "needless side": ({**BASE, "left": GOOD, "hand": "left"}, "invalid-request", "/hand"),
    "side of two": ({**BASE, "past": PAIR, "hand": "left"}, "invalid-request", "/hand"),
    "a point": ({**BASE, "past": [[[0.1, 0.2, 0.3]] * 21] * 30, "hand": "left", "joints": "mano"}, "gap-too-long", "visible hand"),
    "long name": ({**BASE, "past": GOOD, "model": "m" * 65}, "invalid-request", "/model"),
    "long field": ({**BASE, "x" * 5000: 1}, "invalid-request", "there is no field"),
    "too large": (b" " * (MAX_BODY + 1), "body-too-large", f"at most {MAX_BODY} bytes (CHIRON_MAX_BODY_BYTES)"),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON_ERRORS)
def test_an_invalid_body_gets_a_problem_that_names_the_error(client, case):
    body, kind, text = JSON_ERRORS[case]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(URL, content=content, headers={"content-type": "application/json"})
    assert text in problem_of(response, kind)["detail"]


def test_the_problem_points_at_an_invalid_number(client):
    response = client.post(URL, content=with_number("true"), headers={"content-type": "application/json"})
    assert response.json()["errors"] == [{"pointer": "/past/3/4/1", "detail": "Expected `float`, got `bool`"}]


def test_a_body_without_content_length_is_cut_off_at_the_limit(client):
    chunks = (b" " * 100_000 for _ in range(50))
    response = client.post(URL, content=chunks, headers={"content-type": "application/json"})
    problem_of(response, "body-too-large")


@pytest.mark.parametrize(
    "media", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "x" * 500]
)
def test_the_problem_for_an_unknown_content_type_lists_the_known_ones(client, media):
    response = client.post(URL, content=b"{}", headers={"content-type": media})
    assert ", ".join(TYPES) in problem_of(response, "unsupported-media-type")["detail"]


def test_a_body_of_another_compression_is_unsupported_rather_than_malformed(client):
    headers = {"content-type": "application/json", "content-encoding": "deflate"}
    problem_of(client.post(URL, content=b"\x1f\x8b", headers=headers), "unsupported-media-type")


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "nonsense", "application/json;q=x"])
def test_an_unknown_answer_format_is_refused_before_computation(client, accept):
    response = client.post(URL, json={**BASE, "past": GOOD}, headers={"accept": accept})
    assert "expected application/json" in problem_of(response, "not-acceptable")["detail"]


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/nothing", "not-found"),
        ("GET", "/models/", "not-found"),
        ("GET", "/models/nobody", "unknown-model"),
        ("GET", "/models/nobody/example", "unknown-model"),
        ("GET", "/models/%ED%A0%80%00", "unknown-model"),
        ("GET", "/problems/nothing", "not-found"),
        ("GET", URL, "method-not-allowed"),
        ("DELETE", "/models", "method-not-allowed"),
        ("BREW", "/healthz", "method-not-allowed"),
    ],
)
def test_an_unknown_path_or_method_gets_a_problem(client, method, path, kind):
    problem_of(client.request(method, path), kind)


def test_the_problem_for_an_unsupported_method_lists_the_supported_ones(client):
    assert client.get(URL).headers["allow"] == "POST"


ARRAY = moving_hands(30, hands=1)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def claiming(*shape: int) -> bytes:
    return header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")


NPY_ERRORS = {
    "empty": (b"", "malformed-body"),
    "json": (b"[[[1,2,3]]]", "malformed-body"),
    "cut header": (npy(ARRAY)[:40], "malformed-body"),
    "cut data": (npy(ARRAY)[:-1], "wrong-shape"),
    "more data": (npy(ARRAY) + b"\0", "wrong-shape"),
    "claims 4 TiB": (claiming(2**40, 21, 3), "wrong-shape"),
    "claims nothing": (claiming(2**40, 0, 3), "wrong-shape"),
    "negative": (claiming(-1, -1, 3), "wrong-shape"),
    "long header": (b"\x93NUMPY\x02\x00" + (1 << 31).to_bytes(4, "little") + b" " * 5000, "malformed-body"),
    "code": (header("__import__('os').getpid()"), "malformed-body"),
    "deep": (header("(" * 900), "malformed-body"),
    "list": (header("[1, 2]"), "malformed-body"),
    "objects": (header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 21, 3)}") + b"\x80\x04N.", "wrong-shape"),
    "whole numbers": (npy(ARRAY.astype(int)), "wrong-shape"),
    "big-endian": (npy(ARRAY.astype(">f4")), "wrong-shape"),
    "fortran": (npy(np.asfortranarray(ARRAY)), "wrong-shape"),
    "flat": (npy(ARRAY.reshape(-1)), "wrong-shape"),
    "20 joints": (npy(ARRAY[:, :20]), "wrong-shape"),
    "nan": (npy(np.where(np.arange(63).reshape(21, 3) == 5, np.nan, ARRAY)), "not-finite"),
    "inf": (npy(np.where(np.arange(63).reshape(21, 3) == 5, -np.inf, ARRAY)), "not-finite"),
    "all nan": (npy(ARRAY * np.nan), "gap-too-long"),
}  # fmt: skip


@pytest.mark.parametrize("case", NPY_ERRORS)
def test_an_invalid_npy_file_is_refused_without_large_allocations(client, case):
    body, kind = NPY_ERRORS[case]
    problem_of(client.post(URL, params=BASE, content=body, headers={"content-type": NPY}), kind)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "`fps`"),
        ({"fps": "fast"}, "?fps"),
        ({"fps": "nan"}, "?fps"),
        ({"fps": "30", "frames": "3"}, "`frames`"),
        ({"fps": "30", "joints": "kinect"}, "?joints"),
        ({"fps": "30", "model": "gpt"}, "hands-thirty"),
        ({"fps": "30", "units": ""}, "?units"),
    ],
)
def test_the_problem_points_at_an_invalid_parameter_of_an_npy_request(client, query, text):
    response = client.post(URL, params=query, content=npy(ARRAY), headers={"content-type": NPY})
    assert response.status_code in (404, 422)
    assert text in response.text


def test_query_parameters_of_a_json_request_are_refused(client):
    response = client.post(URL, params={"units": "mm"}, json={**BASE, "past": GOOD})
    assert problem_of(response, "invalid-request")["errors"][0]["pointer"] == "?units"


pack = msgspec.msgpack.encode
RAW = ARRAY.astype("<f4").tobytes()
MSGPACK_ERRORS = {
    "not msgpack": (b"\xc1", "malformed-body"),
    "cut": (pack({**BASE, "past": GOOD})[:-5], "malformed-body"),
    "nan": (pack({**BASE, "past": changed((3, 4, 1), float("nan"))}), "not-finite"),
    "inf": (pack({**BASE, "past": changed((3, 4, 1), float("inf"))}), "not-finite"),
    "a whole frame of nan": (pack({**BASE, "past": changed((3,), [[float("nan")] * 3] * 21)}), "not-finite"),
    "no shape": (pack({**BASE, "past": RAW}), "invalid-request"),
    "wrong shape": (pack({**BASE, "past": RAW, "shape": [30, 42, 3]}), "wrong-shape"),
    "wrong dtype": (pack({**BASE, "past": RAW, "shape": [30, 21, 3], "dtype": "<f2"}), "invalid-request"),
    "huge shape": (pack({**BASE, "past": RAW, "shape": [2**62, 2**62, 3]}), "wrong-shape"),
    "raw and lists": (pack({**BASE, "left": RAW, "right": GOOD, "shape": [30, 21, 3]}), "invalid-request"),
    "deep": (b"\x91" * 200_000, "invalid-request"),
}  # fmt: skip


@pytest.mark.parametrize("case", MSGPACK_ERRORS)
def test_an_invalid_msgpack_body_gets_a_problem(client, case):
    body, kind = MSGPACK_ERRORS[case]
    problem_of(client.post(URL, content=body, headers={"content-type": MSGPACK}), kind)


@pytest.mark.parametrize(
    ("media", "valid"),
    [
        ("application/json", json.dumps({**BASE, "past": GOOD}).encode()),
        (MSGPACK, msgspec.msgpack.encode({**BASE, "past": RAW, "shape": [30, 21, 3]})),
        (NPY, npy(ARRAY.astype("<f4"))),
    ],
)
def test_random_bytes_get_an_answer_or_a_documented_problem(client, media, valid):
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(body=damaged(valid))
    def post(body: bytes) -> None:
        response = client.post(
            URL, params=BASE if media == NPY else None, content=body, headers={"content-type": media}
        )
        assert response.status_code in (200, 400, 404, 422), response.text
        if response.status_code != 200:
            assert response.headers["content-type"] == MEDIA_TYPE
            assert response.json()["type"].startswith("/problems/")

    post()
    assert client.post(URL, json={**BASE, "past": GOOD}).status_code == 200


def test_random_numbers_get_a_forecast_or_a_documented_problem(client):
    number = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, 1e-300, 1000.0])

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(numbers=st.lists(number, min_size=1, max_size=9), joints=st.sampled_from(["assembly101", "mano"]))
    def post(numbers: list[float], joints: str) -> None:
        array = np.resize(np.array(numbers), (30, 42, 3))
        response = client.post(
            URL, params={**BASE, "joints": joints}, content=npy(array), headers={"content-type": NPY}
        )
        assert response.status_code in (200, 422), response.text
        if response.status_code == 200:
            assert np.isfinite(np.array(response.json()["future"], dtype=float)).all()

    post()


def test_an_unexpected_error_is_a_problem_without_internals(client, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("service.tasks.hands.prepare.prepare_usual", broken)
    response = client.post(URL, json={**BASE, "past": GOOD})
    assert "swordfish" not in problem_of(response, "internal")["detail"]
    assert any("swordfish" in str(record.exc_info) for record in caplog.records)


def test_a_problem_type_is_a_page_with_advice(client):
    for kind in KINDS:
        page = client.get(f"/problems/{kind}").json()
        assert page["status"] == KINDS[kind].status
        assert page["remedy"]


@pytest.mark.parametrize("media", [NPY, MSGPACK])
def test_arrays_of_too_many_frames_are_refused_in_binary_forms(client, media):
    past = np.zeros((10_001, 1, 3), "<f4")
    packed = msgspec.msgpack.encode({"fps": 30, "past": past.tobytes(), "shape": past.shape})
    content, query = (npy(past), {"fps": 30}) if media == NPY else (packed, {})
    response = client.post(URL, content=content, params=query, headers={"content-type": media})
    assert "at most 10000" in problem_of(response, "too-many-frames")["detail"]
