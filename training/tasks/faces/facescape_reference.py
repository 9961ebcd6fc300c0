"""FaceScape as the reference SE(3)-UNet has it (github MattiaFerraretto/SE3-Transformer-CV): clouds in {train,test}_neutral.npy.

A pickled dictionary over N faces, of 669 people to train on and 167 to test on, all neutral:
    point_list (N, 8192, 3), landmark_list (N, 68, 3)        (x - mean of the points) * scale, x in millimetres
    normal_list (N, 8192, 3), heatmaps_list (N, 8192, 68)    not used here: a heatmap is made for the sigma at hand
    subject_list (N), emotion_list (N), as "1_neutral"       the person's id and expression in FaceScape
    scale_list (N)                                           1 / max |coordinate|, some 1 / 153 mm
The files are their authors' and not public. They are read without running what is in them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from models.contract.units import to_metres
from models.skeletons.face import FACE68
from training.data.untrusted import load_numpy, load_pickle
from training.tasks.faces.facescape import EXPRESSIONS

SIGMA = 0.095  # of the reference's heatmaps, in its unit: times `unit_m` it is metres
KEYS = (
    *("point_list", "landmark_list", "heatmaps_list", "normal_list"),
    *("subject_list", "emotion_list", "scale_list"),
)


class MalformedReference(ValueError):
    """A file that is not the reference's dictionary; the message says what was wanted and what came."""


@dataclass(frozen=True)
class ReferenceFace:
    """One face in metres, float64, about the mean of its points. `unit_m` is the reference's unit for it."""

    subject: int
    expression: str
    points: Float[np.ndarray, "points 3"]
    landmarks: Float[np.ndarray, "68 3"]
    unit_m: float


def read_reference(root: Path, split: str) -> list[ReferenceFace]:
    """The faces of <root>/Train/train_neutral.npy or Test/test_neutral.npy, or of the same file right under the root.

    Raises FileNotFoundError, MalformedReference, and UntrustedFile for a pickle that names anything but arrays.
    """
    name = f"{split}_neutral.npy"
    path = next((p for p in (root / split.capitalize() / name, root / name) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no {split.capitalize()}/{name} in {root}, nor {name}")
    held = _dictionary(path)
    points = _array(held, "point_list", path)
    faces, count = points.shape[:2] if points.ndim == 3 else (len(points), 0)
    wanted = {
        "point_list": (faces, count, 3),
        "landmark_list": (faces, len(FACE68.joints), 3),
        "heatmaps_list": (faces, count, len(FACE68.joints)),
        "normal_list": (faces, count, 3),
        "subject_list": (faces,),
        "emotion_list": (faces,),
        "scale_list": (faces,),
    }
    arrays = {}
    for key, shape in wanted.items():
        arrays[key] = array = _array(held, key, path)
        if array.shape != shape:
            raise MalformedReference(
                f"{path}: {key} is wanted as {shape}, as point_list has {points.shape}; came {array.shape}"
            )
    scales = _numbers(arrays["scale_list"], "scale_list", path)
    if not (scales > 0).all():
        raise MalformedReference(f"{path}: scales are wanted above 0; came {scales.min()}")
    units = to_metres("mm") / scales
    points, landmarks = (_numbers(arrays[key], key, path) * units[:, None, None] for key in KEYS[:2])
    return [
        ReferenceFace(*_who(str(subject), str(emotion), path), cloud, marks, float(unit))
        for subject, emotion, cloud, marks, unit in zip(
            arrays["subject_list"], arrays["emotion_list"], points, landmarks, units, strict=True
        )
    ]


def _dictionary(path: Path) -> dict[str, Any]:
    """What is in the file, which is a dictionary as numpy.save or as pickle writes it; numpy.load takes both."""
    with path.open("rb") as file:
        saved = file.read(6) == b"\x93NUMPY"
    held = load_numpy(path) if saved else load_pickle(path)
    if isinstance(held, np.ndarray) and held.shape == () and held.dtype == object:
        held = held[()]
    if not isinstance(held, dict):
        raise MalformedReference(f"{path} wants a dictionary of {', '.join(KEYS)}; it has a {type(held).__name__}")
    if missing := [key for key in KEYS if key not in held]:
        raise MalformedReference(f"{path} wants {', '.join(KEYS)}; it has no {', '.join(missing)}")
    return held


def _array(held: dict[str, Any], key: str, path: Path) -> np.ndarray:
    """An entry as one array, which may have come as a list of arrays."""
    value = held[key]
    try:
        whole = value if isinstance(value, np.ndarray) and value.dtype != object else np.array(list(value))
    except (TypeError, ValueError) as error:
        raise MalformedReference(f"{path}: {key} is no list of equal shapes: {error}") from error
    if whole.ndim == 0:
        raise MalformedReference(f"{path}: {key} is wanted for each face; came {whole!r}")
    return whole


def _numbers(array: np.ndarray, key: str, path: Path) -> Float[np.ndarray, "..."]:
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise MalformedReference(f"{path}: {key} wants finite numbers; came {array.dtype}, not all of them finite")
    return array.astype(np.float64)


def _who(subject: str, emotion: str, path: Path) -> tuple[int, str]:
    number, _, name = emotion.partition("_")
    if not subject.isdecimal() or name not in EXPRESSIONS or number != str(EXPRESSIONS.index(name) + 1):
        raise MalformedReference(
            f"{path} wants subjects such as 258 and emotions such as 1_neutral; came {subject!r}, {emotion!r}"
        )
    return int(subject), name
