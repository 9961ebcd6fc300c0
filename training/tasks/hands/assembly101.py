"""Assembly101 (Sener et al., CVPR 2022) as published: hand poses at 60 fps, fine-grained annotations at 30 fps.

Poses come in two layouts, with one JSON file per recording, in millimetres in a world frame; hand "0" is the left one, "1" the right one:

    poses@60fps/<recording>.json    [{"landmarks": {"0": [[x, y, z] x 21], "1": ...}, "tracking_confidence": ...}, ...]
    landmarks3D/<recording>.json    {"<frame id>": {"0": [[x, y, z] x 21], "1": ...}, ...}, with gaps between the ids

An absent frame or hand is invalid. A file has about 100 MB. It is decoded once, into two arrays in a cache folder, which are mapped when
they are read.

Annotations are train.csv, validation.csv and test.csv. They have one row for each of the 12 views of a segment, of which one is kept. A
segment of 30 fps frames s to e, both included, is the pose frames 2 s to 2 e + 1. The CSVs of MS-G3D have the same names but count pose
frames; they are recognised by having neither an is_RGB column nor a view in `video`.
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

from models.motion.hands import HandClip
from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import LEFT_RIGHT
from models.skeletons.units import to_metres
from training.data.splits import SPLITS
from training.tasks.hands.recordings import HandSource, Recording

NAME = "assembly101"
POSE_FPS = 60
ANNOTATION_FPS = 30
POSE_FOLDERS = ("landmarks3D", "poses@60fps", "poses_60fps")  # the newer, cleaned release first
ANNOTATION_FOLDER = "fine-grained-annotations"
COLUMNS = ("video", "start_frame", "end_frame", "action_cls", "verb_cls", "toy_name")

log = logging.getLogger(__name__)


class MalformedRelease(ValueError):
    """A file that differs from the published format; the message says what was expected and what was found."""


class UnknownChoice(ValueError):
    """A split or action that does not exist; the message lists those that do, or the nearest."""


@dataclass(frozen=True)
class Segment:
    """One fine-grained action, in the pose frames `start` to `stop` - 1 at 60 fps."""

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
    """Yield the action segments of a split, each with `context_s` seconds before it, or `whole` recordings.

    Segments are labelled by action, recordings by toy. `poses` is the folder of the JSON files, or has one of POSE_FOLDERS in it.
    `annotations` has <split>.csv or <split>.csv.gz. `actions` keeps the segments whose action contains one of these words or phrases
    ("rotate", "pick up"), and the whole recordings with such a segment. One recording is open at a time, its arrays mapped from `cache`.
    Recordings without poses (25 of the 362) are left out with a warning in the log.

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
                f"{folder} has none of the {len(files)} recordings of {split}, such as {missing[0]}.json"
            )
        log.warning("%s: %d of %d recordings have no poses in %s", split, len(missing), len(files), folder)
    for name, segments in by_recording.items():
        if name in missing:
            continue
        clip = read_poses(files[name], cache)
        if whole:
            yield Recording(NAME, name, segments[0].toy, clip)
            continue
        for segment in segments:
            start = max(0, segment.start - round(context_s * POSE_FPS))
            if start < min(segment.stop, len(clip)):
                yield Recording(NAME, name, segment.action, clip.between(start, segment.stop))


def pose_folder(poses: Path) -> Path:
    """Return the folder of the pose files: `poses` itself, or the first of POSE_FOLDERS in it. Raises FileNotFoundError."""
    for folder in (poses, *(poses / name for name in POSE_FOLDERS)):
        if any(folder.glob("*.json")):
            return folder
    raise FileNotFoundError(f"no <recording>.json in {poses}, nor in {', '.join(POSE_FOLDERS)} under it")


def annotation_file(annotations: Path, split: str) -> Path:
    """Return the CSV of a split. Raises UnknownChoice, FileNotFoundError."""
    if split not in SPLITS:
        raise UnknownChoice(f"Assembly101 has no split {split!r}; it has {', '.join(SPLITS)}")
    for file in (annotations / f"{split}.csv", annotations / f"{split}.csv.gz"):
        if file.is_file():
            return file
    raise FileNotFoundError(f"no {split}.csv or {split}.csv.gz in {annotations}")


