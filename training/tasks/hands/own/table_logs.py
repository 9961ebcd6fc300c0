"""Logs of hands in tables: CSV, and arrays in .npy and .npz.

A CSV has a first line of names. Its columns are a time or a frame, and joints:

    time, left_wrist_x, left_wrist_y, left_wrist_z, ..., right_pinky_tip_z      both hands in a line; joints by name or number
    time, hand, wrist_x, wrist_y, wrist_z, ...                                   a hand a line
    time, hand, joint, x, y, z                                                   a joint a line

An array is (frames, joints, 3), (frames, 2 joints, 3) or (frames, hands, joints, 3), left before right; NaN is what was not seen. A .npz
has `joints`, or `left` and `right`, or `past`, and `timestamp`, `timestamps` or `fps`. One with `seq_start` has many recordings in
millimetres (training/tasks/hands/npz.py).
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.skeletons.hand import is_known
from models.skeletons.skeleton import LEFT_RIGHT, Hand, Skeleton, plain_joint
from training.data.untrusted import load_numpy
from training.tasks.hands.own.json_logs import TIMES
from training.tasks.hands.own.log import MAX_FRAMES, Frame, Log, MalformedLog

OWN = {"units": "mm", "joints": "assembly101"}  # of an .npz of many recordings
NUMBERS = ("frame", "frame_id", "frameid", "frame_number", "index")
SIDE = ("hand", "side", "handedness", "chirality")
WIDE = re.compile(r"(?:(left|right)[_. ])?(.+?)[_. ]([xyz])")
WHOLE = re.compile(r"(.+?)[_. ]([xyz])")
BARE = re.compile(r"([xyz])_?(\d+)")
UNSEEN = ("", "nan", "null", "none", "na")
MAX_COLUMNS = 1000


def read_csv(content: bytes, lone: Hand | None, joints: Sequence[str] = ()) -> Log:
    """Return the log in a CSV; `lone` is the side of a hand whose side is not stated. Raises MalformedLog.

    `joints` are those of a skeleton of one's own: left_hip is a joint there, and no hip of a left hand.
    """
    try:
        text = content.decode("utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        rows = csv.reader(io.StringIO(text), delimiter=separator)
        names = [name.strip().lower() for name in next(rows, [])]
        table = [row for row in rows if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedLog(f"expected a table of columns separated by commas: {error}") from None
    if len(names) > MAX_COLUMNS or len(set(names)) < len(names):
        raise MalformedLog(f"expected at most {MAX_COLUMNS} columns, each name once, got {len(names)}")
    if wrong := [f"line {line}" for line, row in enumerate(table, 2) if len(row) != len(names)]:
        raise MalformedLog(f"{wrong[0]}: expected {len(names)} columns, got another number")
    time = next((names.index(name) for name in (*TIMES, *NUMBERS) if name in names), None)
    if time is None:
        raise MalformedLog(f"expected a column of times or frames, such as time or timestamp_ms, got {_some(names)}")
    side = next((names.index(name) for name in SIDE if name in names), None)
    cells = _cells(names, lone if side is None else None, {*map(plain_joint, joints)}, stated=side is not None)
    frames: dict[str, Frame] = {}
    for number, row in enumerate(table, 2):
        frame = frames.setdefault(row[time], Frame(_number(row[time], number) if names[time] in TIMES else None))
        if len(frames) > MAX_FRAMES:
            raise MalformedLog(f"expected at most {MAX_FRAMES:,} frames, got more")
        own = None if side is None else _side(row[side], number)
        for column, (hand, joint, axis) in cells.items():
            name = row[names.index("joint")] if joint is None else joint
            hands: Any = frame.hands.setdefault(own or hand or "left", {})
            hands.setdefault(name, [None] * 3)[axis] = _number(row[column], number)
    for frame in frames.values():  # a hand of empty cells was not seen
        frame.hands = {
            hand: points
            for hand, points in frame.hands.items()
            if any(x is not None for p in dict(points).values() for x in p)
        }
    return Log(list(frames.values()))


def _cells(
    names: list[str], lone: Hand | None, joints: set[str], *, stated: bool
) -> dict[int, tuple[Hand | None, str | None, int]]:
    """Return hand, joint and axis of each column that has a coordinate; the joint is None where a column `joint` has it."""
    if {"joint", "x", "y", "z"} <= set(names):
        if not stated and lone is None:
            raise MalformedLog("expected a column `hand`, or a declared `hand`, got neither")
        return {names.index(axis): (lone, None, "xyz".index(axis)) for axis in "xyz"}
    cells: dict[int, tuple[Hand | None, str | None, int]] = {}
    for column, name in enumerate(names):
        if match := BARE.fullmatch(name):
            cells[column] = (lone, match[2], "xyz".index(match[1]))
        elif (match := WHOLE.fullmatch(name)) and plain_joint(match[1]) in joints:
            cells[column] = (lone, match[1], "xyz".index(match[2]))
        elif match := WIDE.fullmatch(name):
            cells[column] = (match[1] or lone, match[2], "xyz".index(match[3]))  # pyright: ignore[reportArgumentType] - left or right
    if not cells:
        raise MalformedLog(f"expected columns of joints, such as left_wrist_x, wrist_x or x0, got {_some(names)}")
    if not stated and any(hand is None for hand, _, _ in cells.values()):
        raise MalformedLog("expected columns of a left or a right hand, a column `hand`, or a declared `hand`")
    return cells


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _side(text: str, line: int) -> Hand:
    word = text.strip().lower()
    for hand in LEFT_RIGHT:
        if word in (hand, hand[0]):
            return hand
    raise MalformedLog(f"line {line}: expected left or right, got {text[:40]!r}")


def _number(text: str, line: int) -> float | None:
    if (plain := text.strip()).lower() in UNSEEN:
        return None
    try:
        return float(plain)
    except ValueError:
        raise MalformedLog(f"line {line}: expected a number, got {plain[:40]!r}") from None


def read_array(path: Path, order: Skeleton, lone: Hand | None) -> dict[str, Log]:
    """Return the logs in a .npy or .npz by the name of the recording, "" if there is one. Raises MalformedLog, UntrustedFile."""
    loaded = load_numpy(path)
    arrays = loaded if isinstance(loaded, dict) else {"joints": loaded}
    if any(array.dtype.kind not in "fiubU" for array in arrays.values()):
        raise MalformedLog("expected arrays of numbers and names, got others")
    if "seq_start" in arrays:
        return _many(arrays, OWN if is_known(order) else {"units": "mm", "joints": order.name})
    stated = {name: arrays[name].item() for name in ("fps", "units", "joints", "axes") if _is_word(arrays.get(name))}
    arrays = {name: array for name, array in arrays.items() if name not in stated}
    times = next((arrays[name] for name in ("timestamps", "timestamp", "times", "time") if name in arrays), None)
    values = _both(arrays, len(order.joints), lone)
    if times is not None and times.shape != values.shape[:1]:
        raise MalformedLog(f"expected a time for each of {len(values)} frames, got {times.shape}")
    return {"": _log(values, times, stated)}


def _is_word(array: np.ndarray | None) -> bool:
    return array is not None and array.ndim == 0


def _both(arrays: dict[str, np.ndarray], joints: int, lone: Hand | None) -> np.ndarray:
    """Return hands as (frames, 2, joints, 3) from arrays of both or of one. Raises MalformedLog."""
    sides = {side: arrays[side] for side in LEFT_RIGHT if side in arrays}
    if sides:
        wrong = next((x for x in sides.values() if x.ndim != 3 or len(x) != len(next(iter(sides.values())))), None)
        if wrong is not None:
            raise MalformedLog(f"expected left and right of shape (frames, joints, 3), got {wrong.shape}")
        some = next(iter(sides.values()))
        return np.stack([sides.get(side, np.full(some.shape, np.nan)) for side in LEFT_RIGHT], axis=1)
    name = next((name for name in ("joints", "past") if name in arrays), None)
    if name is None:
        raise MalformedLog(f"expected an array joints, left, right or past, got {_some(list(arrays)) or 'none'}")
    values = arrays[name]
    if values.ndim == 3 and values.shape[1] == 2 * joints:
        values = values.reshape(len(values), 2, joints, -1)
    if values.ndim == 3:
        values = values[:, None]
    if values.ndim != 4 or values.shape[1] not in (1, 2) or values.shape[3] != 3:
        raise MalformedLog(f"expected (frames, hands, joints, 3) or (frames, joints, 3), got {arrays[name].shape}")
    if values.shape[1] == 2:
        return values
    if lone is None:
        raise MalformedLog("expected two hands, or a declared `hand` for one, got one hand and none declared")
    missing = np.full(values.shape, np.nan)
    return np.concatenate([values, missing] if lone == "left" else [missing, values], axis=1)


def _many(arrays: dict[str, np.ndarray], stated: dict[str, str]) -> dict[str, Log]:
    """Return the recordings of an .npz of many, whose format is in training/tasks/hands/npz.py."""
    needed = ("joints", "valid", "timestamp", "seq_start", "seq_name", "label")
    if missing := [name for name in needed if name not in arrays]:
        raise MalformedLog(f"expected the arrays {', '.join(needed)}; missing: {', '.join(missing)}")
    joints, valid, times, starts, names, labels = (arrays[name] for name in needed)
    counts = {len(joints), len(valid), len(times), int(starts[-1]) if len(starts) else -1}
    if joints.ndim != 4 or joints.shape[1] != 2 or len(counts) > 1 or not len(names) == len(labels) == len(starts) - 1:
        raise MalformedLog(
            f"expected joints (N, 2, joints, 3) and seq_start ending in N, got {joints.shape} and {counts}"
        )
    values = np.where(valid.astype(bool)[..., None, None], joints, np.nan)
    pieces = zip(names, labels, starts[:-1], starts[1:], strict=True)
    return {str(n): _log(values[a:b], times[a:b], stated | {"label": str(label)}) for n, label, a, b in pieces}


def _log(values: np.ndarray, times: np.ndarray | None, stated: dict[str, Any]) -> Log:
    seen = np.asarray((~np.isnan(values)).any(axis=(2, 3)))
    frames = [
        Frame(
            None if times is None else float(times[i]),
            {side: values[i, h] for h, side in enumerate(LEFT_RIGHT) if seen[i, h]},
        )
        for i in range(len(values))
    ]
    return Log(frames, stated)
