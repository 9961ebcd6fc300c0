"""A plausible synthetic hand in any joint order, and clips of its motion."""

import numpy as np

from models.skeletons.hand import FINGERS, HANDS, palm_centre
from service.tasks.hands.examples import HAND_MM


def rest_hand(order: str = "assembly101") -> np.ndarray:
    """Return the joints of a right hand, palm down and half open, in metres and in the joint order."""
    joints = dict(zip(HANDS["mediapipe"].joints, HAND_MM / 1000, strict=True))
    wrist = joints["wrist"]
    for finger in FINGERS[1:]:
        joints[f"{finger}_metacarpal"] = wrist + 0.3 * (joints[f"{finger}_mcp"] - wrist)
    joints["openxr_palm"] = (joints["middle_metacarpal"] + joints["middle_mcp"]) / 2
    joints["palm_centre"] = palm_centre(wrist, joints["index_mcp"], joints["pinky_mcp"], "right")
    joints["forearm"] = wrist - np.array([0.0, 0.1, 0.0])
    joints["thumb_trapezium"] = wrist + 0.5 * (joints["thumb_cmc"] - wrist)
    return np.array([joints[joint] for joint in HANDS[order].joints])


def moving_hands(frames: int, hands: int, order: str = "assembly101", seed: int = 0) -> np.ndarray:
    """Return (frames, hands * joints, 3) in metres: hands that drift while their joints wave by a few millimetres.

    Two hands are side by side; the first is the mirror image of the second.
    """
    rng = np.random.default_rng(seed)
    right = rest_hand(order)
    sides = [right * [-1.0, 1.0, 1.0] - [0.2, 0.0, 0.0], right][-hands:]
    rest = np.stack(sides)[None]
    time = np.linspace(0, 1, frames).reshape(frames, 1, 1, 1)
    wave = 0.004 * np.sin(3 * time + rng.uniform(0, 6, size=rest.shape))
    return (rest + wave + 0.2 * time * rng.normal(size=(1, hands, 1, 3))).reshape(frames, -1, 3)
