"""Requests of POST /forecast/hands that run as they are printed: in /openapi.json, on the pages and in the tests."""

from typing import Any

import numpy as np

from models.contract.bundle import Bundle
from models.contract.task import HandForecast

# a right hand, palm down and half open, MediaPipe order, millimetres
HAND_MM = np.array(
    [  # wrist and thumb, then one row for each finger
        (0, 0, 0), (-24, 18, -8), (-44, 42, -14), (-57, 66, -20), (-66, 88, -26),
        (-22, 86, 4), (-27, 122, -6), (-29, 144, -20), (-30, 160, -34),
        (0, 90, 8), (0, 131, -4), (0, 156, -22), (0, 172, -38),
        (20, 84, 6), (24, 121, -8), (26, 144, -26), (27, 159, -42),
        (38, 74, 0), (45, 102, -12), (49, 119, -26), (51, 132, -38),
    ],
    dtype=float,
)  # fmt: skip
_METRES_PER_S = np.array([0.06, 0.02, -0.03])


def requests() -> dict[str, dict[str, Any]]:
    """Return request bodies as OpenAPI examples: a second of a right hand that drifts."""
    right = _drifting(fps=5, scale=1)
    pair = [[(-200 - x, y, z) for x, y, z in frame] + frame for frame in right]  # its mirror image beside it
    gap: list[Any] = _drifting(fps=10, scale=1)
    gap[3] = None
    millimetres = {"units": "mm", "joints": "mediapipe"}
    metres = {"joints": "mediapipe", "left": [None] * len(right), "right": _drifting(fps=5, scale=0.001)}
    return {
        "one hand": {"summary": "one hand", "value": {"fps": 5, **millimetres, "right": right}},
        "two hands": {
            "summary": "two hands in one array, left then right",
            "value": {"fps": 5, **millimetres, "past": pair},
        },
        "out of view": {"summary": "in metres, with the left hand out of view", "value": {"fps": 5, **metres}},
        "soon": {
            "summary": "where the hand will be in 30 and 50 ms, and how sure that is",
            "value": {"fps": 5, **millimetres, "right": right, "at": [0.03, 0.05], "spread": True, "hypotheses": True},
        },
        "a gap": {
            "summary": "a frame in which the hand was not seen",
            "value": {"fps": 10, **millimetres, "right": gap},
        },
    }


def _drifting(fps: int, scale: float) -> list[list[tuple[float, ...]]]:
    """Return a second of the hand, [frames][21][3], in millimetres times `scale`."""
    drift = np.arange(fps + 1)[:, None, None] / fps * _METRES_PER_S * 1000
    return np.round((HAND_MM + drift) * scale, 6).tolist()


def clip_of_bundle(bundle: Bundle) -> dict[str, Any]:
    """Return the bundle's example clip, real motion in metres, as a request body; null for joints that were not seen."""
    task, inputs = bundle.meta.task, bundle.example()[0]
    past = np.round(inputs["past"][0].astype(float), 6).tolist()
    seen = inputs["seen"][0] > 0 if "seen" in inputs else np.ones(inputs["past"].shape[1:3], bool)
    frames = [
        [point if there else None for point, there in zip(*row, strict=True)]
        for row in zip(past, seen.tolist(), strict=True)
    ]
    assert isinstance(task, HandForecast), f"{bundle.meta.name} forecasts no hands"
    return {
        "fps": task.fps,
        "units": "m",
        "joints": task.order,
        "model": bundle.meta.name,
        "past": frames,
    }
