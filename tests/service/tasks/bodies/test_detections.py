"""Tests of keypoints in detectors' JSON: read like arrays of the same numbers, or refused with the reason."""

import io
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from people import moving_person, pixels

from models.skeletons.body_orders import BODIES
from service.tasks.bodies.detections import read
from service.tasks.bodies.people import tracks

from ...conftest import moving_body
from ...exchange import problem_of
from ..hands.test_endpoint import MSGPACK
from .test_endpoint import ACTIONS, FORECAST, HEIGHT, LIFT, PAST, WIDTH, ask

SENT = {"fps": 30, "image": [WIDTH, HEIGHT], "model": "lift-means"}
FRAMES = 12
Clip = np.ndarray  # frames, joints and x, y, confidence


def clip_of(order: str, seed: int = 0) -> Clip:
    """Return a clip in an order, with one missing keypoint."""
    points = pixels(moving_person(order, FRAMES, seed))
    clip = np.concatenate([points, np.full((*points.shape[:2], 1), 0.9)], axis=-1)
    clip[3, BODIES[order].joints.index("left_knee")] = 0
    return clip


def openpose(clip: Clip) -> list:
    person = {"person_id": [-1], "face_keypoints_2d": [], "hand_left_keypoints_2d": [], "pose_keypoints_3d": []}
    return [{"version": 1.3, "people": [{**person, "pose_keypoints_2d": frame.ravel().tolist()}]} for frame in clip]


def alphapose(clip: Clip, name: str = "{}.jpg", **more: Any) -> list:
    return [
        {"image_id": name.format(i), "category_id": 1, "keypoints": frame.ravel().tolist(), "score": 2.9, "box": [0] * 4, **more}
        for i, frame in enumerate(clip)
    ]  # fmt: skip


def mmpose(clip: Clip) -> list:
    return [
        {
            "frame_id": i + 1,
            "instances": [{"keypoints": f[:, :2].tolist(), "keypoint_scores": f[:, 2].tolist(), "bbox": [[0] * 4]}],
        }
        for i, f in enumerate(clip)
    ]


def ultralytics(clip: Clip) -> list:
    columns = (dict(zip(("x", "y", "visible"), frame.T.tolist(), strict=True)) for frame in clip)
    return [[{"name": "person", "class": 0, "confidence": 0.8, "keypoints": columns_}] for columns_ in columns]


def mediapipe(clip: Clip) -> list:
    return [
        [{"x": x / WIDTH, "y": y / HEIGHT, "z": -0.1, "visibility": sure} for x, y, sure in frame]
        for frame in clip.tolist()
    ]


WRITTEN = {  # the order of the clip, and its writer
    "OpenPose, 25 joints": ("openpose-25", openpose),
    "OpenPose, 18 joints": ("openpose-18", openpose),
    "AlphaPose": ("coco-17", alphapose),
    "AlphaPose, 26 joints": ("halpe-26", alphapose),
    "AlphaPose, 136 joints": ("halpe-136", alphapose),
    "AlphaPose with its tracker": ("coco-17", lambda clip: alphapose(clip, idx=7)),
    "AlphaPose as it wrote for OpenPose": (
        "openpose-18", lambda clip: [{"bodies": [{"joints": frame.ravel().tolist()}]} for frame in clip],
    ),
    "COCO results": ("coco-17", lambda clip: [{**one, "image_id": i} for i, one in enumerate(alphapose(clip))]),
    "COCO annotations": ("coco-17", lambda clip: {"images": [], "annotations": alphapose(clip)}),
    "MMPose's inferencer": (
        "coco-17", lambda clip: {"predictions": [frame["instances"] for frame in mmpose(clip)], "visualization": []},
    ),
    "AlphaPose by image": (
        "openpose-18", lambda clip: {f"{i}.jpg": frame for i, frame in enumerate(openpose(clip))},
    ),
    "every fifth frame": ("coco-17", lambda clip: [{**one, "image_id": 5 * i} for i, one in enumerate(alphapose(clip))]),
    "frames by longer names": ("coco-17", lambda clip: alphapose(clip, "take-2/frame_{:06d}.png")),
    "MMPose": ("coco-17", mmpose),
    "MMPose with meta_info": (
        "crowdpose-14", lambda clip: {"meta_info": {"dataset_name": "crowdpose"}, "instance_info": mmpose(clip)},
    ),
    "MMPose, whole body": ("coco-wholebody-133", mmpose),
    "Ultralytics": ("coco-17", ultralytics),
    "MediaPipe": ("mediapipe-33", mediapipe),
    "MediaPipe for JavaScript": (
        "mediapipe-33", lambda clip: [{"landmarks": [one], "worldLandmarks": [one]} for one in mediapipe(clip)],
    ),
    "MediaPipe for Python": ("mediapipe-33", lambda clip: [{"pose_landmarks": [one]} for one in mediapipe(clip)]),
    "MediaPipe as before": ("mediapipe-33", lambda clip: [{"pose_landmarks": {"landmark": one}} for one in mediapipe(clip)]),
}  # fmt: skip


