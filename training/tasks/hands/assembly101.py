"""Assembly101 (Sener et al., CVPR 2022) as published: hand poses at 60 fps, fine-grained annotations at 30 fps.

Poses come in two layouts, one JSON a recording, millimetres in a world frame, hand "0" left and "1" right:
    poses@60fps/<recording>.json    [{"landmarks": {"0": [[x, y, z] x 21], "1": ...}, "tracking_confidence": ...}, ...]
    landmarks3D/<recording>.json    {"<frame id>": {"0": [[x, y, z] x 21], "1": ...}, ...}, some ids missing
An absent frame or hand is invalid. A file of some 100 MB is decoded once, into two arrays in a cache folder that are
then read as needed.
 Annotations are train.csv, validation.csv and test.csv, one row for each of 12 views of a segment, of which one is
kept. A segment of 30 fps frames s to e, both included, is the pose frames 2 s to 2 e + 1. MS-G3D's CSVs of the same
names are in pose frames already; they are told by having no is_RGB column and no view in `video`.
"""

import csv
import gzip
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import msgspec
import numpy as np

from models.contract.units import to_metres
from models.motion.hands import HandClip
from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import LEFT_RIGHT
from training.data.recordings import Recording

SOURCE = "assembly101"
POSE_FPS = 60
ANNOTATION_FPS = 30
SPLITS = ("train", "validation", "test")
POSE_FOLDERS = ("landmarks3D", "poses@60fps", "poses_60fps")  # the newer, cleaned release first
COLUMNS = ("video", "start_frame", "end_frame", "action_cls", "verb_cls", "toy_name")

log = logging.getLogger(__name__)


class MalformedRelease(ValueError):
    """A file that is not as Assembly101 publishes it; the message says what was wanted and what came."""


class UnknownChoice(ValueError):
    """No such split or action; the message lists those there are, or the nearest."""


@dataclass(frozen=True)
class Segment:
    """One fine-grained action: pose frames `start` to `stop` - 1 at 60 fps."""

    recording: str
    start: int
    stop: int
    action: str
    verb: str
    toy: str


def read_assembly101(
    poses: Path,
    annotations: Path,
    split: str,
    *,
    cache: Path,
    actions: Sequence[str] = (),
    whole: bool = False,
    context_s: float = 0.0,
    csv_fps: int | None = None,
) -> Iterator[Recording]:
    """Action segments of a split, each with `context_s` seconds before it, or `whole` recordings.

    Segments are labelled by action, recordings by toy. `poses` holds the JSON files, or one of the folders landmarks3D,
    poses@60fps, poses_60fps that do; `annotations` holds <split>.csv or <split>.csv.gz. `actions` keeps what contains
    one of these words or phrases ("rotate", "pick up"); whole recordings are kept if a segment of theirs does. One
    recording is open at a time, its arrays mapped from `cache`. Recordings without poses (25 of the 362) are left out,
    with a line in the log.

    Raises FileNotFoundError, MalformedRelease, UnknownChoice.
    """
    folder = pose_folder(poses)
    by_recording: dict[str, list[Segment]] = {}
    for segment in filter_actions(read_segments(annotation_file(annotations, split), csv_fps), actions):
        by_recording.setdefault(segment.recording, []).append(segment)
    files = {name: folder / f"{name}.json" for name in by_recording}
    if missing := [name for name, file in files.items() if not file.is_file()]:
        if len(missing) == len(files):
            raise FileNotFoundError(
                f"{folder} has none of {split}'s {len(files)} recordings, such as {missing[0]}.json"
            )
        log.warning("%s: %d of %d recordings have no poses in %s", split, len(missing), len(files), folder)
    for name, segments in by_recording.items():
        if name in missing:
            continue
        clip = read_poses(files[name], cache)
        if whole:
            yield Recording(SOURCE, name, segments[0].toy, clip)
            continue
        for segment in segments:
            start = max(0, segment.start - round(context_s * POSE_FPS))
            if start < min(segment.stop, len(clip)):
                yield Recording(SOURCE, name, segment.action, clip.between(start, segment.stop))


def pose_folder(poses: Path) -> Path:
    """Where the pose files are: `poses` itself, or the first of POSE_FOLDERS in it. Raises FileNotFoundError."""
    for folder in (poses, *(poses / name for name in POSE_FOLDERS)):
        if any(folder.glob("*.json")):
            return folder
    raise FileNotFoundError(f"no <recording>.json in {poses}, nor in {', '.join(POSE_FOLDERS)} under it")


def annotation_file(annotations: Path, split: str) -> Path:
    """The CSV of a split. Raises UnknownChoice, FileNotFoundError."""
    if split not in SPLITS:
        raise UnknownChoice(f"Assembly101 is split into {', '.join(SPLITS)}; there is no {split!r}")
    for file in (annotations / f"{split}.csv", annotations / f"{split}.csv.gz"):
        if file.is_file():
            return file
    raise FileNotFoundError(f"no {split}.csv or {split}.csv.gz in {annotations}")


