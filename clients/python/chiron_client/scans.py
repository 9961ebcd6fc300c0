"""The calls about faces: a scan as a path, bytes, an array or a mesh of trimesh, and the landmarks on it."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, Unpack, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from chiron_client.answers import Batch, Distance, FaceLandmarks, Heatmaps, Measurement, ModelVersion
from chiron_client.arrays import npy, read
from chiron_client.calls import OCTETS, Action, Request, call, query
from chiron_client.problems import Problem

FORMS = {
    "json": "application/json", "npz": "application/x-npz", "ply": "model/vnd.ply", "obj": "model/obj", "csv": "text/csv",
    "mrk.json": "application/vnd.slicer.mrk+json", "fcsv": "text/x-fcsv",
}  # fmt: skip
Form = Literal["json", "npz", "ply", "obj", "csv", "mrk.json", "fcsv"]


@runtime_checkable
class Mesh(Protocol):
    """A mesh or a cloud that writes itself as a file, as trimesh's do."""

    def export(self, *, file_type: str) -> Any: ...


Scan = str | PathLike[str] | bytes | NDArray[Any] | Mesh


class ScanOptions(TypedDict, total=False):
    """The options of landmarks: the scan's `units` ("auto" by default, or m, cm, mm, in, ft), and the `model`."""

    units: Literal["auto", "m", "cm", "mm", "in", "ft"]
    model: str


def landmarks(
    scan: Scan, *, format: str | None = None, heatmaps: bool = False, **options: Unpack[ScanOptions]
) -> Action[FaceLandmarks]:
    """Find the 68 landmarks of a face on a scan in any pose.

    The scan is a path, the bytes of a file with its `format` (such as "ply"), an array (points, 3), or a mesh of trimesh. Raises Problem,
    Unreachable, and OSError for a file that cannot be read.
    """
    request = _request(scan, format, "json", {**options, "heatmaps": "points" if heatmaps else None})
    return call(request, lambda reply: face_of(msgspec.json.decode(reply.content)))


def landmarks_file(
    scan: Scan,
    form: Form,
    *,
    format: str | None = None,
    heatmaps: Literal["points", "full"] | None = None,
    aligned: bool = False,
    **options: Unpack[ScanOptions],
) -> Action[bytes]:
    """Find the landmarks and return them as a file: npz, ply, obj, csv, mrk.json or fcsv; with `aligned`, the scan itself as a ply.

    `heatmaps` needs npz. Raises Problem, Unreachable and OSError.
    """
    request = _request(scan, format, form, {**options, "heatmaps": heatmaps, "aligned": aligned or None})
    return call(request, lambda reply: reply.content)


def landmarks_batch(
    scans: Sequence[Scan], *, format: str | None = None, **options: Unpack[ScanOptions]
) -> Action[Batch[FaceLandmarks]]:
    """Find the landmarks on many scans in one request; `format` is that of bytes. Raises Problem, Unreachable and OSError."""
    files = [("file", (name, content)) for content, name in (content_of(scan, format) for scan in scans)]
    request = Request("POST", "/landmarks/face:batch", files=files, fields=query(options))

    def answers(document: Mapping[str, Any]) -> Batch[FaceLandmarks]:
        faces = tuple(None if one is None else face_of(one) for one in document["answers"])
        return Batch(faces, tuple(map(Problem.of, document["failed"])))

    return call(request, lambda reply: answers(msgspec.json.decode(reply.content)))


def content_of(scan: Scan, format: str | None) -> tuple[bytes, str]:
    """Return the content of a scan's file and a name whose suffix tells its format. Raises OSError, TypeError and ValueError."""
    if isinstance(scan, bytes):
        if format is None:
            raise ValueError('expected the `format` of a scan that is bytes, such as "ply", got none')
        return scan, f"scan.{format.lstrip('.')}"
    if isinstance(scan, np.ndarray):
        return npy(scan if scan.dtype == np.float32 else scan.astype(np.float64)), "scan.npy"
    if isinstance(scan, str | PathLike):
        path = Path(scan)
        return path.read_bytes(), path.name if format is None else f"scan.{format.lstrip('.')}"
    if isinstance(scan, Mesh):
        exported = scan.export(file_type="ply")
        return exported if isinstance(exported, bytes) else exported.encode(), "scan.ply"
    raise TypeError(f"expected a path, bytes, an array or a mesh with `export`, got {type(scan).__name__}")


def face_of(document: Mapping[str, Any]) -> FaceLandmarks:
    """Return the landmarks of an answer."""
    points, heat = document["landmarks"], document.get("heatmaps")
    return FaceLandmarks(
        model=read(document["model"], ModelVersion),
        names=tuple(point["name"] for point in points),
        positions=np.array([point["position"] for point in points], np.float64),
        confidences=np.array([point["confidence"] for point in points], np.float64),
        seen=np.array([point["seen"] for point in points], bool),
        within=document["confidence"]["within"],
        pose=np.array(document["pose"], np.float64),
        units=document["units"],
        units_inferred=document["units_inferred"],
        distances=read(document["distances"], dict[str, Distance]),
        regions={name: tuple(indices) for name, indices in document["regions"].items()},
        warnings=tuple(document["warnings"]),
        expected_error=read(document["expected_error"], tuple[Measurement, ...]),
        heatmaps=None if heat is None else _heatmaps(heat),
    )


def _heatmaps(document: Mapping[str, Any]) -> Heatmaps:
    indices = document["indices"]
    return Heatmaps(
        np.array(document["points"], np.float64),
        np.array(document["values"], np.float64),
        None if indices is None else np.array(indices, np.int64),
    )


def _request(scan: Scan, format: str | None, form: Form, options: Mapping[str, object]) -> Request:
    content, name = content_of(scan, format)
    headers = {"content-type": OCTETS, "accept": FORMS[form]}
    return Request("POST", "/landmarks/face", query({"filename": name, **options}), headers, content)