def read_segments(file: Path, csv_fps: int | None = None) -> list[Segment]:
    """Return the segments of a CSV, once each, in pose frames.

    `csv_fps` is the rate that the CSV counts frames at, 30 or 60; by default it follows from the format. Raises MalformedRelease.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", newline="", encoding="utf-8") as text:
            return _segments(file, csv.DictReader(text), csv_fps)
    except csv.Error as error:
        raise MalformedRelease(f"{file}: expected a table of columns separated by commas: {error}") from error


def _segments(file: Path, rows: csv.DictReader, csv_fps: int | None) -> list[Segment]:
    """Return the segments of the rows, once each. Raises MalformedRelease."""
    header = tuple(rows.fieldnames or ())
    if missing := [column for column in COLUMNS if column not in header]:
        raise MalformedRelease(f"{file}: expected the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    segments: dict[Segment, None] = {}
    for row in rows:
        recording, _, view = row["video"].partition("/")
        fps = csv_fps or (ANNOTATION_FPS if view or "is_RGB" in header else POSE_FPS)
        try:
            start, end = int(row["start_frame"]), int(row["end_frame"])
        except (TypeError, ValueError) as error:
            raise MalformedRelease(f"{file}, line {rows.line_num}: expected integer frames: {error}") from error
        if fps not in (ANNOTATION_FPS, POSE_FPS) or not 0 <= start <= end:
            raise MalformedRelease(
                f"{file}, line {rows.line_num}: expected frames 0 <= start <= end at 30 or 60 fps, "
                f"got {start} to {end} at {fps}"
            )
        scale = POSE_FPS // fps
        labels = row["action_cls"], row["verb_cls"], row["toy_name"]
        segments[Segment(recording, scale * start, scale * (end + 1), *labels)] = None
    return list(segments)


def filter_actions(segments: Iterable[Segment], actions: Sequence[str]) -> list[Segment]:
    """Return the segments whose action contains one of `actions` as whole words ("unscrew" does not contain "screw").

    Without `actions`, return all segments. Raises UnknownChoice for an action that no segment contains.
    """
    segments = list(segments)
    if not actions:
        return segments
    names = {segment.action for segment in segments}
    for action in actions:
        if not any(_has(name, action) for name in names):
            near = get_close_matches(action, names | {segment.verb for segment in segments}, n=5, cutoff=0.5)
            raise UnknownChoice(f"no segment has the action {action!r}; the nearest: {', '.join(near) or 'none'}")
    return [segment for segment in segments if any(_has(segment.action, action) for action in actions)]


def _has(name: str, words: str) -> bool:
    return f" {words} " in f" {name} "


def read_poses(file: Path, cache: Path) -> HandClip:
    """Return a recording's hands in metres, float32, mapped from `cache`.

    The file is decoded into the cache first, unless a file of the same name, size and modification time has been. Raises
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
    """Write the array whole or not at all, even if the process is killed."""
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
    """Return joints (frames, 2, 21, 3) in metres, NaN where a hand is absent, and valid (frames, 2)."""
    frames = _frames(file)
    length = max(frames, default=-1) + 1
    if length == 0 or min(frames) < 0:
        first = min(frames, default=None)
        raise MalformedRelease(f"{file}: expected frames numbered from 0, got {len(frames)} frames from {first}")
    if length > 100 * len(frames):  # a mistyped id must not allocate an array of arbitrary size
        raise MalformedRelease(
            f"{file}: expected at least one in 100 frame ids, got {len(frames)} frames with ids up to {length - 1}"
        )
    joints = np.full((length, 2, len(ASSEMBLY101.joints), 3), np.nan, dtype=np.float32)
    for frame, hands in frames.items():
        for hand, points in enumerate((hands.left, hands.right)):
            if not points:
                continue
            if len(points) != len(ASSEMBLY101.joints):
                raise MalformedRelease(
                    f"{file}, frame {frame}: expected {len(ASSEMBLY101.joints)} joints of the {LEFT_RIGHT[hand]} hand, "
                    f"got {len(points)}"
                )
            with np.errstate(over="ignore"):  # refused below
                joints[frame, hand] = points
    if np.isinf(joints).any():
        raise MalformedRelease(
            f"{file}: expected coordinates in millimetres, got one beyond {np.finfo(np.float32).max:.1e}"
        )
    joints *= np.float32(to_metres("mm"))
    return joints, np.isfinite(joints[:, :, 0, 0])


def _frames(file: Path) -> dict[int, _Hands]:
    """Return hands by frame id, from either layout."""
    text = file.read_bytes()
    try:
        if text.lstrip()[:1] == b"[":
            listed = msgspec.json.decode(text, type=list[_Frame | None])
            return {i: (frame and frame.landmarks) or _Hands() for i, frame in enumerate(listed)}
        return {i: hands or _Hands() for i, hands in msgspec.json.decode(text, type=dict[int, _Hands | None]).items()}
    except msgspec.DecodeError as error:
        raise MalformedRelease(
            f"{file}: expected a list of landmarks or hands by frame id, with 21 points of 3 numbers per hand: {error}"
        ) from error


def cache_folder() -> Path:
    """Return the folder of decoded recordings: chiron/assembly101 in the user's cache folder, outside the data folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chiron" / NAME


def _read(folder: Path, split: str | None) -> list[Recording]:
    """Read the action segments of a split, or of all of them, from assembly101/ in the subfolder `hands`."""
    root = folder / NAME
    return [
        recording
        for name in (SPLITS if split is None else (split,))
        for recording in read_assembly101(root, root / ANNOTATION_FOLDER, name, cache=cache_folder())
    ]


SOURCE = HandSource(NAME, "CC BY-NC 4.0", "Sener et al., Assembly101, CVPR 2022", _read)
