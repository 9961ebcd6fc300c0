"""Recordings of one's own for tests: a plausible right hand that drifts and turns, written as trackers' programs write it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

HAND_MM = np.array(
    [  # a right hand in MediaPipe's order
        (0, 0, 0), (-24, 18, -8), (-44, 42, -14), (-57, 66, -20), (-66, 88, -26),
        (-22, 86, 4), (-27, 122, -6), (-29, 144, -20), (-30, 160, -34),
        (0, 90, 8), (0, 131, -4), (0, 156, -22), (0, 172, -38),
        (20, 84, 6), (24, 121, -8), (26, 144, -26), (27, 159, -42),
        (38, 74, 0), (45, 102, -12), (49, 119, -26), (51, 132, -38),
    ],
    dtype=float,
)  # fmt: skip
FPS = 30
DECLARED = {
    "name": "lab",
    "licence": "CC0-1.0",
    "attribution": "our laboratory",
    "joints": "mediapipe",
    "splits": {"seed": 0, "validation": 0.2, "test": 0.2},
}


def motion(frames: int, seed: int = 0) -> np.ndarray:
    """Return a right hand in metres, (frames, 21, 3), in MediaPipe's order."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0.3, 0.6) * np.sin(
        2 * np.pi * rng.uniform(0.3, 0.8) * np.arange(frames) / FPS + rng.uniform(0, 6)
    )
    turn = np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    hand = np.tile(HAND_MM / 1000, (frames, 1, 1))
    hand[..., :2] = np.einsum("tij,nj->tni", turn, HAND_MM[:, :2] / 1000)
    return hand + 0.1 * angle[:, None, None]


def mirrored(right: np.ndarray) -> np.ndarray:
    """Return the left hand beside a right one."""
    return right * np.array([-1.0, 1.0, 1.0]) - np.array([0.4, 0.0, 0.0])


def as_mediapipe(right: np.ndarray | None, time: int) -> dict[str, Any]:
    """Return a result of MediaPipe's hand landmarker for an image that was not flipped."""
    hands = [] if right is None else [[dict(zip("xyz", point, strict=True)) for point in right.tolist()]]
    names = [[{"index": 0, "score": 0.9, "display_name": "Left", "category_name": "Left"}] for _ in hands]
    return {"timestamp_ms": time, "handedness": names, "hand_world_landmarks": hands}


def write_set(folder: Path, recordings: int = 6, frames: int = 60, **declared: Any) -> Path:
    """Write a set of MediaPipe logs, one hand in each, with other fields of dataset.json as given."""
    folder.mkdir(parents=True)
    for number in range(recordings):
        lines = [json.dumps(as_mediapipe(hand, round(1000 * i / FPS))) for i, hand in enumerate(motion(frames, number))]
        (folder / f"wave-{number}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "dataset.json").write_text(json.dumps({**DECLARED, "exchange_hands": True, **declared}))
    return folder
