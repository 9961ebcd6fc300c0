"""Logs of hands in JSON and JSON lines, as trackers and the programs around them write them.

| written by | a frame |
|---|---|
| requests and streams of /forecast/hands | `left`, `right`, or `past` |
| MediaPipe Hands: the tasks and the older solutions, in Python and JavaScript | world landmarks and handedness |
| LeapJS | `hands` with `palmPosition` and `wrist`, `pointables` with the joints of fingers |
| Assembly101 | "0" and "1", by the number of the frame or in a list of `landmarks` |
| loggers of OpenXR, WebXR, Quest and others | `left` and `right`, or `hands` with a side and joints each, by number or by name |

A file is one list of frames, an object with `frames`, arrays of a request (`left`, `right` or `past` for all frames), frames by number, or
one frame a line. A first line without hands states `fps`, `units`, `joints` and `axes`, as the first message of a stream does.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from models.skeletons.skeleton import Hand
from training.tasks.hands.own.log import MAX_FRAMES, STATED, Frame, Log, MalformedLog

TIMES = (
    "timestamp", "timestamps", "time", "t", "timestamp_ms", "timestampms", "time_ms", "timems", "timestamp_us", "timestamp_ns",
    "time_s", "seconds", "capturetime",
)  # fmt: skip
WORLD = (
    "hand_world_landmarks", "handworldlandmarks", "multi_hand_world_landmarks", "multihandworldlandmarks", "world_landmarks",
    "worldlandmarks",
)  # fmt: skip
IMAGE = ("hand_landmarks", "handlandmarks", "multi_hand_landmarks", "multihandlandmarks", "landmarks")
HANDEDNESS = ("handedness", "handednesses", "multi_handedness", "multihandedness")
SIDES = ("hand", "side", "handedness", "type", "label", "chirality")  # the key of a hand's side
JOINTS = ("joints", "landmarks", "world_landmarks", "worldlandmarks", "points", "positions", "keypoints")
ASSEMBLY101 = {"fps": 60, "units": "mm", "joints": "assembly101"}
FINGERS, PARTS = range(5), ("mcpPosition", "pipPosition", "dipPosition", "btipPosition")


def read_json(content: bytes, lone: Hand | None) -> Log:
    """Return the log in a JSON file; `lone` is the side of a hand whose side is not stated. Raises MalformedLog."""
    value = _decoded(content)
    if isinstance(value, list):
        if value and isinstance(value[0], dict) and _digits(value[0].get("landmarks")):
            return Log(_frames(value, lone), ASSEMBLY101)
        return Log(_frames(value, lone))
    if not isinstance(value, dict) or not value:
        raise MalformedLog(f"expected an object or a list of frames, got {str(value)[:60]}")
    stated = {name: value[name] for name in STATED if value.get(name) is not None}
    if isinstance(value.get("frames"), list):
        return Log(_frames(value["frames"], lone), stated)
    if _digits(value):
        numbers = sorted(value, key=int)
        if int(numbers[-1]) > 100 * len(value):
            raise MalformedLog(f"expected one in 100 frame numbers at least, got {len(value)} up to {numbers[-1]}")
        frames = {int(number): _frame(value[number], lone, number) for number in numbers}
        return Log([frames.get(number, Frame(None)) for number in range(int(numbers[-1]) + 1)], ASSEMBLY101)
    return Log(_arrays(value, lone), stated)


def read_lines(content: bytes, lone: Hand | None) -> Log:
    """Return the log in a file of JSON lines. Raises MalformedLog."""
    lines = [line for line in content.splitlines() if line.strip()]
    values = [_decoded(line, f"line {number}: ") for number, line in enumerate(lines, 1)]
    stated = {}
    if values and isinstance(values[0], dict) and set(values[0]) & set(STATED) and not _is_frame(values[0]):
        stated = {name: values[0][name] for name in STATED if values[0].get(name) is not None}
        values = values[1:]
    return Log(_frames(values, lone), stated)


def _decoded(content: bytes, where: str = "") -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedLog(f"{where}expected JSON: {error}") from None


def _digits(value: Any) -> bool:
    """Return whether a value is an object whose keys are numbers, as Assembly101's frames and hands are."""
    return isinstance(value, dict) and bool(value) and all(key.isdigit() and len(key) < 9 for key in value)


def _arrays(value: dict[str, Any], lone: Hand | None) -> list[Frame]:
    """Return the frames of a request: an array of all frames for each hand."""
    arrays = {name: value[name] for name in ("left", "right", "past") if isinstance(value.get(name), list)}
    if not arrays:
        raise MalformedLog(
            f"expected `frames`, or arrays `left`, `right` or `past`, got {', '.join(map(str, value))[:200]}"
        )
    lengths = {len(array) for array in arrays.values()}
    times = value.get("timestamps")
    if len(lengths) > 1 or (times is not None and (not isinstance(times, list) or len(times) not in lengths)):
        raise MalformedLog(f"expected arrays and timestamps of one length, got {sorted(lengths)} and their times")
    frames = [{name: array[number] for name, array in arrays.items()} for number in range(lengths.pop())]
    if times is not None:
        frames = [{**frame, "time": time} for frame, time in zip(frames, times, strict=True)]
    return _frames(frames, lone)


def _frames(values: Iterable[Any], lone: Hand | None) -> list[Frame]:
    values = list(values)
    if len(values) > MAX_FRAMES:
        raise MalformedLog(f"expected at most {MAX_FRAMES:,} frames, got {len(values):,}")
    return [_frame(value, lone, number) for number, value in enumerate(values)]


