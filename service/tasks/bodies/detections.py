"""People in the JSON of detectors as they write it: OpenPose, AlphaPose, COCO results, MMPose, Ultralytics and MediaPipe.

Every form becomes the same value: for each frame the people in it, each with numbers for all joints. Fields that do not
matter are passed over. Nothing here knows time, or which person of one frame is which of the next.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import gcd
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from models.contract.task import MAX_FRAMES
from models.skeletons.body import orders_with
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import UnknownOrder
from service.http.problems import Problem

Coordinates = Literal["pixels", "fractions", "metres"]  # of the image's width and height, for fractions
GROUPS = ("people", "bodies", "instances")  # OpenPose, AlphaPose as OpenPose once wrote, MMPose
FILES = ("instance_info", "predictions", "annotations")  # MMPose, its inferencer, COCO
NUMBERS = ("image_id", "frame_id")
FLAT = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")  # MediaPipe: fractions of the image
DEEP = ("pose_world_landmarks", "poseWorldLandmarks", "world_landmarks", "worldLandmarks")  # metres from the hips
LABELS = ("person_id", "track_id", "idx")
BY_COUNT = {17: "coco-17", 26: "halpe-26", 133: "coco-wholebody-133", 136: "halpe-136"}
OPENPOSE = {18: "openpose-18", 25: "openpose-25"}
ORIGIN_M = 0.02  # MediaPipe's world landmarks are measured from the middle of the hips


@dataclass(frozen=True)
class Seen:
    """One person in one frame: coordinates, then a confidence. `label` is the person's own, where the detector follows people."""

    numbers: Float[np.ndarray, "joints numbers"]
    label: Hashable | None

    @property
    def is_sure(self) -> bool:
        """Return whether any joint has a confidence: people without one, all zeros, are padding."""
        return bool((self.numbers[:, -1] != 0).any())


@dataclass(frozen=True)
class Detections:
    """The people of every frame, and what the document says or implies about their joints."""

    frames: list[list[Seen]]
    coordinates: Coordinates
    order: str | None
    guessed: bool  # the order fits the number of joints, and the document does not name it

    @property
    def joints(self) -> int:
        """Return the number of joints of a person; 0 if nobody was seen."""
        return next((len(seen.numbers) for people in self.frames for seen in people), 0)


def is_document(value: Any) -> bool:
    """Return whether a value is a detector's document rather than frames of keypoints."""
    if isinstance(value, dict):
        return any(key in value for key in (*FILES, *GROUPS, *FLAT, *DEEP)) or _is_by_image(value)
    return _has_objects(value, 3)


def lifted_fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a recognition in an answer of POST /poses/lift, which may be sent as it came; None for anything else."""
    if not (isinstance(value, dict) and {"axes", "units", "joints", "names"} <= set(value)):
        return None
    fields = {name: value[name] for name in ("joints", "axes", "units")}
    for name in ("persons", "clips"):
        if isinstance(several := value.get(name), list):
            poses = [one.get("poses") if isinstance(one, dict) else None for one in several]
            return {**fields, name: poses}
    return {**fields, "clip": value.get("poses")}


def read(document: Any, deep: bool, pointer: str) -> Detections:
    """Return the people in a document, in three dimensions if it has them and `deep` is set.

    Raises wrong-shape and too-many-frames, at `pointer`.
    """
    frames = _frames(document, deep, pointer)
    if len(frames) > MAX_FRAMES:
        raise Problem("too-many-frames", f"expected at most {MAX_FRAMES} frames in a request, got {len(frames)}")
    people = [[seen for person in frame if (seen := _seen(person, deep, pointer)).is_sure] for frame in frames]
    counts = sorted({len(seen.numbers) for frame in people for seen in frame})
    if len(counts) > 1:
        detail = f"expected people with as many joints each, got {' and '.join(map(str, counts[:5]))}"
        raise Problem.at("wrong-shape", pointer, detail)
    person = next((person for frame in frames for person in frame), None)
    landmarks = isinstance(person, list)
    coordinates: Coordinates = ("metres" if deep else "fractions") if landmarks else "pixels"
    named, count = _named_order(document), counts[0] if counts else 0
    if landmarks:
        _check_landmarks(people, deep, pointer)
        named = named or ("mediapipe-33" if count == 33 else None)
    elif isinstance(person, dict) and "pose_keypoints_2d" in person:
        named = named or OPENPOSE.get(count)
    return Detections(people, coordinates, named or BY_COUNT.get(count), named is None)


def order_to_send(found: Detections) -> str:
    """Return what a request needs to say of joints that a document does not name."""
    advice = " or ".join(orders_with(found.joints)) or "GET /joints lists the orders, none of which"
    return f"expected `joints`, since the document does not say the order of its {found.joints} joints; {advice} fits"


def scale_of(found: Detections, image: tuple[float, float] | None, pointer: str) -> Float[np.ndarray, " dims"]:
    """Return the factors of the coordinates to the request's unit: pixels of `image` for fractions of it. Raises wrong-shape."""
    if found.coordinates != "fractions":
        return np.ones(2)
    if image is None:
        detail = "MediaPipe's landmarks are fractions of the image; expected x times its width and y times its height"
        raise Problem.at("wrong-shape", pointer, f"{detail}, as arrays")
    return np.array(image, np.float64)


