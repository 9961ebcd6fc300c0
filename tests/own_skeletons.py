"""Skeletons of one's own for tests: a hand of 16 joints, OpenXR's in full, a tail that is no hand, and a body with two sides."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from own_hands import FPS

from models.skeletons.hand import FINGERS, HANDS
from models.skeletons.own import OwnSkeleton

_SIXTEEN = ["wrist", *(f"{finger}{part}" for finger in FINGERS for part in range(1, 4))]
_XR = HANDS["openxr"]
TAIL_JOINTS = [f"joint{i}" for i in range(7)]
SKELETONS = {
    one["name"]: OwnSkeleton.model_validate(one)
    for one in (
        {
            "name": "sixteen",
            "joints": _SIXTEEN,
            "bones": [bone for f in range(5) for bone in pairwise(["wrist", *_SIXTEEN[1 + 3 * f : 4 + 3 * f]])],
        },
        {
            "name": "lab-xr",
            "joints": _XR.joints,
            "bones": [(_XR.joints[a], _XR.joints[b]) for a, b in _XR.bones],
            "root": "wrist",
        },
        {"name": "tail", "joints": TAIL_JOINTS, "bones": list(pairwise(TAIL_JOINTS))},
        {
            "name": "puppet",
            "joints": ["left_arm", "head", "right_arm", "chest"],
            "bones": [["head", "chest"], ["chest", "left_arm"], ["right_arm", "chest"]],
            "root": "head",
            "mirror": [["right_arm", "left_arm"]],
        },
    )
}
DECLARED = {"name": "lab", "licence": "CC0-1.0", "attribution": "our laboratory", "splits": {"seed": 0}, "fps": FPS}


def wagging(frames: int, skeleton: str = "tail", seed: int = 0, bodies: int = 1) -> np.ndarray:
    """Return bodies in metres, (frames, bodies * joints, 3), that swing about an axis and drift; the second is a mirror image."""
    rng, joints = np.random.default_rng(seed), len(SKELETONS[skeleton].joints)
    rest = np.cumsum(np.random.default_rng(7).uniform(0.01, 0.05, size=(joints, 3)), axis=0)
    time = np.arange(frames) / FPS
    angle = rng.uniform(0.3, 0.6) * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time + rng.uniform(0, 6))
    body = np.tile(rest, (frames, 1, 1))
    body[..., 0] = np.cos(angle)[:, None] * rest[:, 0] - np.sin(angle)[:, None] * rest[:, 1]
    body[..., 1] = np.sin(angle)[:, None] * rest[:, 0] + np.cos(angle)[:, None] * rest[:, 1]
    body += 0.1 * angle[:, None, None]
    other = body * np.array([-1.0, 1.0, 1.0]) - np.array([0.4, 0.0, 0.0])
    return np.concatenate([other, body][-bodies:], axis=1)


def write_own_set(
    folder: Path, skeleton: str = "tail", recordings: int = 6, frames: int = 60, bodies: int = 1, **declared: Any
) -> Path:
    """Write a set of .npy recordings of bodies in a skeleton of one's own."""
    folder.mkdir(parents=True)
    (folder / "skeleton.json").write_text(SKELETONS[skeleton].model_dump_json(exclude_none=True))
    for number in range(recordings):
        np.save(folder / f"wag-{number}.npy", wagging(frames, skeleton, number, bodies))
    (folder / "dataset.json").write_text(json.dumps({**DECLARED, "skeleton": "skeleton.json", **declared}))
    return folder
