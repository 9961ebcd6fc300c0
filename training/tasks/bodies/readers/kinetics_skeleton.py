"""Kinetics-skeleton (Yan, Xiong and Lin, AAAI 2018): OpenPose's 18 joints in 260,000 clips of 400 actions, up to 300 frames at 30 fps.

Either as published,
    kinetics_{train,val}/<id>.json        {"data": [{"frame_index", "skeleton": [{"pose": [x0, y0, x1, ...], "score": [...]}]}],
                                           "label", "label_index"}
    kinetics_{train,val}_label.json       {"<id>": {"has_skeleton", "label", "label_index"}}
or as ST-GCN converts it,
    {train,val}_data.npy float32 (N, 3, 300, 18, 2): x - 0.5, y - 0.5, score; of the two best persons
    {train,val}_label.pkl (names, labels)

x and y are in [0, 1] of the image, y down. They are centred first and joints of score 0 made missing after that, so that the mirror, which
negates x, leaves what is missing where it is. In each frame persons are put in order of their score, and of the first five the best two
kept. The val clips, on which results are published, are test; of the train clips one in fifty is validation. Clips without skeletons are
left out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.skeletons.body import get_body_order
from training.data.splits import Split
from training.data.untrusted import load_pickle
from training.tasks.bodies.action_clips import ActionSet, People, Scores
from training.tasks.bodies.clips import MalformedBodies, UnknownBodies

OPENPOSE = get_body_order("openpose-18")
FRAMES, PERSONS_READ, PERSONS = 300, 5, 2
JOINTS = len(OPENPOSE.joints)
HELD_OUT = 50  # one in so many
MAX_JSON_BYTES, MAX_LABELS_BYTES = 2**24, 2**28  # of a clip, of all labels
_PARTS = ("train", "val")


class _Person(msgspec.Struct):
    pose: list[float]
    score: list[float]


class _Frame(msgspec.Struct):
    frame_index: int
    skeleton: list[_Person]


class _Video(msgspec.Struct):
    data: list[_Frame]
    label_index: int


class _Label(msgspec.Struct):
    has_skeleton: bool
    label: str
    label_index: int


Reader = Callable[[int], tuple[People, Scores]]


def read_kinetics(folder: Path) -> ActionSet:
    """The clips in `folder` in either form, read one by one when asked for. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    names: list[str] = []
    labels: list[int] = []
    splits: list[Split] = []
    readers: list[tuple[Reader, int]] = []
    classes: dict[int, str] = {}
    for part in _PARTS:
        labelled = folder / f"kinetics_{part}_label.json"
        told = _labels(labelled) if labelled.is_file() else {}
        classes |= {label.label_index: label.label for label in told.values()}
        if (folder / f"{part}_data.npy").is_file():
            own, numbers, reader = _converted(folder, part)
        elif told:
            own, numbers, reader = _published(folder / f"kinetics_{part}", told)
        else:
            continue
        names += own
        labels += numbers
        splits.extend(_split(part, i) for i in range(len(own)))
        readers += [(reader, i) for i in range(len(own))]
    if not names:
        raise UnknownBodies(f"{folder} has neither {{train,val}}_data.npy nor kinetics_{{train,val}}_label.json")
    if min(labels) < 0:
        raise MalformedBodies(f"{folder}: labels are classes from 0 on; came {min(labels)}")

    def read(i: int) -> tuple[People, Scores]:
        reader, number = readers[i]
        return reader(number)

    return ActionSet(
        source="kinetics",
        skeleton=OPENPOSE,
        dims=2,
        persons=PERSONS,
        classes=tuple(classes.get(i, f"class {i}") for i in range(max(max(labels), max(classes, default=0)) + 1)),
        names=names,
        labels=np.array(labels),
        splits=splits,
        read=read,
    )


def _split(part: str, number: int) -> Split:
    if part == "val":
        return "test"
    return "validation" if number % HELD_OUT == HELD_OUT - 1 else "train"