def _has_objects(value: Any, depth: int) -> bool:
    """Return whether the first item of nested lists that is neither null nor empty is an object."""
    if not isinstance(value, list) or not depth:
        return False
    first = next((item for item in value if item not in (None, [])), None)
    return isinstance(first, dict) or _has_objects(first, depth - 1)


def _is_by_image(value: dict[str, Any]) -> bool:
    """Return whether a document has the people of each image under its name, as AlphaPose writes for OpenPose."""
    return bool(value) and all(isinstance(item, dict) and any(key in item for key in GROUPS) for item in value.values())


def _first(value: Any) -> Any:
    """Return the first item of a list that is not null; None if there is none."""
    return next((item for item in value if item is not None), None) if isinstance(value, list) else None


def _frames(document: Any, deep: bool, pointer: str) -> list[list[Any]]:
    """Return the people of every frame, as they were written."""
    if isinstance(document, dict) and _is_by_image(document):
        people = ((name, _people(frame, deep, pointer)) for name, frame in document.items())
        return _numbered(people, pointer)
    if isinstance(document, dict):
        document = next((document[key] for key in FILES if key in document), document)
    if not isinstance(document, list):
        return [_people(document, deep, pointer)]
    items = [item for item in document if item is not None]
    if all(isinstance(item, dict) for item in items):
        for key in NUMBERS:
            if all(key in item for item in items):
                alone = [not any(group in item for group in GROUPS) for item in items]
                people = (
                    [item] if one else _people(item, deep, pointer) for item, one in zip(items, alone, strict=True)
                )
                return _numbered(zip((item[key] for item in items), people, strict=True), pointer)
        if not all(any(key in item for key in (*GROUPS, *FLAT, *DEEP)) for item in items):
            return [_people(items, deep, pointer)]
    return [[] if item is None else _people(item, deep, pointer) for item in document]


def _people(frame: Any, deep: bool, pointer: str) -> list[Any]:
    """Return the people of a frame: objects with keypoints, or lists of landmarks."""
    if isinstance(frame, dict):
        key = next((key for key in (*GROUPS, *(DEEP if deep else FLAT)) if key in frame), None)
        if key is None:
            advice = "pose_world_landmarks" if deep else "pose_landmarks"
            raise Problem.at("wrong-shape", pointer, f"expected frames with people or {advice}, got {_keys(frame)}")
        if key in GROUPS:
            return _listed(frame[key], pointer)
        frame = [frame["landmark"]] if key == "landmark" else frame[key]
        frame = [one["landmark"] for one in [frame] if "landmark" in one] if isinstance(frame, dict) else frame
        if isinstance(_first(frame), list):
            return _listed(frame, pointer)
    people = [person for person in _listed(frame, pointer) if person is not None]
    return [people] if people and isinstance(people[0], dict) and "x" in people[0] else people


