"""Reader of Kinetics-skeleton (Yan, Xiong and Lin, AAAI 2018): OpenPose's 18 joints in 260,000 clips of 400 actions.

A clip has up to 300 frames at 30 fps. It is read as published,
    kinetics_{train,val}/<id>.json        {"data": [{"frame_index", "skeleton": [{"pose": [x0, y0, x1, ...], "score": [...]}]}],
                                           "label", "label_index"}
    kinetics_{train,val}_label.json       {"<id>": {"has_skeleton", "label", "label_index"}}
or as ST-GCN converts it,
    {train,val}_data.npy float32 (N, 3, 300, 18, 2): x - 0.5, y - 0.5, score, of the two best people
    {train,val}_label.pkl (names, labels)

x and y are in [0, 1] of the image, y down. They are centred before joints of score 0 become missing, so that the mirror, which negates x,
leaves missing joints in place. In each frame the first five people are sorted by score and the best two are kept. The val clips, on which
results are published, are test clips here; one train clip in fifty is validation. Clips without skeletons are left out.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from models.skeletons.body_orders import get_body_order
from training.data.splits import Split
from training.data.untrusted import load_pickle
from training.tasks.bodies.action_clips import ActionSet, People, Scores
from training.tasks.bodies.clips import MalformedBodies, UnknownBodies
from training.tasks.bodies.readers.files import read_json

OPENPOSE = get_body_order("openpose-18")
FRAMES, PERSONS_READ, PERSONS = 300, 5, 2
JOINTS = len(OPENPOSE.joints)
HELD_OUT = 50  # one training clip in so many
MAX_CLASSES = 10_000  # Kinetics-700 has 700; a mistyped label must not name billions
MAX_LABELS_BYTES = 2**28  # of the labels of all clips
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
    """Index the clips in `folder`, in either form; each is read on demand. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    names: list[str] = []
    labels: list[int] = []
    splits: list[Split] = []
    readers: list[tuple[Reader, int]] = []
    classes: dict[int, str] = {}
    for part in _PARTS:
        path = folder / f"kinetics_{part}_label.json"
        published = _labels(path) if path.is_file() else {}
        classes |= {label.label_index: label.label for label in published.values()}
        if (folder / f"{part}_data.npy").is_file():
            part_names, part_labels, reader = _converted(folder, part)
        elif published:
            part_names, part_labels, reader = _published(folder / f"kinetics_{part}", published)
        else:
            continue
        names += part_names
        labels += part_labels
        splits.extend(_split(part, i) for i in range(len(part_names)))
        readers += [(reader, i) for i in range(len(part_names))]
    if not names:
        raise UnknownBodies(f"{folder} has neither {{train,val}}_data.npy nor kinetics_{{train,val}}_label.json")
    if wrong := [label for label in (*labels, *classes) if not 0 <= label < MAX_CLASSES]:
        raise MalformedBodies(f"{folder}: expected labels from 0 to {MAX_CLASSES - 1}, got {wrong[0]}")

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
    """Index the clips that ST-GCN converted: their names, labels and reader."""
    path, label_path = folder / f"{part}_data.npy", folder / f"{part}_label.pkl"
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)  # 30 GB, of which a clip at a time is read
    except ValueError as error:
        raise MalformedBodies(f"{path}: expected an array of numbers: {error}") from error
    if data.dtype != np.float32 or data.shape[1:] != (3, FRAMES, JOINTS, PERSONS):
        raise MalformedBodies(
            f"{path}: expected float32 (N, 3, {FRAMES}, {JOINTS}, {PERSONS}), got {data.dtype} {data.shape}"
        )
    if not label_path.is_file():
        raise UnknownBodies(f"no file {label_path}, which labels {path.name}")
    content = load_pickle(label_path, MAX_LABELS_BYTES)
    if not (
        isinstance(content, (tuple, list))
        and len(content) == 2
        and all(isinstance(column, (tuple, list, np.ndarray)) and len(column) == len(data) for column in content)
    ):
        raise MalformedBodies(
            f"{label_path}: expected (names, labels) of {len(data)} clips each, got {_described(content)}"
        )

    def read(i: int) -> tuple[People, Scores]:
        clip = np.array(data[i]).transpose(3, 1, 2, 0)
        return _missing_where_unseen(clip[..., :2], clip[..., 2])

    return [str(name).removesuffix(".json") for name in content[0]], [int(label) for label in content[1]], read


def _published(folder: Path, labels: dict[str, _Label]) -> tuple[list[str], list[int], Reader]:
    """Index the clips in their published form: their names, labels and reader."""
    names = [name for name, label in sorted(labels.items()) if label.has_skeleton]

    def read(i: int) -> tuple[People, Scores]:
        return read_video(folder / f"{names[i]}.json", labels[names[i]].label_index)

    return names, [labels[name].label_index for name in names], read


def _labels(path: Path) -> dict[str, _Label]:
    return read_json(path, dict[str, _Label], "Kinetics-skeleton's labels", MAX_LABELS_BYTES)


def read_video(path: Path, label_index: int | None = None) -> tuple[People, Scores]:
    """Read one clip of the published form: points (2, 300, 18, 2) and scores (2, 300, 18). Raises UnknownBodies, MalformedBodies."""
    video = read_json(path, _Video, "a Kinetics-skeleton video")
    if label_index not in (None, video.label_index):
        raise MalformedBodies(f"{path}: expected label {label_index} as in the list of labels, got {video.label_index}")
    people = np.zeros((PERSONS_READ, FRAMES, JOINTS, 3), dtype=np.float32)
    for frame in video.data:
        if not 0 <= frame.frame_index < FRAMES:
            raise MalformedBodies(f"{path}: expected frames 0 to {FRAMES - 1}, got {frame.frame_index}")
        for number, person in enumerate(frame.skeleton[:PERSONS_READ]):
            if (len(person.pose), len(person.score)) != (2 * JOINTS, JOINTS):
                raise MalformedBodies(
                    f"{path}, frame {frame.frame_index}: expected {2 * JOINTS} coordinates and {JOINTS} scores, "
                    f"got {len(person.pose)} and {len(person.score)}"
                )
            people[number, frame.frame_index, :, :2] = np.reshape(person.pose, (JOINTS, 2))
            people[number, frame.frame_index, :, 2] = person.score
    people[..., :2] -= 0.5
    best = np.argsort(-people[..., 2].sum(axis=-1), axis=0, kind="stable")[:PERSONS]
    people = np.take_along_axis(people, best[..., None, None], axis=0)
    return _missing_where_unseen(people[..., :2], people[..., 2])


def _missing_where_unseen(points: np.ndarray, scores: np.ndarray) -> tuple[People, Scores]:
    return np.where(scores[..., None] > 0, points, np.float32(np.nan)), scores


def _described(value: object) -> str:
    if isinstance(value, (tuple, list)):
        parts = [str(len(part)) if isinstance(part, (tuple, list, str)) else type(part).__name__ for part in value[:4]]
        return f"{len(value)} of {', '.join(parts)}"
    return type(value).__name__