def _is_frame(value: dict[str, Any]) -> bool:
    keys = {key.lower() for key in value}
    return bool(keys & {"left", "right", "past", "hands", "0", "1", *WORLD, *IMAGE})


def _frame(value: Any, lone: Hand | None, number: object) -> Frame:
    """Return one frame. Raises MalformedLog."""
    if value is None:
        return Frame(None)
    if not isinstance(value, dict):
        raise MalformedLog(f"frame {number}: expected an object, got {str(value)[:60]}")
    keys = {key.lower(): key for key in value}
    time = next((value[keys[name]] for name in TIMES if name in keys), None)
    if isinstance(time, bool) or not isinstance(time, int | float | None):
        raise MalformedLog(f"frame {number}: expected a number as its time, got {str(time)[:40]!r}")
    try:
        found = _hands(value, keys, lone)
    except MalformedLog as error:
        raise MalformedLog(f"frame {number}: {error}") from None
    hands: dict[Hand, Any] = {}
    for side, points in found:
        if points is None or len(points) == 0:
            continue
        if side in hands:
            continue  # detectors see one hand twice at times; the first is the surer one
        hands[side] = points
    return Frame(None if time is None else float(time), hands)


def _hands(value: dict[str, Any], keys: dict[str, str], lone: Hand | None) -> list[tuple[Hand, Any]]:
    """Return side and points of each hand in a frame, whatever program wrote it."""
    if _digits(value.get("landmarks")):  # Assembly101's list
        value = value["landmarks"]
        keys = {key: key for key in value}
    if {"0", "1"} & set(keys):
        return [("left", _points(value.get("0"))), ("right", _points(value.get("1")))]
    if {"left", "right"} & set(keys):
        return [(side, _points(value[keys[side]])) for side in ("left", "right") if side in keys]
    if (world := next((keys[name] for name in WORLD if name in keys), None)) is not None:
        named = next((value[keys[name]] for name in HANDEDNESS if name in keys), None)
        landmarks = value[world] or []
        if not isinstance(landmarks, list) or (
            landmarks and (not isinstance(named, list) or len(named) != len(landmarks))
        ):
            raise MalformedLog("expected as many entries of handedness as hands beside the world landmarks")
        return [(_side(name), _points(points)) for name, points in zip(named or [], landmarks, strict=False)]
    if isinstance(hands := value.get(keys.get("hands", "hands")), list):
        if "pointables" in keys:
            return _leap(hands, value[keys["pointables"]])
        return [_entry(hand, lone) for hand in hands]
    if "past" in keys:
        if lone is None:
            raise MalformedLog("expected `left` or `right`, got `past`, whose side is not known; declare `hand`")
        return [(lone, _points(value[keys["past"]]))]
    if any(name in keys for name in IMAGE):
        raise MalformedLog(
            "expected world landmarks, in metres, got landmarks of the image alone, which have no depth in metres; "
            "log hand_world_landmarks too"
        )
    return []


def _entry(hand: Any, lone: Hand | None) -> tuple[Hand, Any]:
    """Return one of a list of hands that state their side."""
    if not isinstance(hand, dict):
        raise MalformedLog(f"expected a hand with a side and joints, got {str(hand)[:60]}")
    keys = {key.lower(): key for key in hand}
    side = next((hand[keys[name]] for name in SIDES if name in keys), lone)
    points = next((hand[keys[name]] for name in JOINTS if name in keys), None)
    if points is None:
        raise MalformedLog(f"expected the joints of a hand, one of {', '.join(JOINTS)}, got {', '.join(hand)[:100]}")
    return _side(side), _points(points)


def _side(name: Any) -> Hand:
    """Return a side from MediaPipe's categories, in any of their forms, or from a word."""
    while isinstance(name, list) and name:
        name = name[0]
    if isinstance(name, dict):
        if "classification" in name:
            return _side(name["classification"])
        name = next(
            (name[key] for key in ("category_name", "categoryName", "label", "displayName") if key in name), None
        )
    word = str(name).lower()
    if word in ("left", "l", "lefthand"):
        return "left"
    if word in ("right", "r", "righthand"):
        return "right"
    raise MalformedLog(f"expected left or right for a hand, got {str(name)[:40]!r}; declare `hand` if it is always one")


def _points(points: Any) -> Any:
    """Return a hand as a list of points or points by joint; None if it was not seen."""
    if isinstance(points, dict):
        if len(points) == 1 and isinstance(inner := next(iter(points.values())), list):
            return inner  # {"landmark": [...]} of protocol buffers, {"joints": [...]}
        if points.get("tracked") is False or points.get("isActive") is False or points.get("is_active") is False:
            return None
        return next((points[name] for name in JOINTS if isinstance(points.get(name), list | dict)), points)
    if points is None or isinstance(points, list):
        return points
    raise MalformedLog(f"expected the joints of a hand, got {str(points)[:60]}")


def _leap(hands: list[Any], pointables: Any) -> list[tuple[Hand, Any]]:
    """Return the hands of a frame of LeapJS in the order `leap`: palm, wrist, then mcp, pip, dip and tip of each finger."""
    found: list[tuple[Hand, Any]] = []
    for hand in hands:
        fingers = {one.get("type"): one for one in pointables if one.get("handId") == hand.get("id")}
        wrist = hand.get("wrist") or hand.get("wristPosition")
        if wrist is None or any(finger not in fingers for finger in FINGERS):
            continue  # a hand that enters has no fingers yet
        joints = [fingers[finger].get(part) for finger in FINGERS for part in PARTS]
        found.append((_side(hand.get("type")), [hand.get("palmPosition"), wrist, *joints]))
    return found