def lifted(client, document: Any, **fields: Any) -> dict:
    return ask(client, LIFT, {**SENT, **fields}, keypoints=document)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_detectors_document_gets_the_answer_of_the_same_arrays(client, name):
    order, write = WRITTEN[name]
    clip = clip_of(order)
    expected = lifted(client, clip.tolist(), joints=order)
    document = json.loads(json.dumps(write(clip)))
    stated = {"joints": order} if name == "AlphaPose as it wrote for OpenPose" else {}
    answer = lifted(client, document, **stated)
    np.testing.assert_allclose(answer["poses"], expected["poses"], atol=1e-6)
    assert answer["filled_keypoints"] == expected["filled_keypoints"] > 0
    assert bool(answer["warnings"]) == (
        not stated and not name.startswith(("OpenPose", "MediaPipe", "MMPose with", "AlphaPose by image"))
    )
    query = {**{**SENT, **stated}, "image": f"{WIDTH},{HEIGHT}"}
    document_alone = client.post(LIFT, params=query, json=document)
    assert document_alone.json() == answer
    body = msgspec.msgpack.encode({**SENT, **stated, "keypoints": document})
    packed = client.post(LIFT, content=body, headers={"content-type": MSGPACK})
    assert packed.json() == answer


def test_a_frame_that_is_left_out_shows_nobody(client):
    document = alphapose(clip_of("coco-17"))
    assert lifted(client, document[:4] + document[6:])["unseen_frames"] == [4, 5]
    assert len(lifted(client, document[::-1])["poses"]) == FRAMES, "the order of the file does not matter"


def test_empty_frames_at_the_beginning_show_nobody(client):
    for document in (ultralytics(clip_of("coco-17")), mediapipe(clip_of("mediapipe-33"))):
        assert lifted(client, [[], None, *document[2:]])["unseen_frames"] == [0, 1]


def test_a_null_frame_shows_nobody(client):
    document = openpose(clip_of("openpose-25"))
    assert lifted(client, [*document[:4], None, {"people": []}, *document[6:]])["unseen_frames"] == [4, 5]


def test_people_keep_their_place_whatever_order_a_detector_lists_them_in(client):
    clips = [clip_of("openpose-25", seed) for seed in (0, 1)]
    clips[1][..., 0] += 900 * (clips[1][..., 2] > 0)
    frames = [a["people"] + b["people"] for a, b in zip(*map(openpose, clips), strict=True)]
    frames = [people[::-1] if i % 3 == 1 else people for i, people in enumerate(frames)]
    frames[5] = frames[5][:1]  # the second is hidden
    frames[6] = [*frames[6], {"pose_keypoints_2d": [0] * 75}]  # padding, which is nobody
    answer = lifted(client, [{"people": people} for people in frames])
    for clip, person in zip(clips, answer["persons"], strict=True):
        hidden = clip.tolist() if clip is clips[0] else [*clip[:5].tolist(), None, *clip[6:].tolist()]
        alone = lifted(client, hidden, joints="openpose-25")
        assert person == {name: alone[name] for name in person}
    assert answer["lost"] == []


