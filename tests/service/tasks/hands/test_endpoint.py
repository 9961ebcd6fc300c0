"""Tests of POST /forecast/hands: formats, units, orders, rates, gaps, symmetry, and independence of batches."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hand_motion import moving_hands

from models.contract.symmetry import SYMMETRIES
from models.skeletons.hand import ASSEMBLY101, HANDS
from service.app import create_app
from service.settings import Settings
from service.tasks.endpoint import DECODE_ON_LOOP

from ...exchange import problem_of

URL = "/forecast/hands"
FPS = 30
NPY, MSGPACK = "application/x-npy", "application/msgpack"


def forecast(client: TestClient, **body) -> dict:
    body = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in body.items()}
    response = client.post(URL, json={"fps": FPS, **body})
    assert response.status_code == 200, response.text
    return response.json()


def constant_velocity(past: np.ndarray, frames: int, speed: float = 1.0) -> np.ndarray:
    """Compute the answer of the constant-velocity bundle, as a reference implementation."""
    return np.stack([past[-1] + speed * k * (past[-1] - past[-2]) for k in range(1, frames + 1)])


@pytest.fixture
def pair() -> np.ndarray:
    return moving_hands(30, hands=2)


@pytest.fixture
def one() -> np.ndarray:
    return moving_hands(30, hands=1)


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version, allow_pickle=False)
    return buffer.getvalue()


def test_two_hands_in_one_array_are_answered_in_one_array(client, pair):
    answer = forecast(client, past=pair)
    np.testing.assert_allclose(answer["future"], constant_velocity(pair, 30), atol=1e-5)
    np.testing.assert_allclose(answer["times"], np.arange(1, 31) / FPS, atol=1e-6)
    assert "left" not in answer
    assert answer["filled_frames"] == 0
    assert answer["carried_joints"] == []


def test_left_and_right_are_answered_as_left_and_right(client, pair):
    answer = forecast(client, left=pair[:, :21], right=pair[:, 21:])
    expected = constant_velocity(pair, 30)
    np.testing.assert_allclose(answer["left"], expected[:, :21], atol=1e-5)
    np.testing.assert_allclose(answer["right"], expected[:, 21:], atol=1e-5)
    assert "future" not in answer


@pytest.mark.parametrize("name", ["past", "left", "right"])
def test_a_single_hand_is_forecast(client, one, name):
    answer = forecast(client, **{name: one})
    np.testing.assert_allclose(answer["future" if name == "past" else name], constant_velocity(one, 30), atol=1e-5)


def test_the_answer_names_the_model_and_its_error_on_the_test_split(client, one):
    answer = forecast(client, past=one)
    listed = client.get("/models/hands-thirty").json()
    assert answer["model"] == {"name": "hands-thirty", "version": listed["version"]}
    assert [(m["split"], m["value"], m["unit"]) for m in answer["expected_error"]] == [("test", 12.5, "mm")]


@pytest.mark.parametrize(
    ("units", "scale"), [("m", 1), ("cm", 100), ("mm", 1000), ("in", 1 / 0.0254), ("ft", 1 / 0.3048)]
)
def test_the_answer_is_in_the_units_of_the_request(client, pair, units, scale):
    answer = forecast(client, past=pair * scale, units=units)
    np.testing.assert_allclose(np.array(answer["future"]) / scale, constant_velocity(pair, 30), atol=1e-5)


@pytest.mark.parametrize("fps", [10, 24, 60, 120])
def test_the_answer_has_the_rate_of_the_request_and_the_same_horizon(client, fps):
    past = moving_hands(3, hands=2)[0] + np.arange(2 * fps)[:, None, None] / fps * [0.3, -0.1, 0.2]  # steady motion
    answer = forecast(client, past=past, fps=fps)
    np.testing.assert_allclose(answer["times"], np.arange(1, fps + 1) / fps, atol=1e-6)
    np.testing.assert_allclose(answer["future"], constant_velocity(past, fps), atol=2e-5)


@pytest.mark.parametrize("order", HANDS)
def test_the_answer_is_in_the_joint_order_of_the_request(client, order):
    past = moving_hands(1, hands=2, order=order)[0] + np.arange(30)[:, None, None] / 30 * [0.3, -0.1, 0.2]  # rigid
    answer = forecast(client, past=past, joints=order)
    np.testing.assert_allclose(answer["future"], constant_velocity(past, 30), atol=1e-5)
    assert set(answer["carried_joints"]) == set(HANDS[order].joints) - set(ASSEMBLY101.joints)


def test_a_short_gap_is_filled_and_counted(client, pair):
    left, right = pair[:, :21].tolist(), pair[:, 21:].tolist()
    left[20] = left[21] = right[7] = None
    answer = forecast(client, left=left, right=right)
    assert answer["filled_frames"] == 3
    np.testing.assert_allclose(answer["left"], constant_velocity(pair, 30)[:, :21], atol=1e-5)


def test_a_hand_that_is_never_visible_is_null_and_the_other_is_forecast(client, one):
    answer = forecast(client, left=[None] * 30, right=one)
    assert answer["left"] is None
    np.testing.assert_allclose(answer["right"], constant_velocity(one, 30), atol=1e-5)


@pytest.mark.parametrize("sentinel", [0.0, -1.0])
@pytest.mark.parametrize("order", HANDS)
def test_a_hand_of_zeros_is_a_missing_hand(client, order, sentinel):
    pair, joints = moving_hands(30, hands=2, order=order), len(HANDS[order].joints)
    left, right = pair[:, :joints].tolist(), pair[:, joints:].tolist()
    missing = [*left[:10], None, None, *left[12:]]
    left[10] = left[11] = [[sentinel] * 3] * joints
    answer = forecast(client, left=left, right=right, joints=order)
    assert answer == forecast(client, left=missing, right=right, joints=order)
    assert answer["filled_frames"] == 2


@pytest.mark.parametrize("frames", [[None] * 30, [[[0.0] * 3] * 21] * 30])
def test_hands_that_are_never_visible_are_null(client, frames):
    answer = forecast(client, left=frames, right=frames)
    assert answer["left"] is answer["right"] is None
    assert len(answer["times"]) == 30
    refused = client.post(URL, json={"fps": FPS, "left": frames}, headers={"accept": NPY})
    assert refused.status_code == 406


def test_one_of_two_hands_in_an_array_may_be_missing(client, pair):
    """An array cannot express that one hand is missing, so the answer has a field for each hand."""
    for lost in (slice(25, 30), slice(0, 25)):
        past = pair.copy()
        past[lost, :21] = 0.0
        answer = forecast(client, past=past)
        assert answer["left"] is None
        np.testing.assert_allclose(answer["right"], constant_velocity(pair, 30)[:, 21:], atol=1e-5)
        assert "future" not in answer


def test_the_answer_has_the_left_handed_axes_of_the_request(client, pair):
    flip = np.array([1.0, 1.0, -1.0])
    answer = forecast(client, past=moving_hands(30, hands=2) * flip, axes="left-handed")
    assert answer["axes"] == "left-handed"
    np.testing.assert_allclose(np.array(answer["future"]) * flip, forecast(client, past=pair)["future"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "order"),
    [("OpenXR", "openxr"), ("Media Pipe", "mediapipe"), ("manopth", "mano"), ("Unity_XR", "unity-xr")],
)
def test_names_of_orders_ignore_case_and_punctuation(client, name, order):
    past = moving_hands(30, hands=2, order=order)
    assert forecast(client, past=past, joints=name) == forecast(client, past=past, joints=order)
    assert forecast(client, past=past, joints=name)["joints"] == order


def test_an_unusual_hand_gets_a_warning(client, one):
    assert forecast(client, right=one)["warnings"] == []
    assert "cm long, read in m; check `units`" in forecast(client, right=one * 0.5)["warnings"][0]


def test_a_jump_and_a_copied_hand_get_a_warning(client, one):
    moved = one.copy()
    moved[28, 4] += 1  # there and back
    assert "moves 1.73 m from frame" in forecast(client, right=moved)["warnings"][0]
    assert "one may be a copy" in " ".join(forecast(client, left=one, right=one)["warnings"])


@pytest.mark.parametrize("media", ["application/json", MSGPACK])
def test_points_may_be_objects_with_x_y_and_z(client, one, media):
    """JSON.stringify writes a DOMPointReadOnly so, JsonUtility a Vector3, and MediaPipe a landmark."""
    frames: list[Any] = [[{"x": x, "y": y, "z": z, "w": 1} for x, y, z in frame] for frame in one.tolist()]
    frames[4] = None
    arrays: list[Any] = one.tolist()
    arrays[4] = None
    body = {"fps": FPS, "right": frames, "left": [None] * 30}
    content = json.dumps(body).encode() if media == "application/json" else msgspec.msgpack.encode(body)
    answer = client.post(URL, content=content, headers={"content-type": media})
    assert answer.json() == forecast(client, right=arrays, left=[None] * 30)
    del frames[7][3]["z"]
    problem_of(client.post(URL, json={"fps": FPS, "right": frames}), "invalid-request")


def test_a_null_frame_of_past_is_a_missing_frame_of_both_hands(client, pair):
    frames = pair.tolist()
    frames[12] = None
    assert forecast(client, past=frames)["filled_frames"] == 2


def test_further_modes_have_the_form_of_the_first(client, pair):
    answer = forecast(client, left=pair[:, :21], right=pair[:, 21:], model="hands-modes")
    assert len(answer["alternatives"]) == 2
    for mode, form in enumerate([answer, *answer["alternatives"]]):
        np.testing.assert_allclose(form["left"], constant_velocity(pair, 10, 1 / (mode + 1))[:, :21], atol=1e-5)


def test_only_the_newest_frames_are_used(client, pair):
    longer = np.concatenate([moving_hands(50, hands=2, seed=9), pair])
    assert forecast(client, past=longer)["future"] == forecast(client, past=pair)["future"]


@pytest.mark.parametrize("name", SYMMETRIES)
def test_the_answer_to_a_moved_request_is_the_moved_answer(client, pair, name):
    rng = np.random.default_rng(7)
    still = np.array(forecast(client, past=pair)["future"])
    for _ in range(5):
        act = SYMMETRIES[name](rng)
        moved = np.array(forecast(client, past=act(pair))["future"])
        np.testing.assert_allclose(moved, act(still), atol=1e-5)


def test_float32_coordinates_ten_metres_away_break_the_symmetry(client, pair):
    """Control for the test of moved requests: without centring in float64, a translation by 10 m fails."""
    offset = np.array([9.7, -8.3, 9.1])
    uncentred = constant_velocity((pair + offset).astype(np.float32), 30) - offset
    assert np.abs(uncentred - constant_velocity(pair, 30)).max() > 1e-5


def test_an_answer_does_not_depend_on_the_rest_of_its_batch(bundles):
    settings = Settings(bundles=bundles, default_model="hands-thirty", slots=1, max_batch=8)
    bodies = [{"fps": FPS, "past": moving_hands(30, hands=1 + seed % 2, seed=seed).tolist()} for seed in range(24)]
    with TestClient(create_app(settings)) as client:
        alone = [client.post(URL, json=body).json() for body in bodies]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda body: client.post(URL, json=body).json(), bodies))
    assert together == alone


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_requests_have_options_in_the_query_and_answers_in_headers(client, pair, dtype, version):
    response = client.post(
        URL,
        params={"fps": 30, "units": "mm", "joints": "assembly101", "model": "hands-thirty"},
        content=npy((pair * 1000).astype(dtype), version),
        headers={"content-type": NPY, "accept": NPY},
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == NPY
    future = np.load(io.BytesIO(response.content), allow_pickle=False)
    assert future.dtype == dtype
    np.testing.assert_allclose(future / 1000, constant_velocity(pair, 30), atol=2e-5)
    named = {name: response.headers[f"x-chiron-{name}"] for name in ("model", "arrays", "fps", "units", "joints")}
    expected = {"model": "hands-thirty", "arrays": "future", "fps": "30", "units": "mm", "joints": "assembly101"}
    assert named == expected


def test_a_hand_of_nan_in_an_npy_is_missing_in_that_frame(client, pair):
    pair[5, :21] = np.nan
    response = client.post(URL, params={"fps": 30}, content=npy(pair), headers={"content-type": NPY})
    assert response.status_code == 200, response.text
    assert response.json()["filled_frames"] == 1


def test_msgpack_gets_the_answer_of_json(client, pair):
    body = {"fps": 30, "left": pair[:, :21].tolist(), "right": [*pair[:-1, 21:].tolist(), pair[-1, 21:].tolist()]}
    response = client.post(URL, content=msgspec.msgpack.encode(body), headers={"content-type": MSGPACK})
    assert response.json() == client.post(URL, json=body).json()


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_msgpack_requests_and_answers_can_have_raw_floats(client, pair, dtype):
    left, right = (half.astype(dtype) for half in np.split(pair, 2, axis=1))
    body = {"fps": 30, "left": left.tobytes(), "right": right.tobytes(), "shape": left.shape, "dtype": dtype}
    response = client.post(
        URL, content=msgspec.msgpack.encode(body), headers={"content-type": MSGPACK, "accept": MSGPACK}
    )
    assert response.status_code == 200, response.text
    answer = msgspec.msgpack.decode(response.content)
    actual = np.frombuffer(answer["right"], answer["dtype"]).reshape(answer["shape"])
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, constant_velocity(pair, 30)[:, 21:], atol=2e-5)
    assert answer["model"]["name"] == "hands-thirty"
    assert answer["times"][-1] == 1.0


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", "application/json"),
        ("application/*;q=0.5", "application/json"),
        ("text/html, application/msgpack", MSGPACK),
        ("application/json;q=0.1, application/x-npy;q=0.9", NPY),
        ("application/json;q=0, */*", MSGPACK),
    ],
)
def test_accept_chooses_the_format_of_the_answer(client, one, accept, media):
    response = client.post(URL, json={"fps": 30, "past": one.tolist()}, headers={"accept": accept})
    assert response.headers["content-type"] == media


def test_decoding_a_large_body_in_a_thread_gives_the_same_answer(client, pair):
    body = json.dumps({"fps": FPS, "past": pair.tolist()}).encode() + b" " * DECODE_ON_LOOP
    response = client.post(URL, content=body, headers={"content-type": "application/json"})
    assert response.json() == forecast(client, past=pair)


def test_numbers_are_rounded_to_a_micrometre(client, one):
    answer = forecast(client, past=one * 1000, units="mm")
    assert all(round(x, 3) == x for x in np.ravel(answer["future"]).tolist())
