"""Body recordings of one's own for tests: a person who waves and steps, as arrays, as BVH with usual names, and as markers in C3D."""

import json
import warnings
from pathlib import Path
from typing import Any

import c3d
import numpy as np

FPS = 30
DECLARED = {
    "kind": "bodies",
    "name": "studio",
    "licence": "CC0-1.0",
    "attribution": "our laboratory",
    "joints": "h36m-17",
    "splits": {"seed": 0, "validation": 0.2, "test": 0.2},
}
RIGHT_LEG, LEFT_LEG, LEFT_ARM, RIGHT_ARM = (
    (2, 3),
    (5, 6),
    (12, 13),
    (15, 16),
)  # the joints that move with a hip or a shoulder
REST_M = np.array(
    [  # h36m-17, y up, facing z, the left at +x
        (0, 0.95, 0), (-0.1, 0.95, 0), (-0.1, 0.5, 0), (-0.1, 0.08, 0), (0.1, 0.95, 0), (0.1, 0.5, 0), (0.1, 0.08, 0),
        (0, 1.2, 0), (0, 1.45, 0), (0, 1.55, 0.03), (0, 1.72, 0.03),
        (0.18, 1.42, 0), (0.2, 1.12, 0), (0.2, 0.87, 0.02), (-0.18, 1.42, 0), (-0.2, 1.12, 0), (-0.2, 0.87, 0.02),
    ]
)  # fmt: skip


def person(frames: int, seed: int = 0) -> np.ndarray:
    """Return a person in metres, (frames, 17, 3), whose limbs swing about the x axis and who drifts."""
    rng, body = np.random.default_rng(seed), np.tile(REST_M, (frames, 1, 1))
    time = np.arange(frames) / FPS
    for limb, root, reach in ((RIGHT_LEG, 1, 0.4), (LEFT_LEG, 4, 0.4), (LEFT_ARM, 11, 1.2), (RIGHT_ARM, 14, 1.2)):
        angle = reach * np.sin(2 * np.pi * rng.uniform(0.4, 0.9) * time + rng.uniform(0, 6))
        arm = body[:, list(limb)] - body[:, root, None]
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        turned = np.stack(
            [arm[..., 0], cos * arm[..., 1] - sin * arm[..., 2], sin * arm[..., 1] + cos * arm[..., 2]], -1
        )
        body[:, list(limb)] = turned + body[:, root, None]
    return body + 0.2 * np.stack([np.sin(time), 0 * time, np.cos(time)], axis=-1)[:, None]


def write_set(folder: Path, recordings: int = 6, frames: int = 120, **declared: Any) -> Path:
    """Write a set of .npy recordings, with other fields of dataset.json as given."""
    folder.mkdir(parents=True)
    for number in range(recordings):
        np.save(folder / f"step-{number}.npy", person(frames, number))
    return declare(folder, **{"fps": FPS, **declared})


def declare(folder: Path, **declared: Any) -> Path:
    """Write dataset.json into a folder."""
    (folder / "dataset.json").write_text(json.dumps({**DECLARED, **declared}))
    return folder


def _leg(side: str, sign: int, names: tuple[str, ...]) -> str:
    hip, knee, ankle, ball = (name.format(side) for name in names)
    return (
        f"JOINT {hip} {{ OFFSET {10 * sign} 0 0 CHANNELS 3 Zrotation Xrotation Yrotation "
        f"JOINT {knee} {{ OFFSET 0 -45 0 CHANNELS 3 Zrotation Xrotation Yrotation "
        f"JOINT {ankle} {{ OFFSET 0 -42 0 CHANNELS 3 Zrotation Xrotation Yrotation "
        f"JOINT {ball} {{ OFFSET 0 -6 12 CHANNELS 3 Zrotation Xrotation Yrotation "
        "End Site { OFFSET 0 0 6 } } } } }\n"
    )


