"""Tests of POST /poses/lift, /forecast/poses and /actions/recognize: formats, orders, rates, gaps, batches, symmetry."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from people import moving_person, pixels

from models.contract.task import ActionRecognition, PoseForecast
from models.motion.bodies import about_y
from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES, get_body_order
from service.app import create_app
from service.settings import Settings
from service.tasks.bodies import lift as lift_poses
from service.tasks.endpoint import DECODE_ON_LOOP

from ...conftest import ARMS, make_forecaster, make_recogniser, moving_body
from ..hands.test_endpoint import MSGPACK, NPY, npy

LIFT, FORECAST, ACTIONS = "/poses/lift", "/forecast/poses", "/actions/recognize"
WIDTH, HEIGHT = 1000, 800
LIFTED: dict[str, Any] = {"fps": 30, "joints": "h36m-17", "image": [WIDTH, HEIGHT], "model": "lift-means"}
PAST: dict[str, Any] = {"fps": 10, "joints": "h36m-17", "model": "poses-onwards"}
CLIP: dict[str, Any] = {"joints": "h36m-17", "model": "actions-3d"}


def ask(client: TestClient, path: str, base: dict[str, Any], **fields: Any) -> dict:
    body = {**base, **{name: x.tolist() if isinstance(x, np.ndarray) else x for name, x in fields.items()}}
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def with_gaps(points: np.ndarray, share: float, seed: int = 0) -> list:
    """Return keypoints with confidences, in which some keypoints and one frame are null."""
    rng = np.random.default_rng(seed)
    frames = np.concatenate([points, rng.uniform(0.2, 1, (*points.shape[:-1], 1))], axis=-1).tolist()
    for frame, joint in np.argwhere(rng.random(points.shape[:-1]) < share):
        frames[frame][joint] = None
    frames[len(frames) // 2] = None
    return frames


def mirror_of(frames: list, order: str, width: float) -> list:
    """Return the mirrored clip: x is reflected, left and right keypoints are exchanged."""
    image = get_body_order(order).mirror
    exchanged = [None if frame is None else [frame[joint] for joint in image] for frame in frames]
    return [frame and [point and [width - point[0], *point[1:]] for point in frame] for frame in exchanged]


# lifting


def lift_reference(points: np.ndarray, receptive: int = 9) -> np.ndarray:
    """Compute the answer of `lift-means` to complete keypoints at 30 fps, frame by frame, as a reference implementation."""
    half, poses = receptive // 2, []
    for t in range(len(points)):
        window = [points[min(max(t + k, 0), len(points) - 1)] for k in range(-half, half + 1)]
        mean = np.mean(window, axis=0) / WIDTH * 2
        poses.append(np.concatenate([mean - mean[0], np.zeros((17, 1))], axis=1))
    return np.array(poses)


@pytest.mark.parametrize("frames", [1, 2, 9, 40])
def test_every_frame_is_lifted_with_its_surrounding_frames(client, frames):
    points = moving_body(frames, 2)
    answer = ask(client, LIFT, LIFTED, keypoints=points)
    np.testing.assert_allclose(answer["poses"], lift_reference(points), atol=1e-5)
    np.testing.assert_allclose(answer["times"], np.arange(frames) / 30, atol=1e-6)
    assert answer["names"] == list(get_body_order("h36m-17").joints)
    assert (answer["missing_joints"], answer["filled_keypoints"], answer["unseen_frames"]) == ([], 0, [])


@pytest.mark.parametrize("fps", [5, 12.5, 25, 29.97, 48, 60, 240])
@pytest.mark.parametrize("seconds", [0, 1])
def test_poses_are_at_the_times_of_the_request_for_any_rate(client, fps, seconds):
    time = np.arange(int(seconds * fps) + 1)[:, None, None] / fps
    points = moving_body(1, 2) + time * np.linspace(-50, 50, 34).reshape(
        17, 2
    )  # steady motion, whose mean is its middle
    answer = ask(client, LIFT, {**LIFTED, "fps": fps}, keypoints=points)
    assert len(answer["poses"]) == len(points)
    flat = (points - points[:, :1]) / WIDTH * 2
    inside = (time[:, 0, 0] >= 4 / 30) & (time[:, 0, 0] <= time[-1, 0, 0] - 4.5 / 30)
    np.testing.assert_allclose(np.array(answer["poses"])[inside, :, :2], flat[inside], atol=1e-5)
    assert np.abs(np.array(answer["poses"])[..., :2] - flat).max() <= 8 / 30 * 0.3, (
        "expected small errors at the padded ends"
    )


def test_computing_a_long_clip_in_chunks_gives_the_same_poses(client, monkeypatch):
    points = moving_body(1300, 2)
    in_chunks = ask(client, LIFT, LIFTED, keypoints=points)
    monkeypatch.setattr(lift_poses, "CHUNK", 10_000)
    np.testing.assert_allclose(in_chunks["poses"], ask(client, LIFT, LIFTED, keypoints=points)["poses"], atol=1e-6)


@pytest.mark.parametrize("order", BODIES)
def test_keypoints_in_every_order_are_lifted_and_missing_joints_are_listed(client, order):
    joints = get_body_order(order).joints
    answer = ask(client, LIFT, {**LIFTED, "joints": order}, keypoints=pixels(moving_person(order, 3)))
    assert np.array(answer["poses"]).shape == (3, 17, 3)
    assert {"left_knee", "right_wrist"} <= set(answer["names"]) - set(answer["missing_joints"])
    assert ("head_top" in answer["missing_joints"]) == ("head_top" not in joints)


def test_short_gaps_are_interpolated_and_unseen_frames_are_listed(client):
    points = moving_body(1, 2) + np.arange(40)[:, None, None] * np.linspace(-2, 2, 34).reshape(17, 2)
    frames = points.tolist()
    frames[20] = None
    frames[30][3] = [*frames[30][3], 0]  # a keypoint with confidence 0 is missing
    answer = ask(client, LIFT, LIFTED, keypoints=frames)
    assert (answer["filled_keypoints"], answer["unseen_frames"]) == (18, [20])
    np.testing.assert_allclose(answer["poses"], ask(client, LIFT, LIFTED, keypoints=points)["poses"], atol=1e-6)
    frames[5:25] = [None] * 20
    longer = ask(client, LIFT, LIFTED, keypoints=frames)
    assert (longer["filled_keypoints"], longer["unseen_frames"]) == (1, list(range(5, 25)))


def test_a_model_without_confidence_accepts_interpolated_keypoints(client):
    frames = moving_body(10, 2).tolist()
    frames[4][2] = None
    answer = ask(client, LIFT, {**LIFTED, "model": "lift-sure", "fps": 25}, keypoints=frames)
    assert answer["filled_keypoints"] == 1


# forecasting


def test_the_forecast_is_in_the_coordinates_of_the_request(client):
    points = moving_body(10, 2)
    answer = ask(client, FORECAST, PAST, past=points)
    expected = points[-1] + np.arange(1, 11)[:, None, None] * (points[-1] - points[-2])
    np.testing.assert_allclose(answer["future"], expected, atol=5e-3)
    np.testing.assert_allclose(answer["times"], np.arange(1, 11) / 10, atol=1e-6)
    small = ask(client, FORECAST, PAST, past=points / 1000 - 3)
    np.testing.assert_allclose(np.array(small["future"]), expected / 1000 - 3, atol=5e-6)


@pytest.mark.parametrize("fps", [15, 24, 60])
def test_the_forecast_has_the_rate_of_the_request_and_uses_only_the_newest_frames(client, fps):
    steady = moving_body(1, 2)[0] + np.arange(3 * fps)[:, None, None] / fps * np.linspace(-50, 50, 34).reshape(17, 2)
    answer = ask(client, FORECAST, {**PAST, "fps": fps}, past=steady)
    np.testing.assert_allclose(answer["times"], np.arange(1, fps + 1) / fps, atol=1e-6)
    expected = steady[-1] + np.arange(1, fps + 1)[:, None, None] * (steady[-1] - steady[-2])
    np.testing.assert_allclose(answer["future"], expected, atol=5e-3)
    assert answer["future"] == ask(client, FORECAST, {**PAST, "fps": fps}, past=steady[-fps:])["future"]


def test_joints_that_are_unknown_to_the_model_or_never_seen_are_null(client):
    frames = moving_body(10, 2).tolist()
    joints = get_body_order("coco-17").joints
    for frame in frames:
        frame[joints.index("left_wrist")] = None
    answer = ask(client, FORECAST, {**PAST, "joints": "coco-17"}, past=frames)
    absent = ["nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_wrist"]
    assert answer["unforecast_joints"] == absent
    for pose in answer["future"]:
        assert [joint for joint, point in zip(joints, pose, strict=True) if point is None] == absent


def test_a_keypoint_that_is_missing_in_one_frame_is_interpolated(client):
    points = moving_body(1, 2)[0] + np.arange(21)[:, None, None] * np.linspace(-2, 2, 34).reshape(17, 2)
    frames = points.tolist()
    frames[12] = None
    answer = ask(client, FORECAST, {**PAST, "fps": 20}, past=frames)
    assert answer["filled_keypoints"] == 17
    assert answer["future"] == ask(client, FORECAST, {**PAST, "fps": 20}, past=points)["future"]


# actions


def test_classes_are_sorted_by_probability_and_have_mirror_images(client):
    clip = moving_body(30, 3) / 1000
    joints = get_body_order("h36m-17").joints
    clip[:, joints.index("left_wrist"), 1] += 3
    answer = ask(client, ACTIONS, CLIP, clip=clip)
    assert answer["classes"][0]["name"] == "left up"
    assert answer["classes"][0]["mirror"] == "right up"
    probabilities = [class_["probability"] for class_ in answer["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-6)
    assert ask(client, ACTIONS, {**CLIP, "top": 1}, clip=clip)["classes"] == answer["classes"][:1]
    assert ask(client, ACTIONS, {**CLIP, "units": "cm"}, clip=clip * 100)["classes"] == answer["classes"]


def test_a_model_that_turns_clips_is_invariant_to_heading_and_position(client):
    clip = moving_body(30, 3) / 1000
    turned = about_y(clip, 2.1) + np.array([5.0, 1.0, -3.0])
    for one, other in zip(
        ask(client, ACTIONS, CLIP, clip=clip)["classes"],
        ask(client, ACTIONS, CLIP, clip=turned)["classes"],
        strict=True,
    ):
        assert one["name"] == other["name"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)


def test_the_most_confident_persons_are_recognised(client):
    people = np.stack([np.concatenate([moving_body(16, 2, seed=i), np.full((16, 17, 1), confidence)], axis=-1)
                       for i, confidence in enumerate([0.9, 0.2, 0.5])])  # fmt: skip
    base = {"joints": "coco-17", "model": "actions-pairs"}
    answer = ask(client, ACTIONS, base, persons=people)
    assert answer["persons"] == [0, 2]
    assert answer["classes"] == ask(client, ACTIONS, base, persons=people[[0, 2]])["classes"]
    assert ask(client, ACTIONS, base, clip=people[0])["persons"] == [0]


def test_a_clip_of_any_length_is_recognised(client):
    for frames in (1, 7, 300):
        assert ask(client, ACTIONS, CLIP, clip=moving_body(frames, 3) / 1000)["frames"] == frames
        assert ask(client, ACTIONS, {"joints": "coco-17", "model": "actions-pairs"}, clip=moving_body(frames, 2))


# all three endpoints

REQUESTS = {  # path, base, name of the field of one clip, frames, dimensions, scale
    "lift": (LIFT, LIFTED, "keypoints", 20, 2, 1),
    "forecast": (FORECAST, PAST, "past", 12, 2, 1),
    "3d": (ACTIONS, CLIP, "clip", 25, 3, 0.001),
    "2d": (ACTIONS, {"joints": "coco-17", "model": "actions-pairs"}, "clip", 25, 2, 1),
}


def result(answer: dict) -> np.ndarray:
    """Return the numbers of an answer, with NaN for null, scaled to size 1."""
    if "classes" in answer:
        odds = {class_["name"]: class_["probability"] for class_ in answer["classes"]}
        return np.array([odds[name] for name in ARMS])
    if "poses" in answer:
        return np.array(answer["poses"])
    return np.array([[point or [np.nan] * 2 for point in pose] for pose in answer["future"]]) / WIDTH


@pytest.mark.parametrize("order", ["h36m-17", "coco-17", "openpose-18", "penn-13", "mpii-16"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_the_answer_to_a_mirrored_request_is_the_mirrored_answer(client, kind, order):
    """The clip has confidences, gaps and another rate than the model; the tolerance is 1e-6 for answers of size 1.

    The control is a clip that is reflected without exchanging left and right.
    """
    path, base, field, frames, dims, scale = REQUESTS[kind]
    base, width = {**base, "joints": order, "fps": 12}, 0 if kind == "3d" else WIDTH
    clip = moving_body(frames, dims, len(get_body_order(order).joints)) * scale
    request = with_gaps(clip, 0.03)
    straight, image = (ask(client, path, base, **{field: one}) for one in (request, mirror_of(request, order, width)))
    reflected = ask(client, path, base, **{field: [f and [p and [width - p[0], *p[1:]] for p in f] for f in request]})

    def mirror(numbers: np.ndarray) -> np.ndarray:
        if path == ACTIONS:
            return numbers[[1, 0, 2]]
        swapped = mirrored(numbers, get_body_order("h36m-17" if path == LIFT else order))
        return swapped + (np.array([1, 0]) if path == FORECAST else 0)

    np.testing.assert_allclose(result(image), mirror(result(straight)), rtol=0, atol=1e-6)
    assert np.nanmax(np.abs(result(reflected) - mirror(result(straight)))) > 1e-4
    assert image["missing_joints"] == straight["missing_joints"]


@pytest.mark.parametrize("kind", REQUESTS)
def test_clips_in_one_request_are_answered_like_single_clips(client, kind):
    path, base, field, frames, dims, scale = REQUESTS[kind]
    clips = [with_gaps(moving_body(frames + 5 * seed, dims, seed=seed) * scale, 0.02, seed) for seed in range(4)]
    together = ask(client, path, base, clips=clips)
    for clip, part in zip(clips, together["clips"], strict=True):
        alone = ask(client, path, base, **{field: clip})
        assert part == {name: alone[name] for name in part}
        assert {name: alone[name] for name in together if name != "clips"} == {
            name: value for name, value in together.items() if name != "clips"
        }


def test_an_answer_does_not_depend_on_the_rest_of_its_batch(bundles):
    requests = [
        (path, {**base, field: (moving_body(frames, dims, seed=seed) * scale).tolist()})
        for seed in range(4)
        for path, base, field, frames, dims, scale in REQUESTS.values()
    ]
    with TestClient(create_app(Settings(bundles=bundles, slots=1, max_batch=8))) as client:

        def post(request: tuple[str, dict]) -> dict:
            return client.post(request[0], json=request[1]).json()

        alone = [post(request) for request in requests]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(post, requests))
    assert together == alone


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_raw_floats_and_npy_get_the_answer_of_lists(client, kind, dtype):
    path, base, field, frames, dims, scale = REQUESTS[kind]
    clip = (moving_body(frames, dims) * scale).astype(dtype)
    clip[3, 4] = np.nan
    frames_ = [[None if np.isnan(p).any() else p for p in frame] for frame in clip.astype(float).tolist()]
    expected = ask(client, path, base, **{field: frames_})
    body = {**base, field: clip.tobytes(), "shape": clip.shape, "dtype": dtype}
    raw = client.post(path, content=msgspec.msgpack.encode(body), headers={"content-type": MSGPACK})
    assert raw.json() == expected
    query = {name: ",".join(map(str, value)) if name == "image" else value for name, value in base.items()}
    from_npy = client.post(path, params=query, content=npy(clip), headers={"content-type": NPY})
    assert from_npy.json() == expected
    several = client.post(path, params=query, content=npy(np.stack([clip, clip])), headers={"content-type": NPY})
    assert [part["filled_keypoints" if path != ACTIONS else "classes"] for part in several.json()["clips"]] == [
        expected["filled_keypoints" if path != ACTIONS else "classes"]
    ] * 2


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_answers_can_be_raw_floats_or_npy(client, dtype):
    frames = moving_body(12, 2).astype(dtype)
    body = {**PAST, "joints": "coco-17", "past": frames.tobytes(), "shape": frames.shape, "dtype": dtype}
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    answer = msgspec.msgpack.decode(
        client.post(FORECAST, content=msgspec.msgpack.encode(body), headers=headers).content
    )
    future = np.frombuffer(answer["future"], answer["dtype"]).reshape(answer["shape"])
    assert answer["dtype"] == dtype
    assert np.isnan(future[:, 0]).all(), "expected NaN for the nose, which is null in JSON"
    assert np.isfinite(future[:, 5:]).all()
    query = {**PAST, "joints": "coco-17"}
    response = client.post(FORECAST, params=query, content=npy(frames), headers={"content-type": NPY, "accept": NPY})
    np.testing.assert_array_equal(np.load(io.BytesIO(response.content), allow_pickle=False), future)
    assert response.headers["x-chiron-joints"] == "coco-17"
    query = {**LIFTED, "image": f"{WIDTH},{HEIGHT}"}
    response = client.post(
        LIFT, params=query, content=npy(np.stack([frames] * 3)), headers={"content-type": NPY, "accept": NPY}
    )
    assert np.load(io.BytesIO(response.content), allow_pickle=False).shape == (3, 12, 17, 3)


def test_handling_a_large_body_in_a_thread_gives_the_same_answer(client):
    for path, base, field, frames, dims, scale in REQUESTS.values():
        clip = moving_body(frames, dims) * scale
        body = json.dumps({**base, field: clip.tolist()}).encode() + b" " * DECODE_ON_LOOP
        response = client.post(path, content=body, headers={"content-type": "application/json"})
        assert response.json() == ask(client, path, base, **{field: clip})


def test_models_that_cannot_serve_requests_are_refused_with_the_reason(tmp_path):
    make_forecaster(tmp_path, "poses-penn", PoseForecast(order="penn-13", past=2, future=16, box="clip"))
    make_forecaster(tmp_path, "poses-spread", PoseForecast(order="penn-13", past=2, future=16))
    task = ActionRecognition(order="coco-17", classes=ARMS, dims=3, frames=20)
    make_recogniser(tmp_path, "actions-without-pelvis", task)
    with TestClient(create_app(Settings(bundles=tmp_path))) as client:
        states = {model["name"]: model["reason"] for model in client.get("/models").json()["models"]}
    assert "reproduces published figures" in states["poses-penn"]
    assert "reproduces published figures" in states["poses-spread"]
    assert "pelvis" in states["actions-without-pelvis"]


def test_scores_above_one_are_clipped_and_counted(client):
    frames = moving_body(12, 2).tolist()
    scored = [[[x, y, 1.0] for x, y in frame] for frame in frames]
    scored[3][4][2], scored[5][6][2] = 1.04, 2.0
    answer = ask(client, LIFT, LIFTED, keypoints=scored)
    assert answer["clipped_confidences"] == 2
    assert answer["poses"] == ask(client, LIFT, LIFTED, keypoints=frames)["poses"]


@pytest.mark.parametrize("sentinel", [0, -1])
def test_keypoints_at_zero_or_minus_one_are_missing(client, sentinel):
    missing = moving_body(12, 2).tolist()
    written = moving_body(12, 2).tolist()
    missing[4][2], written[4][2] = None, [sentinel, sentinel]
    expected = ask(client, LIFT, LIFTED, keypoints=missing)
    assert expected["filled_keypoints"] == 1
    assert ask(client, LIFT, LIFTED, keypoints=written) == expected


def test_an_image_size_may_consist_of_integral_floats(client):
    frames = moving_body(12, 2)
    assert ask(client, LIFT, {**LIFTED, "image": [1000.0, 800.0]}, keypoints=frames) == ask(
        client, LIFT, LIFTED, keypoints=frames
    )


def test_lifted_poses_can_be_recognised_without_conversion(client):
    lifted = ask(client, LIFT, LIFTED, keypoints=moving_body(25, 2))
    clip = (
        moving_body(25, 3) / 1000 * np.array([1, -1, -1])
    ).tolist()  # the poses of the test bundle are not plausible
    fields = {name: lifted[name] for name in ("joints", "axes", "units")}
    answer = ask(client, ACTIONS, {**fields, "model": "actions-3d"}, clip=clip)
    assert answer["classes"] == ask(client, ACTIONS, CLIP, clip=moving_body(25, 3) / 1000)["classes"]