def test_labels_of_the_detectors_tracker_identify_people(client):
    one, other = (alphapose(clip_of("coco-17", seed)) for seed in (0, 1))
    labelled = [
        {**person, "idx": label}
        for pair in zip(one, other, strict=True)
        for label, person in zip("ab", pair, strict=True)
    ]
    persons = lifted(client, labelled)["persons"]
    assert persons == [{name: lifted(client, document)[name] for name in persons[0]} for document in (one, other)]


def test_mediapipes_world_landmarks_are_recognised_and_its_image_landmarks_are_lifted(client):
    flat = mediapipe(clip_of("mediapipe-33"))
    points = moving_body(FRAMES, 3, 33) / 1000
    points -= points[:, 23:25].mean(axis=1, keepdims=True)
    points[:, :11, 1] = -1.0  # the head is above the hips, and y points down
    world = [[{"x": x, "y": y, "z": z, "visibility": 0.9} for x, y, z in frame] for frame in points.tolist()]
    document = [{"pose_landmarks": [one], "pose_world_landmarks": [two]} for one, two in zip(flat, world, strict=True)]
    base = {"model": "actions-3d"}
    expected = ask(client, ACTIONS, {**base, "joints": "mediapipe-33", "axes": "camera"}, clip=points)
    for clip in (document, world):
        assert ask(client, ACTIONS, base, clip=clip)["classes"] == expected["classes"]
    wrong = client.post(ACTIONS, json={**base, "clip": flat})
    assert "pose_world_landmarks, in metres" in problem_of(wrong, "wrong-shape")["detail"]
    wrong = client.post(LIFT, json={**SENT, "keypoints": world})
    assert "pose_landmarks, in fractions" in problem_of(wrong, "wrong-shape")["detail"]
    wrong = client.post(FORECAST, json={**PAST, "joints": "mediapipe-33", "past": flat})
    assert "x times its width" in problem_of(wrong, "wrong-shape")["detail"]


def test_the_answer_of_a_lift_can_be_sent_to_recognition_unchanged(client):
    body = client.get("/models/actions-3d/example").json()
    clip = np.array(body["clip"])[..., :3] * [1, -1, -1]
    lift = {**lifted(client, clip_of("coco-17").tolist(), joints="coco-17"), "poses": clip.tolist()}
    answer = client.post(ACTIONS, params={"model": "actions-3d"}, json=lift)
    assert answer.status_code == 200, answer.text
    expected = ask(client, ACTIONS, {"joints": "h36m-17", "axes": "camera", "model": "actions-3d"}, clip=clip)
    assert answer.json()["classes"] == expected["classes"]


COCO = alphapose(clip_of("coco-17"))
NESTED: Any = [{"people": []}]
for _ in range(900):
    NESTED = {"instance_info": NESTED}
