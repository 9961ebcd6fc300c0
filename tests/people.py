"""A moving person with plausible limbs, in any joint order."""

import numpy as np

from models.skeletons.body_orders import BODIES, get_body_order
from service.tasks.bodies.examples import BODY_M

H36M = BODIES["h36m-17"]
ENDS = {"foot": "ankle", "toe": "ankle", "big": "ankle", "small": "ankle", "heel": "ankle", "hand": "wrist", "thumb": "wrist",
        "clavicle": "shoulder"}  # fmt: skip
MIDDLE = {
    "neck": "thorax",
    "head": "head_top",
    "lower": "pelvis",
    "spine": "spine",
    "chest": "thorax",
    "belly": "spine",
}


def moving_person(order: str, frames: int, seed: int = 0) -> np.ndarray:
    """Return a person (frames, joints, 3) in metres, y up, whose joints wave by a few centimetres.

    Joints that Human3.6M lacks are near those that it has: joints of the foot near the ankle, of the hand near the wrist, and of the
    face near the head.
    """
    rng = np.random.default_rng(seed)
    places = dict(zip(H36M.joints, BODY_M, strict=True))
    rest = np.stack([_place(joint, places, rng) for joint in get_body_order(order).joints])
    time = np.arange(frames).reshape(frames, 1, 1) / 30
    waves = 0.02 * np.sin(3 * time + rng.uniform(0, 6, (1, *rest.shape)))
    return rest + waves + 0.1 * time * rng.normal(size=(1, 1, 3))


def pixels(person: np.ndarray) -> np.ndarray:
    """Return the person (..., 2) in an image of 1000 by 1000 pixels from four metres in front, x right and y down."""
    x, y, z = np.moveaxis(person, -1, 0)
    scale = 1600 / (4 - z)
    return np.stack([500 + scale * x, 500 - scale * (y - 0.9)], axis=-1)


def _place(joint: str, places: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    side, _, part = joint.partition("_")
    near = {"left": f"left_{part}", "right": f"right_{part}"}.get(side, joint)
    if near in places:
        return places[near]
    beside = rng.normal(scale=0.02, size=3)
    first = part.partition("_")[0]
    if side in ("left", "right") and first in ENDS:
        return places[f"{side}_{ENDS[first]}"] + beside
    return places[MIDDLE.get(side, "head_base")] + beside
