"""`chiron forecast`: a clip in a file to its future in a file, by the functions of POST /forecast/hands."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from models.contract.bundle import Bundle
from models.contract.task import HandForecast
from models.pictures.hands import draw_hands
from service.http import negotiation
from service.inference.model import expected_error
from service.inference.predictor import Predictor
from service.tasks.files import Refused
from service.tasks.hands import prepare as hands
from service.tasks.hands import wire as hands_wire

CLIPS, FORMS = (".npz", ".npy", ".json"), (".npz", ".npy", ".json")
OPTIONS = ("fps", "units", "joints", "hand", "model")


def read_clip(path: Path, given: dict[str, Any]) -> hands_wire.HandsAsked:
    """The request that a file is, with the options `given` on the command line over its own.

    A .json is a body of POST /forecast/hands. A .npz has arrays past, or left and right, and may have fps, units, joints, hand and model;
    a .npy is `past` alone. Frames of NaN were not seen. Raises Refused, Problem, OSError.
    """
    suffix = path.suffix.lower()
    if suffix not in CLIPS:
        raise Refused(f"clips are {', '.join(CLIPS)}; came {path.name}")
    body = path.read_bytes()
    if suffix == ".npy":
        _require_fps(given)
        return hands_wire.decode_hands(body, negotiation.NPY, {name: str(value) for name, value in given.items()})
    if suffix == ".json":
        return hands_wire.decode_hands(_over(body, given), negotiation.JSON, {})
    return hands_wire.decode_hands(_packed(body, given), negotiation.MSGPACK, {})


def _require_fps(fields: dict[str, Any]) -> None:
    if "fps" not in fields:
        raise Refused("the clip has no rate: say --fps, its frames a second")


def _over(body: bytes, given: dict[str, Any]) -> bytes:
    """The JSON body with the options given; as it came if it is no object, which the decoder says better."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(fields, dict):
        return body
    _require_fps(fields := {**fields, **given})
    return orjson.dumps(fields)


def _packed(body: bytes, given: dict[str, Any]) -> bytes:
    """A .npz as a MessagePack body, with the options given."""
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*hands_wire.ARRAYS, *OPTIONS) if name in file.files}
            came = file.files
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise Refused(f"the .npz cannot be read: {str(error)[:200]}") from None
    fields: dict[str, Any] = {}
    for name in OPTIONS:
        if name in arrays:
            if arrays[name].ndim:
                raise Refused(f"{name} in a .npz is one value; came an array {arrays[name].shape}")
            fields[name] = arrays[name].item()
    _require_fps(fields := {**fields, **given})
    points = {name: arrays[name] for name in hands_wire.ARRAYS if name in arrays}
    if not points:
        raise Refused(f"a .npz wants an array past, or left and right; it has {', '.join(came)[:200] or 'none'}")
    if wrong := [name for name, array in points.items() if array.dtype.kind not in "fiu"]:
        raise Refused(f"{wrong[0]} in a .npz is numbers; came {points[wrong[0]].dtype}")
    if len(shapes := {array.shape for array in points.values()}) > 1:
        raise Refused(f"left and right are arrays of one shape; came {' and '.join(map(str, sorted(shapes)))}")
    dtype = "<f4" if all(array.dtype == np.float32 for array in points.values()) else "<f8"
    if len(shape := shapes.pop()) != 3:
        raise Refused(f"{' and '.join(points)} are (frames, joints, 3); came {shape}")
    fields |= {name: array.astype(dtype).tobytes() for name, array in points.items()}
    return msgspec.msgpack.encode({**fields, "shape": shape, "dtype": dtype})


def forecast(
    asked: hands_wire.HandsAsked,
    bundle: Bundle,
    predictor: Predictor,
    max_gap_s: float,
    picture: Path | None,
    title: str,
) -> dict[str, Any]:
    """The answer as POST /forecast/hands has it, with the picture, if there is to be one, drawn. Raises Problem, WrongClip's kin."""
    meta = bundle.meta
    assert isinstance(meta.task, HandForecast), f"{meta.name} forecasts no hands"
    question = hands.prepare(asked, meta.task, max_gap_s, meta.name)
    output = predictor.run({name: tensor[None] for name, tensor in question.tensors.items()})
    future = output["future"][0]
    answer = {
        "model": {"name": meta.name, "version": meta.version},
        **hands.answer(question, future, meta.task),
        "expected_error": expected_error(meta),
    }
    if picture is not None:
        past = question.past.joints
        draw_hands(past.reshape(len(past), -1, 3), None, future[0].astype(float), meta.task.fps, picture, title)
    return answer


def encode(answer: dict[str, Any], suffix: str, dtype: str) -> bytes:
    """The answer in the form of a suffix of FORMS."""
    if suffix == ".npy":
        return hands_wire.encode(answer, negotiation.NPY, dtype)[0]
    if suffix == ".json":
        return hands_wire.encode(answer, negotiation.JSON, dtype)[0]
    sides = [name for name in ("future", "left", "right") if answer.get(name) is not None]
    arrays = {name: answer[name].astype(dtype) for name in sides}
    if answer["alternatives"]:
        further = {name: np.stack([mode[name] for mode in answer["alternatives"]]) for name in sides}
        arrays |= {f"alternatives_{name}": array.astype(dtype) for name, array in further.items()}
    plain = {name: np.array(answer[name]) for name in ("times", "fps", "units", "joints", "filled_frames")}
    plain |= {"carried_joints": np.array(answer["carried_joints"], dtype=str)}
    plain |= {"model": np.array(answer["model"]["name"]), "version": np.array(answer["model"]["version"])}
    np.savez(buffer := io.BytesIO(), **arrays, **plain)  # pyright: ignore[reportArgumentType] - numpy's stub takes allow_pickle there
    return buffer.getvalue()