def _listed(value: Any, pointer: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Problem.at("wrong-shape", pointer, f"expected a list of people, got {type(value).__name__}")
    return value


def _numbered(items: Iterable[tuple[Any, list[Any]]], pointer: str) -> list[list[Any]]:
    """Return the people by frame, where each item has a number or the name of an image that ends in one.

    The step from frame to frame is the greatest that fits all numbers. A frame that is left out has nobody in it.
    """
    by_number: dict[int, list[Any]] = {}
    for name, people in items:
        digits = name if isinstance(name, int) else _number_in(str(name))
        if digits is None or not 0 <= digits < 1 << 62:
            detail = f"expected numbers of frames, or names of images that end in one, got {str(name)[:60]!r}"
            raise Problem.at("wrong-shape", pointer, detail)
        by_number.setdefault(digits, []).extend(people)
    if not by_number:
        return []
    first, last = min(by_number), max(by_number)
    step = gcd(*(number - first for number in by_number)) or 1
    if (last - first) // step >= MAX_FRAMES:
        detail = (
            f"expected frames numbered within {MAX_FRAMES}, got {first} to {last}: these are no frames of one video"
        )
        raise Problem("too-many-frames", detail)
    return [by_number.get(number, []) for number in range(first, last + 1, step)]


def _number_in(name: str) -> int | None:
    """Return the last number in the name of an image, without its suffix."""
    stem = name.rpartition(".")[0] or name
    end = next((i for i in range(len(stem), 0, -1) if stem[i - 1].isdecimal()), 0)
    begin = next((i for i in range(end, 0, -1) if not stem[i - 1].isdecimal()), 0)
    return int(stem[max(begin, end - 18) : end]) if end else None


def _seen(person: Any, deep: bool, pointer: str) -> Seen:
    """Return a person's numbers: x, y and, with `deep`, z where the document has one; then a confidence."""
    if isinstance(person, list):
        return Seen(_landmarks(person, deep, pointer), None)
    if not isinstance(person, dict):
        raise Problem.at("wrong-shape", pointer, f"expected people as objects, got {type(person).__name__}")
    if deep and person.get("pose_keypoints_3d"):
        numbers = _rows(person["pose_keypoints_3d"], 4, pointer)
    elif flat := person.get("pose_keypoints_2d") or person.get("joints"):
        numbers = _rows(flat, 3, pointer)
    else:
        numbers = _keypoints(person, deep, pointer)
    labels = (person[key] for key in LABELS if key in person)
    label = next((label[0] if isinstance(label, list) and len(label) == 1 else label for label in labels), None)
    return Seen(numbers, label if isinstance(label, int | float | str) and label != -1 else None)


def _keypoints(person: dict[str, Any], deep: bool, pointer: str) -> Float[np.ndarray, "joints numbers"]:
    """Return `keypoints` as AlphaPose, COCO results, MMPose and Ultralytics write them."""
    points, scores = person.get("keypoints"), person.get("keypoint_scores")
    if isinstance(points, dict):  # Ultralytics
        scores = points.get("visible")
        columns = [_array(points.get(axis), 1, pointer) for axis in ("x", "y")]
        if len(columns[0]) != len(columns[1]):
            raise Problem.at("wrong-shape", pointer, "expected as many x as y of keypoints")
        numbers = np.stack(columns, axis=-1)
    elif isinstance(_first(points), list):
        numbers = _array(points, 2, pointer)
    elif points:
        numbers = _rows(points, 3 if scores is None else 2, pointer)
    else:
        raise Problem.at("wrong-shape", pointer, f"expected people with keypoints, got {_keys(person)}")
    if scores is None and numbers.shape[1] == (4 if deep else 3):
        return numbers
    if numbers.shape[1] not in ((2, 3) if deep else (2,)):
        raise Problem.at("wrong-shape", pointer, f"expected keypoints in the image, got {numbers.shape[1]} coordinates")
    confidence = np.ones(len(numbers)) if scores is None else _array(scores, 1, pointer)
    if len(confidence) != len(numbers):
        raise Problem.at("wrong-shape", pointer, f"expected {len(numbers)} scores, got {len(confidence)}")
    return np.concatenate([numbers, confidence[:, None]], axis=-1)


def _landmarks(person: list[Any], deep: bool, pointer: str) -> Float[np.ndarray, "joints numbers"]:
    """Return MediaPipe's landmarks, whose confidence is their visibility."""
    names = ("x", "y", "z") if deep else ("x", "y")
    if not all(isinstance(point, dict) and all(name in point for name in names) for point in person):
        raise Problem.at("wrong-shape", pointer, f"expected landmarks with {', '.join(names)} in every one")
    rows = [[*(point[name] for name in names), point.get("visibility", 1)] for point in person]
    return _array(rows, 2, pointer)


def _check_landmarks(frames: list[list[Seen]], deep: bool, pointer: str) -> None:
    """Raise wrong-shape for landmarks in metres where those of the image are needed, or the other way round."""
    people = [seen.numbers for people in frames for seen in people if len(seen.numbers) == 33]
    if not people:
        return
    hips = np.stack(people)[:, 23:25].mean(axis=(0, 1))
    metres = bool(np.abs(hips[:2]).max() < ORIGIN_M)
    if metres != deep:
        wanted = "pose_world_landmarks, in metres" if deep else "pose_landmarks, in fractions of the image"
        raise Problem.at("wrong-shape", pointer, f"expected MediaPipe's {wanted}; got the others")


def _named_order(document: Any) -> str | None:
    """Return the joint order that MMPose's `meta_info` names."""
    about = document.get("meta_info") if isinstance(document, dict) else None
    name = about.get("dataset_name") if isinstance(about, dict) else None
    try:
        return get_body_order(name[:64]).name if isinstance(name, str) else None
    except UnknownOrder:
        return None


def _rows(flat: Any, width: int, pointer: str) -> Float[np.ndarray, "rows width"]:
    numbers = _array(flat, 1, pointer)
    if not len(numbers) or len(numbers) % width:
        detail = f"expected {width} numbers for each joint of a person, got {len(numbers)} in all"
        raise Problem.at("wrong-shape", pointer, detail)
    return numbers.reshape(-1, width)


def _array(value: Any, axes: int, pointer: str) -> Float[np.ndarray, "..."]:
    """Return lists of numbers as an array of float64. Raises wrong-shape."""
    rows = value if axes == 2 else [value]
    plain = isinstance(rows, list) and all(isinstance(row, list) for row in rows)
    try:
        if plain and all(type(number) in (int, float) for row in rows for number in row):
            array = np.array(value, np.float64)
            if array.ndim == axes:
                return array
    except (ValueError, OverflowError):
        pass
    raise Problem.at("wrong-shape", pointer, "expected lists of numbers of equal lengths for the joints of a person")


def _keys(item: dict[str, Any]) -> str:
    return ", ".join(str(key)[:20] for key in list(item)[:8]) or "an empty object"
