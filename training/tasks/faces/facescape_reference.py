"""FaceScape in the form of the reference SE(3)-UNet (GitHub: MattiaFerraretto/SE3-Transformer-CV): clouds in {train,test}_neutral.npy.

A file is a pickled dictionary over N neutral faces, of 669 people to train on or of 167 to test on:

    point_list (N, 8192, 3), landmark_list (N, 68, 3)        (x - mean of the points) * scale, with x in millimetres
    normal_list (N, 8192, 3), heatmaps_list (N, 8192, 68)    not used: heatmaps are computed for the task's sigma
    subject_list (N), emotion_list (N), such as "1_neutral"  the person's id and expression in FaceScape
    scale_list (N)                                           1 / max |coordinate|, about 1 / 153 mm

The files belong to their authors and are not public. Reading them runs no code from the pickle.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from models.skeletons.face import FACE68
from models.skeletons.units import to_metres
from training.data.untrusted import load_numpy, load_pickle
from training.tasks.faces.facescape import EXPRESSIONS

SIGMA = 0.095  # of the reference's heatmaps, in its unit; times `unit_m` it is in metres
KEYS = (
    *("point_list", "landmark_list", "heatmaps_list", "normal_list"),
    *("subject_list", "emotion_list", "scale_list"),
)


class MalformedReference(ValueError):
    """A file that is not the reference's dictionary; the message says what was expected and what was found."""


@dataclass(frozen=True)
class ReferenceFace:
    """One face relative to the mean of its points, in metres, float64; `unit_m` is the length of the reference's unit."""

    subject: int
    expression: str
    points: Float[np.ndarray, "points 3"]
    landmarks: Float[np.ndarray, "68 3"]
    unit_m: float


def read_reference(root: Path, split: str) -> list[ReferenceFace]:
    """Read the faces of the split "train" or "test" from <root>/Train/train_neutral.npy or Test/test_neutral.npy, or from the root itself.

    Raises FileNotFoundError, MalformedReference, and UntrustedFile for a pickle that needs anything but arrays.
    """
    name = f"{split}_neutral.npy"
    path = next((p for p in (root / split.capitalize() / name, root / name) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no {split.capitalize()}/{name} in {root}, nor {name}")
    content = _dictionary(path)
    points = _array(content, "point_list", path)
    faces, count = points.shape[:2] if points.ndim == 3 else (len(points), 0)
    expected = {
        "point_list": (faces, count, 3),
        "landmark_list": (faces, len(FACE68.joints), 3),
        "heatmaps_list": (faces, count, len(FACE68.joints)),
        "normal_list": (faces, count, 3),
        "subject_list": (faces,),
        "emotion_list": (faces,),
        "scale_list": (faces,),
    }
    arrays = {}
    for key, shape in expected.items():
        arrays[key] = array = _array(content, key, path)
        if array.shape != shape:
            raise MalformedReference(
                f"{path}: expected {key} of shape {shape} beside a point_list of {points.shape}, got {array.shape}"
            )
    scales = _numbers(arrays["scale_list"], "scale_list", path)
    if not (scales > 0).all():
        raise MalformedReference(f"{path}: expected scales above 0, got {scales.min()}")
    units = to_metres("mm") / scales
    points, landmarks = (_numbers(arrays[key], key, path) * units[:, None, None] for key in KEYS[:2])
    return [
        ReferenceFace(*_identity(str(subject), str(emotion), path), cloud, marks, float(unit))
        for subject, emotion, cloud, marks, unit in zip(
            arrays["subject_list"], arrays["emotion_list"], points, landmarks, units, strict=True
        )
    ]


def _dictionary(path: Path) -> dict[str, Any]:
    """Return the dictionary in a file that numpy.save or pickle has written."""
    with path.open("rb") as file:
        saved = file.read(6) == b"\x93NUMPY"
    content = load_numpy(path) if saved else load_pickle(path)
    if isinstance(content, np.ndarray) and content.shape == () and content.dtype == object:
        content = content[()]
    if not isinstance(content, dict):
        raise MalformedReference(f"{path}: expected a dictionary of {', '.join(KEYS)}, got a {type(content).__name__}")
    if missing := [key for key in KEYS if key not in content]:
        raise MalformedReference(f"{path}: expected the keys {', '.join(KEYS)}; missing: {', '.join(missing)}")
    return content


def _array(content: dict[str, Any], key: str, path: Path) -> np.ndarray:
    """Return an entry as one array, even if it is a list of arrays."""
    value = content[key]
    try:
        array = value if isinstance(value, np.ndarray) and value.dtype != object else np.array(list(value))
    except (TypeError, ValueError) as error:
        raise MalformedReference(f"{path}: expected {key} as a list of arrays of equal shapes: {error}") from error
    if array.ndim == 0:
        raise MalformedReference(f"{path}: expected {key} for each face, got {array!r}")
    return array


def _numbers(array: np.ndarray, key: str, path: Path) -> Float[np.ndarray, "..."]:
    """Return an entry as float64; raise MalformedReference if it has anything but finite numbers."""
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise MalformedReference(f"{path}: expected finite numbers in {key}, got {array.dtype} with others among them")
    return array.astype(np.float64)


def _identity(subject: str, emotion: str, path: Path) -> tuple[int, str]:
    """Return the id and the expression of a face."""
    number, _, name = emotion.partition("_")
    if not subject.isdecimal() or name not in EXPRESSIONS or number != str(EXPRESSIONS.index(name) + 1):
        raise MalformedReference(
            f"{path}: expected subjects such as 258 and emotions such as 1_neutral, got {subject!r} and {emotion!r}"
        )
    return int(subject), name