def read_segments(file: Path, csv_fps: int | None = None) -> list[Segment]:
    """The segments of a CSV, once each, in pose frames.

    `csv_fps` says whether its frames are 30 or 60 a second; by default the format tells. Raises MalformedRelease.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", newline="", encoding="utf-8") as text:
        rows = csv.DictReader(text)
        header = tuple(rows.fieldnames or ())
        if missing := [column for column in COLUMNS if column not in header]:
            raise MalformedRelease(f"{file} wants columns {', '.join(COLUMNS)}; it has no {', '.join(missing)}")
        segments: dict[Segment, None] = {}
        for row in rows:
            recording, _, view = row["video"].partition("/")
            fps = csv_fps or (ANNOTATION_FPS if view or "is_RGB" in header else POSE_FPS)
            try:
                start, end = int(row["start_frame"]), int(row["end_frame"])
            except (TypeError, ValueError) as error:
                raise MalformedRelease(f"{file}, line {rows.line_num}: frames are integers: {error}") from error
            if fps not in (ANNOTATION_FPS, POSE_FPS) or not 0 <= start <= end:
                raise MalformedRelease(
                    f"{file}, line {rows.line_num}: wanted frames 0 <= start <= end at 30 or 60 fps; "
                    f"came {start} to {end} at {fps}"
                )
            scale = POSE_FPS // fps
            labels = row["action_cls"], row["verb_cls"], row["toy_name"]
            segments[Segment(recording, scale * start, scale * (end + 1), *labels)] = None
    return list(segments)


def filter_actions(segments: Iterable[Segment], actions: Sequence[str]) -> list[Segment]:
    """The segments whose action has one of `actions` in it, word for word; "screw" is not in "unscrew".

    With no `actions`, all of them. Raises UnknownChoice for one that no segment has.
    """
    segments = list(segments)
    if not actions:
        return segments
    names = {segment.action for segment in segments}
    for action in actions:
        if not any(_has(name, action) for name in names):
            near = get_close_matches(action, names | {segment.verb for segment in segments}, n=5, cutoff=0.5)
            raise UnknownChoice(f"no segment is called {action!r}; the nearest are {', '.join(near) or 'none'}")
    return [segment for segment in segments if any(_has(segment.action, action) for action in actions)]


def _has(name: str, words: str) -> bool:
    return f" {words} " in f" {name} "


def read_poses(file: Path, cache: Path) -> HandClip:
    """A recording's hands, float32 metres, mapped from `cache`.

    They are put there first unless the file's name, size and time of change say that they are there already. Raises
    FileNotFoundError, MalformedRelease.
    """
    stat = file.stat()
    key = f"{file.parent.name}.{file.stem}.{stat.st_size}.{stat.st_mtime_ns}"
    joints_file, valid_file = cache / f"{key}.joints.npy", cache / f"{key}.valid.npy"
    if not joints_file.is_file():
        joints, valid = _decode(file)
        _save(valid, valid_file)
        _save(joints, joints_file)
    joints = np.load(joints_file, mmap_mode="r")
    return HandClip(joints, np.load(valid_file), np.arange(len(joints)) / POSE_FPS)


def _save(array: np.ndarray, file: Path) -> None:
    """All of the array or nothing, whatever happens meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as partial:
        np.save(partial, array)
    os.replace(partial.name, file)


Points = list[tuple[float, float, float]]


class _Hands(msgspec.Struct):
    left: Points | None = msgspec.field(name="0", default=None)
    right: Points | None = msgspec.field(name="1", default=None)


class _Frame(msgspec.Struct):
    landmarks: _Hands | None


def _decode(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Joints (frames, 2, 21, 3) in metres, NaN where absent, and valid (frames, 2)."""
    frames = _frames(file)
    length = max(frames, default=-1) + 1
    if length == 0 or min(frames) < 0:
        first = min(frames, default=None)
        raise MalformedRelease(f"{file} wants frames numbered from 0; it has {len(frames)}, from {first}")
    if length > 100 * len(frames):  # a mistyped id must not ask for an array of any size
        raise MalformedRelease(f"{file} numbers {len(frames)} frames up to {length - 1}; hardly any are there")
    joints = np.full((length, 2, len(ASSEMBLY101.joints), 3), np.nan, dtype=np.float32)
    for frame, hands in frames.items():
        for hand, points in enumerate((hands.left, hands.right)):
            if not points:
                continue
            if len(points) != len(ASSEMBLY101.joints):
                raise MalformedRelease(
                    f"{file}, frame {frame}: a hand has {len(ASSEMBLY101.joints)} joints; "
                    f"the {LEFT_RIGHT[hand]} one has {len(points)}"
                )
            joints[frame, hand] = points
    joints *= np.float32(to_metres("mm"))
    return joints, np.isfinite(joints[:, :, 0, 0])


def _frames(file: Path) -> dict[int, _Hands]:
    """Hands by frame id from either layout."""
    text = file.read_bytes()
    try:
        if text.lstrip()[:1] == b"[":
            listed = msgspec.json.decode(text, type=list[_Frame | None])
            return {i: (frame and frame.landmarks) or _Hands() for i, frame in enumerate(listed)}
        return {i: hands or _Hands() for i, hands in msgspec.json.decode(text, type=dict[int, _Hands | None]).items()}
    except msgspec.DecodeError as error:
        raise MalformedRelease(
            f"{file} is neither a list of landmarks nor hands by frame id, 21 points of 3 numbers a hand: {error}"
        ) from error