BROKEN: dict[str, tuple[Any, str, str]] = {  # document, kind of problem, a part of its detail
    "nobody": ([{"people": []}] * 3, "gap-too-long", "expected a person"),
    "two numbers a joint": ([{"people": [{"pose_keypoints_2d": [1, 2]}]}], "wrong-shape", "expected 3 numbers for each joint"),
    "no keypoints": ([{"people": [{"face": []}]}], "wrong-shape", "expected people with keypoints, got face"),
    "text": ([{"people": [{"pose_keypoints_2d": ["a", 1, 2]}]}], "wrong-shape", "lists of numbers"),
    "ragged": ([{"instances": [{"keypoints": [[1, 2], [3]]}]}], "wrong-shape", "lists of numbers"),
    "nested people": ([{"people": {"a": 1}}], "wrong-shape", "expected a list of people"),
    "scores of another length": ([{"instances": [{"keypoints": [[1, 2]], "keypoint_scores": [1, 1]}]}], "wrong-shape", "1 scores, got 2"),
    "two numbers of joints": (COCO[:3] + alphapose(clip_of("halpe-26"))[3:], "wrong-shape", "17 and 26"),
    "an order that nobody names": (alphapose(clip_of("cmu-24")), "invalid-request", "24 joints; cmu-24 or smpl-24 fits"),
    "an order of others": ([{"people": [{"pose_keypoints_2d": [1, 2, 0.5] * 15}]}], "invalid-request", "humaneva-15 or jhmdb-15"),
    "names without numbers": ([{**COCO[0], "image_id": "a.jpg"}], "wrong-shape", "names of images that end in one"),
    "images that are no video": ([{**COCO[0], "image_id": 3}, {**COCO[1], "image_id": 900_001}, {**COCO[2], "image_id": 4}],
                                 "too-many-frames", "no frames of one video"),
    "a crowd": ([{"people": [{"pose_keypoints_2d": [1, 2, 0.5] * 25}] * 65}], "wrong-shape", "at most 64 people in a frame, got 65"),
    "deeply nested": (NESTED, "wrong-shape", "expected frames with people"),
    "landmarks without y": ([[{"x": 0.5}] * 33], "wrong-shape", "landmarks with x, y"),
    "a huge number": ([{"people": [{"pose_keypoints_2d": [10**400, 1, 1]}]}], "wrong-shape", "lists of numbers"),
    "score of a per cent": ([{"people": [{"pose_keypoints_2d": [1, 2, 90] * 25}]}], "out-of-range", "confidence from 0 to 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_malformed_document_is_refused_with_the_reason(client, case):
    document, kind, text = BROKEN[case]
    body = json.dumps({**SENT, "keypoints": document}).encode()
    response = client.post(LIFT, content=body, headers={"content-type": "application/json"})
    assert text in problem_of(response, kind)["detail"]


def test_missing_and_unknown_options_beside_a_document_are_named(client):
    document = openpose(clip_of("openpose-25"))
    assert "`image`" in problem_of(client.post(LIFT, json=document), "invalid-request")["detail"]
    query = {"image": f"{WIDTH},{HEIGHT}"}
    assert "`fps`" in problem_of(client.post(LIFT, params=query, json=document), "invalid-request")["detail"]
    query = {"fps": "thirty", "image": f"{WIDTH},{HEIGHT}"}
    assert "?fps" in problem_of(client.post(LIFT, params=query, json=document), "invalid-request")["detail"]
    query = {"fps": 30, "image": f"{WIDTH},{HEIGHT}", "frames": 3}
    assert "`frames`" in problem_of(client.post(LIFT, params=query, json=document), "invalid-request")["detail"]


def test_too_many_tracks_are_refused_before_memory_is_allocated():
    person = {"pose_keypoints_2d": [1, 2, 0.5] * 25}
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 1e6, (40, 60, 1, 3)) * [1, 1, 0]
    frames = [
        {"people": [{"pose_keypoints_2d": (np.array([1, 2, 0.5]) * np.ones((25, 1)) + place).ravel().tolist()} for place in people]}
        for people in places
    ]  # fmt: skip
    detections = read(frames, deep=False, pointer="/keypoints")
    with pytest.raises(Exception, match="expected at most 256 people"):
        tracks(detections, "/keypoints")
    assert len(tracks(read([{"people": [person]}] * 3, deep=False, pointer=""), "")) == 1


@pytest.mark.parametrize("path", [LIFT, FORECAST])
def test_a_lost_person_is_null_with_the_reason(client, path):
    field, base = ("keypoints", {**SENT, "joints": "h36m-17"}) if path == LIFT else ("past", PAST)
    seen, other = moving_body(FRAMES, 2).tolist(), moving_body(FRAMES, 2, seed=1).tolist()
    leaving = [*other[:6], *[None] * 6]
    persons = [None, seen, [None] * FRAMES, other, *([leaving] if path == FORECAST else [])]
    answer = ask(client, path, base, persons=persons)
    places = [place for place, person in enumerate(answer["persons"]) if person is None]
    assert places == [lost["person"] for lost in answer["lost"]] == ([0, 2, 4] if path == FORECAST else [0, 2])
    assert {lost["kind"] for lost in answer["lost"]} == {"gap-too-long"}
    for place, clip in ((1, seen), (3, other)):
        alone = ask(client, path, base, **{field: clip})
        assert answer["persons"][place] == {name: alone[name] for name in answer["persons"][place]}
    problem_of(client.post(path, json={**base, "persons": [None, [None] * FRAMES]}), "gap-too-long")
    if path == FORECAST:
        assert "last seen in frame 5 of 12" in answer["lost"][2]["detail"]


def test_recognition_ignores_a_lost_person(client):
    base = {"joints": "coco-17", "model": "actions-pairs"}
    people = [moving_body(16, 2, seed=seed).tolist() for seed in range(2)]
    answer = ask(client, ACTIONS, base, persons=[people[0], None, people[1]])
    assert answer["persons"] == [0, 2]
    assert [lost["person"] for lost in answer["lost"]] == [1]
    assert answer["classes"] == ask(client, ACTIONS, base, persons=people)["classes"]


def test_a_lost_person_of_an_array_is_nan_in_their_place(client):
    people = np.stack([moving_body(FRAMES, 2), np.full((FRAMES, 17, 2), np.nan)]).astype("<f4")
    body = {**SENT, "joints": "h36m-17", "persons": people.tobytes(), "shape": people.shape}
    headers = {"content-type": MSGPACK, "accept": "application/x-npy"}
    response = client.post(LIFT, content=msgspec.msgpack.encode(body), headers=headers)
    assert response.status_code == 200, response.text
    poses = np.load(io.BytesIO(response.content), allow_pickle=False)
    assert poses.shape == (2, FRAMES, 17, 3)
    assert np.isfinite(poses[0]).all()
    assert np.isnan(poses[1]).all()


def test_a_detectors_confidence_does_not_change_a_pose(client):
    """Models were trained on motion capture, whose confidence is always 1."""
    frames = moving_body(FRAMES, 2)
    sure, unsure = (np.concatenate([frames, np.full((FRAMES, 17, 1), share)], axis=-1).tolist() for share in (1.0, 0.3))
    base = {**SENT, "joints": "h36m-17"}
    assert ask(client, LIFT, base, keypoints=sure) == ask(client, LIFT, base, keypoints=unsure)
    assert ask(client, FORECAST, PAST, past=sure) == ask(client, FORECAST, PAST, past=unsure)


@pytest.mark.parametrize("path", [LIFT, FORECAST, ACTIONS])
def test_keypoints_that_a_detector_guessed_are_missing_and_counted(client, path):
    dims = 3 if path == ACTIONS else 2
    frames = moving_body(25, dims) / (1000 if path == ACTIONS else 1)
    sure = np.concatenate([frames, np.full((25, 17, 1), 0.9)], axis=-1)
    guessed, missing = sure.copy(), sure.tolist()
    guessed[4:, 3] = [*np.zeros(dims) + 0.5, 0.1]
    for frame in missing[4:]:
        frame[3] = None
    field, base = {
        LIFT: ("keypoints", {**SENT, "joints": "h36m-17"}),
        FORECAST: ("past", PAST),
        ACTIONS: ("clip", {"joints": "h36m-17", "model": "actions-3d"}),
    }[path]
    answer, expected = (ask(client, path, base, **{field: clip}) for clip in (guessed, missing))
    assert "21 keypoints with a confidence below 0.2 were read as missing" in answer["warnings"]
    assert {**answer, "warnings": []} == {**expected, "warnings": []}
    guessed[..., -1] = 0.15
    response = client.post(path, json={**base, field: guessed.tolist()})
    assert "a confidence of 0.2 or more, got at most 0.15" in problem_of(response, "gap-too-long")["detail"]
