"""Requests about bodies that run as they are printed: in /openapi.json, on the documentation page and in the tests."""

from typing import Any

import numpy as np

from models.contract.bundle import Bundle
from models.contract.task import ActionRecognition, PoseForecast, PoseLift
from models.motion.bodies import denormalise

# a person who stands and looks at the camera, Human3.6M order, metres: x to their left, y up, z to the front
BODY_M = np.array(
    [  # pelvis, right leg, left leg, then up to the crown, left arm, right arm
        (0, 0.95, 0), (-0.13, 0.93, 0), (-0.14, 0.50, 0.02), (-0.14, 0.08, -0.03),
        (0.13, 0.93, 0), (0.14, 0.50, 0.02), (0.14, 0.08, -0.03),
        (0, 1.20, -0.03), (0, 1.45, -0.02), (0, 1.56, 0.03), (0, 1.75, 0.01),
        (0.17, 1.42, -0.01), (0.24, 1.15, -0.02), (0.27, 0.91, 0.07),
        (-0.17, 1.42, -0.01), (-0.24, 1.15, -0.02), (-0.27, 0.91, 0.07),
    ]
)  # fmt: skip
_ARM = np.array([12, 13])  # the joints that move: left elbow and wrist
_IMAGE = (1000, 1000)


def lift() -> dict[str, dict[str, Any]]:
    """Return bodies for POST /poses/lift as OpenAPI examples: a person raises an arm."""
    clip = _pixels(_raising(frames=4))
    uncertain: list[Any] = [[[*keypoint, 0.9] for keypoint in frame] for frame in clip]
    uncertain[1][13], uncertain[2] = None, None
    base = {"fps": 5, "joints": "h36m-17", "image": _IMAGE}
    return {
        "a clip": {"summary": "a clip", "value": {**base, "keypoints": clip}},
        "two clips": {"summary": "clips of two lengths", "value": {**base, "clips": [clip, clip[:1]]}},
        "gaps": {
            "summary": "with confidences; a keypoint and a frame are missing",
            "value": {**base, "keypoints": uncertain},
        },
    }


def poses() -> dict[str, dict[str, Any]]:
    """Return bodies for POST /forecast/poses as OpenAPI examples: a second of a person who raises an arm."""
    past = _pixels(_raising(frames=6))
    gap: list[Any] = _pixels(_raising(frames=11))
    gap[4][13] = None
    return {
        "a clip": {"summary": "a second", "value": {"fps": 5, "joints": "h36m-17", "past": past}},
        "gaps": {
            "summary": "a keypoint is missing in one frame",
            "value": {"fps": 10, "joints": "h36m-17", "past": gap},
        },
    }


def actions() -> dict[str, dict[str, Any]]:
    """Return bodies for POST /actions/recognize as OpenAPI examples, in three dimensions: a person raises an arm."""
    clip = np.round(_raising(frames=6), 3).tolist()
    base = {"fps": 5, "joints": "h36m-17", "units": "m"}
    return {
        "a clip": {"summary": "a clip in three dimensions", "value": {**base, "clip": clip}},
        "a frame missing": {
            "summary": "a frame is missing; the best two classes",
            "value": {**base, "top": 2, "clip": [*clip[:2], None, *clip[3:]]},
        },
    }


def _raising(frames: int) -> np.ndarray:
    """Return the person, [frames][17][3] in metres, while the left arm is raised."""
    bodies = np.repeat(BODY_M[None], frames, axis=0)
    share = np.linspace(0, 1, frames)[:, None, None]
    bodies[:, _ARM] += share * [(0.15, 0.25, 0), (0.35, 0.6, -0.05)]
    return bodies


def _pixels(bodies: np.ndarray) -> list[list[list[float]]]:
    """Project the bodies to pixels of a camera four metres in front of them."""
    x, y, z = np.moveaxis(bodies, -1, 0)
    scale = 1600 / (4 - z)
    return np.round(np.stack([500 + scale * x, 500 - scale * (y - 0.9)], axis=-1), 1).tolist()


def body_of_bundle(bundle: Bundle) -> dict[str, Any]:
    """Return the bundle's example as a body for POST /poses/lift, /forecast/poses or /actions/recognize."""
    task, inputs = bundle.meta.task, bundle.example()[0]
    assert isinstance(task, PoseLift | PoseForecast | ActionRecognition), f"{bundle.meta.name} is no model of bodies"
    about = {"model": bundle.meta.name, "joints": task.order}
    if isinstance(task, PoseLift):
        seen, confidence = np.split(inputs["keypoints"][0].astype(float), [2], axis=-1)
        keypoints = _with_nulls(denormalise(seen, _IMAGE), confidence, 3)
        return {**about, "joints": task.seen_order, "fps": task.fps, "image": _IMAGE, "keypoints": keypoints}
    if isinstance(task, PoseForecast):
        seen, confidence = np.split(inputs["past"][0].astype(float), [2], axis=-1)
        return {**about, "fps": task.fps, "past": _with_nulls(500 + 300 * seen, confidence, 3)}
    seen, confidence = np.split(inputs["clips"][0].astype(float), [task.dims], axis=-1)
    if task.dims == 2:
        seen = 500 + 300 * seen
    persons = [
        _with_nulls(one, sure, 4 if task.dims == 3 else 3)
        for one, sure in zip(seen, confidence, strict=True)
        if sure.any()
    ]
    return {**about, "clip": persons[0]} if len(persons) == 1 else {**about, "persons": persons}


def _with_nulls(points: np.ndarray, confidence: np.ndarray, decimals: int) -> list[list[list[float] | None]]:
    """Return keypoints with their confidences, (frames, joints, 1) or (frames, joints, 0); null where a confidence is 0."""
    numbers = np.concatenate([np.round(points, decimals), np.round(confidence, 3)], axis=-1).tolist()
    for frame, joint in np.argwhere((confidence <= 0).any(axis=-1)):
        numbers[frame][joint] = None
    return numbers