def _arm(side: str, sign: int, names: tuple[str, ...]) -> str:
    collar, shoulder, elbow, wrist = (name.format(side) for name in names)
    return (
        f"JOINT {collar} {{ OFFSET {4 * sign} 20 0 CHANNELS 3 Zrotation Xrotation Yrotation "
        f"JOINT {shoulder} {{ OFFSET {14 * sign} 0 0 CHANNELS 3 Zrotation Xrotation Yrotation "
        f"JOINT {elbow} {{ OFFSET 0 -30 0 CHANNELS 3 Zrotation Xrotation Yrotation "
        f"JOINT {wrist} {{ OFFSET 0 -25 0 CHANNELS 3 Zrotation Xrotation Yrotation "
        "End Site { OFFSET 0 -10 0 } } } } }\n"
    )


NAMES = {  # trunk from the pelvis up, head, a leg and an arm, of three families of skeletons
    "cmu": (
        ("Hips", "Spine", "Spine1", "Neck", "Head"),
        ("{}UpLeg", "{}Leg", "{}Foot", "{}ToeBase"),
        ("{}Shoulder", "{}Arm", "{}ForeArm", "{}Hand"),
        ("Left", "Right"),
    ),
    "mixamo": (
        ("mixamorig:Hips", "mixamorig:Spine", "mixamorig:Spine1", "mixamorig:Neck", "mixamorig:Head"),
        ("mixamorig:{}UpLeg", "mixamorig:{}Leg", "mixamorig:{}Foot", "mixamorig:{}ToeBase"),
        ("mixamorig:{}Shoulder", "mixamorig:{}Arm", "mixamorig:{}ForeArm", "mixamorig:{}Hand"),
        ("Left", "Right"),
    ),
    "bandai-namco": (
        ("Hips", "Spine", "Chest", "Neck", "Head"),
        ("UpperLeg_{}", "LowerLeg_{}", "Foot_{}", "Toes_{}"),
        ("Shoulder_{}", "UpperArm_{}", "LowerArm_{}", "Hand_{}"),
        ("L", "R"),
    ),
}


def bvh(frames: int = 60, family: str = "cmu", turn_deg: float = 0.0) -> str:
    """Return a BVH in centimetres: a person at rest at (0, 95, 0), who turns both arms about x by `turn_deg` in every frame."""
    (hips, lower, middle, neck, head), leg, arm, (left, right) = NAMES[family]
    three = "CHANNELS 3 Zrotation Xrotation Yrotation"
    text = (
        f"HIERARCHY\nROOT {hips}\n{{ OFFSET 0 0 0 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
        f"{_leg(left, 1, leg)}{_leg(right, -1, leg)}"
        f"JOINT {lower} {{ OFFSET 0 10 0 {three}\nJOINT {middle} {{ OFFSET 0 15 0 {three}\n"
        f"{_arm(left, 1, arm)}{_arm(right, -1, arm)}"
        f"JOINT {neck} {{ OFFSET 0 25 0 {three} JOINT {head} {{ OFFSET 0 10 3 {three} End Site {{ OFFSET 0 17 0 }} }} }} }} }} }}\n"
    )
    joints = 20  # after the root
    row = np.zeros(6 + 3 * joints)
    row[1] = 95
    for collar in (10, 14):  # joints after the root: two legs of four, two of the trunk, then the arms
        row[6 + 3 * (collar + 1) + 1] = turn_deg
    lines = "\n".join(" ".join(f"{number:g}" for number in row) for _ in range(frames))
    return f"{text}MOTION\nFrames: {frames}\nFrame Time: 0.0333333\n{lines}\n"


def write_c3d(
    path: Path, labels: list[str], points: np.ndarray, seen: np.ndarray | None = None, rate: float = FPS
) -> None:
    """Write markers in millimetres, (frames, markers, 3); one that is not `seen` has the residual -1."""
    writer = c3d.Writer(point_rate=rate, analog_rate=0, point_scale=-1)
    writer.set_point_labels(labels)
    for frame, values in enumerate(points):
        residual = np.zeros(len(labels)) if seen is None else np.where(seen[frame], 0, -1)
        writer.add_frames([(np.column_stack([values, residual, np.zeros(len(labels))]), np.array([[]]))])
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file without analog channels
        writer.write(file)