def _converted(folder: Path, part: str) -> tuple[list[str], list[int], Reader]:
    path, labelled = folder / f"{part}_data.npy", folder / f"{part}_label.pkl"
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)  # 30 GB, of which only what is asked for is read
    except ValueError as error:
        raise MalformedBodies(f"{path} is no array of numbers: {error}") from error
    if data.dtype != np.float32 or data.shape[1:] != (3, FRAMES, JOINTS, PERSONS):
        raise MalformedBodies(
            f"{path} wants float32 (N, 3, {FRAMES}, {JOINTS}, {PERSONS}); came {data.dtype} {data.shape}"
        )
    if not labelled.is_file():
        raise UnknownBodies(f"no file {labelled}, which labels {path.name}")
    held = load_pickle(labelled, MAX_LABELS_BYTES)
    if not (isinstance(held, (tuple, list)) and len(held) == 2 and len(held[0]) == len(held[1]) == len(data)):
        raise MalformedBodies(f"{labelled} wants (names, labels) of {len(data)} clips each; came {_told(held)}")

    def read(i: int) -> tuple[People, Scores]:
        clip = np.array(data[i]).transpose(3, 1, 2, 0)
        return _missing_where_unseen(clip[..., :2], clip[..., 2])

    return [str(name).removesuffix(".json") for name in held[0]], [int(label) for label in held[1]], read


def _published(folder: Path, told: dict[str, _Label]) -> tuple[list[str], list[int], Reader]:
    names = [name for name, label in sorted(told.items()) if label.has_skeleton]

    def read(i: int) -> tuple[People, Scores]:
        return read_video(folder / f"{names[i]}.json", told[names[i]].label_index)

    return names, [told[name].label_index for name in names], read


def _labels(path: Path) -> dict[str, _Label]:
    return _decoded(path, dict[str, _Label], MAX_LABELS_BYTES)


def read_video(path: Path, label_index: int | None = None) -> tuple[People, Scores]:
    """One clip of the published form, (2, 300, 18, 2) and (2, 300, 18). Raises UnknownBodies, MalformedBodies."""
    video = _decoded(path, _Video, MAX_JSON_BYTES)
    if label_index not in (None, video.label_index):
        raise MalformedBodies(f"{path} is labelled {video.label_index}, and {label_index} in the list of labels")
    found = np.zeros((PERSONS_READ, FRAMES, JOINTS, 3), dtype=np.float32)
    for frame in video.data:
        if not 0 <= frame.frame_index < FRAMES:
            raise MalformedBodies(f"{path}: frames are 0 to {FRAMES - 1}; came {frame.frame_index}")
        for number, person in enumerate(frame.skeleton[:PERSONS_READ]):
            if (len(person.pose), len(person.score)) != (2 * JOINTS, JOINTS):
                raise MalformedBodies(
                    f"{path}, frame {frame.frame_index}: wanted {2 * JOINTS} coordinates and {JOINTS} scores; "
                    f"came {len(person.pose)} and {len(person.score)}"
                )
            found[number, frame.frame_index, :, :2] = np.reshape(person.pose, (JOINTS, 2))
            found[number, frame.frame_index, :, 2] = person.score
    found[..., :2] -= 0.5
    best = np.argsort(-found[..., 2].sum(axis=-1), axis=0, kind="stable")[:PERSONS]
    found = np.take_along_axis(found, best[..., None, None], axis=0)
    return _missing_where_unseen(found[..., :2], found[..., 2])


def _missing_where_unseen(points: np.ndarray, scores: np.ndarray) -> tuple[People, Scores]:
    return np.where(scores[..., None] > 0, points, np.float32(np.nan)), scores


def _decoded(path: Path, kind: Any, max_bytes: int) -> Any:
    if not path.is_file():
        raise UnknownBodies(f"no file {path}")
    if (size := path.stat().st_size) > max_bytes:
        raise MalformedBodies(f"{path} holds {size:,} bytes; at most {max_bytes:,} are read")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise MalformedBodies(f"{path} is not as Kinetics-skeleton has it: {error}") from error


def _told(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"{len(value)} of {', '.join(str(len(part)) if hasattr(part, '__len__') else type(part).__name__ for part in value[:4])}"
    return type(value).__name__
