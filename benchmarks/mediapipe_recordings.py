"""Recordings in the form of MediaPipe's hand landmarker, made of real hands: a data set of one's own to try the way to a model with.

    python -m benchmarks.mediapipe_recordings mine

A recording is a file of JSON lines, a result of the landmarker a line: `timestamp_ms`, `handedness` and `hand_world_landmarks`. As
MediaPipe does, it gives each hand about its own centre, in metres, with sides named as if the image were flipped. The hands are those of
tzionas (MIT) or another source that may be passed on. These have no thumb CMC, which is put two fifths of the way from the wrist to the
thumb MCP; forecasters do not read it.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from models.motion.hands import HandClip, resample
from models.skeletons.hand import ASSEMBLY101, HANDS
from training.tasks.hands.sources import hand_source

FPS, MAX_GAP_S = 30, 0.1
SOURCES = ("tzionas", "leap", "ultraleap_tracking", "thai_sign_leap", "leap_vrcollage", "leap_playground")
CATEGORIES = ("Right", "Left")  # what MediaPipe calls a left and a right hand in an image that is not flipped
CMC = 0.4


def write(folder: Path, data_folder: Path, source: str, recordings: int, seconds: float) -> dict[str, Any]:
    """Write the recordings and dataset.json into a new folder; return what is declared. Raises FileExistsError, ValueError."""
    origin = hand_source(source)
    clips = [resample(one.clip, FPS, max_gap=MAX_GAP_S) for one in origin.read(data_folder / "hands", None)]
    frames = round(seconds * FPS)
    pieces = [clip.between(at, at + frames) for clip in clips for at in range(0, len(clip) - frames + 1, frames)]
    seen = [piece for piece in pieces if piece.valid.any(axis=1).mean() > 0.9]
    if len(seen) < recordings:
        raise ValueError(f"expected {recordings} recordings of {seconds:g} s from {source}, got {len(seen)}")
    folder.mkdir(parents=True)
    for number in range(recordings):
        lines = [
            json.dumps(result, separators=(",", ":")) for result in results(seen[number * len(seen) // recordings])
        ]
        (folder / f"hands-{number:02}.jsonl").write_text("\n".join(lines) + "\n")
    declared = {
        "name": folder.name,
        "licence": origin.licence,
        "attribution": origin.attribution,
        "joints": "mediapipe",
        "units": "m",
        "exchange_hands": True,
        "splits": {"seed": 0, "validation": 0.2, "test": 0.2},
    }
    (folder / "dataset.json").write_text(json.dumps(declared, indent=1) + "\n")
    return declared


def results(clip: HandClip) -> list[dict[str, Any]]:
    """Return the landmarker's result of each frame of a clip."""
    found = []
    for joints, valid, time in zip(clip.joints, clip.valid, clip.times - clip.times[0], strict=True):
        hands = [hand for hand in range(clip.hands) if valid[hand]]
        found.append(
            {
                "timestamp_ms": round(1000 * float(time)),
                "handedness": [
                    [
                        {
                            "index": hand,
                            "score": 0.98,
                            "display_name": CATEGORIES[hand],
                            "category_name": CATEGORIES[hand],
                        }
                    ]
                    for hand in hands
                ],
                "hand_world_landmarks": [landmarks(joints[hand]) for hand in hands],
            }
        )
    return found


def landmarks(joints: Float[np.ndarray, "21 3"]) -> list[dict[str, float]]:
    """Return the landmarks of a hand about its centre from joints in Assembly101 order, in metres."""
    places = dict(zip(ASSEMBLY101.joints, joints.astype(float), strict=True))
    places["thumb_cmc"] = places["wrist"] + CMC * (places["thumb_mcp"] - places["wrist"])
    points = np.array([places[joint] for joint in HANDS["mediapipe"].joints])
    return [dict(zip("xyz", np.round(point, 5).tolist(), strict=True)) for point in points - points.mean(axis=0)]


def main(argv: list[str] | None = None) -> None:
    """Write the recordings and say how many."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mediapipe_recordings", description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder, whose name becomes the name of the data set")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CHIRON_DATA", "../shared/data")))
    parser.add_argument("--source", choices=SOURCES, default="tzionas")
    parser.add_argument("--recordings", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args(argv)
    declared = write(arguments.folder, arguments.data, arguments.source, arguments.recordings, arguments.seconds)
    print(f"{arguments.recordings} recordings of {arguments.seconds:g} s, {declared['licence']}, in {arguments.folder}")


if __name__ == "__main__":
    main()
