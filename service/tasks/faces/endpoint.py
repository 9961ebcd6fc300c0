"""POST /landmarks/face and `chiron landmarks`: the landmarks of a face, in the scan's own frame and unit."""

from pathlib import Path
from typing import Any

import msgspec

from models.contract.bundle import BundleMeta
from models.pictures.faces import draw_face
from models.scans.cloud import Degenerate, NotFinite, TooBig, UnknownSuffix, Unreadable
from models.scans.files import MAX_POINTS, formats
from models.skeletons.face import FACE68
from models.skeletons.units import Implausible
from service.http.negotiation import JSON, NPZ
from service.http.openapi import BINARY, query_parameter
from service.settings import Settings
from service.tasks.batch import Answers, Batch, PreparedBatch, batch_of
from service.tasks.endpoint import Endpoint, Example, Limits
from service.tasks.faces.answers import encode, scan_of_bundle
from service.tasks.faces.meshes import aligned
from service.tasks.faces.prepare import FoundFace, NoFace, PreparedScan, UnclearUnits, prepare, steps
from service.tasks.faces.schemas import FaceAnswer, FaceOptions
from service.tasks.faces.upload import CSV, FCSV, FORM, GLTF, MRK, OBJ, OCTETS, PLY, TYPES, Upload, decode, split_form
from service.tasks.memory import Memory

DESCRIPTION = """Find the 68 landmarks of a face on a scan in any pose, with confidences, in the scan's own frame and unit.

The scan is a mesh or a cloud: .ply .obj .stl .off .glb .gltf .npz .npy .pcd .csv .xyz .txt .asc .pts, compressed with gzip or not. Send
it as the body, with its content type or a `format` or `filename`, or as the only file of a form. The Accept header chooses the form of
the answer: application/json, application/x-npz for arrays, model/vnd.ply for a coloured cloud with edges, model/obj for Blender, text/csv,
or a point list of 3D Slicer: application/vnd.slicer.mrk+json or text/x-fcsv. With aligned=true the answer is the scan itself in the
head's frame, as model/vnd.ply.
"""
ERRORS = (
    "malformed-body", "unreadable-scan", "unknown-model", "not-acceptable", "request-timeout", "body-too-large", "scan-too-large",
    "unsupported-media-type", "unknown-format", "invalid-request", "not-finite", "degenerate-scan", "unclear-units",
    "no-face", "implausible", "internal", "overloaded", "not-ready",
)  # fmt: skip
RAISED: dict[type[Exception], str] = {
    UnknownSuffix: "unknown-format",
    Unreadable: "unreadable-scan",
    TooBig: "scan-too-large",
    NotFinite: "not-finite",
    Degenerate: "degenerate-scan",
    UnclearUnits: "unclear-units",
    NoFace: "no-face",
    Implausible: "implausible",
}


def limits(settings: Settings) -> Limits:
    """Return the limits of a request under the settings."""
    return Limits(settings.max_scan_bytes, points=MAX_POINTS, setting="CHIRON_MAX_SCAN_BYTES")


def memory(media: str) -> Memory:
    """Return the memory of a request with a scan.

    Measured for each byte: 6 to 10 in binary files, 4 to 23 in text, the most for numbers of one digit, and 33 for polygons of very
    many corners.
    """
    return Memory(12, 16 << 20)


def kept(scan: PreparedScan) -> int:
    """Return the bytes that a scan takes once it is prepared: its points, and heatmaps with their copies on the way to the client."""
    everywhere = len(scan.whole.points) if scan.whole is not None and scan.options.heatmaps == "full" else 0
    heatmaps = 4 * len(FACE68.joints) * everywhere
    return (8 << 20) + 5 * heatmaps


def draw(result: FoundFace, model: BundleMeta, path: Path, title: str) -> None:
    """Write a picture: the scan from three sides with the landmarks, and the heatmaps of six of them."""
    scan, face = result.scan, result.face
    assert scan.whole is not None, "the whole scan is kept where a picture is wanted"
    draw_face(
        scan.whole.points,
        face.landmarks,
        path,
        triangles=scan.whole.triangles,
        confidence=face.confidence,
        confident_m=scan.task.confident_m,
        seen=result.seen,
        heatmaps=face.heatmaps,
        samples=scan.points[face.sampled],
        title=title,
    )


def operation() -> dict[str, Any]:
    """Describe the request for OpenAPI: the options, and the forms that the scan may have."""
    properties = msgspec.json.schema_components([FaceOptions])[1]["FaceOptions"]["properties"]
    parameters = [query_parameter(name, schema, schema["description"]) for name, schema in properties.items()]
    file = {"type": "string", "format": "binary", "description": "the scan; the filename's suffix tells its format"}
    fields = {name: _field(schema) for name, schema in properties.items()}
    form = {"title": "FaceForm", "type": "object", "required": ["file"], "properties": {"file": file, **fields}}
    own = {FORM: {"schema": form}, GLTF: {"schema": {"type": "object", "description": "a glTF document"}}}
    content = {media: own.get(media, BINARY) for media in (FORM, *TYPES)}  # the first is what a viewer offers first
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def _field(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field of the form: its default is an example, which viewers show, and not a default, which clients send."""
    return {
        "examples" if key == "default" else key: [value] if key == "default" else value for key, value in schema.items()
    }


def operation_of_files() -> dict[str, Any]:
    """Describe the request with many files for OpenAPI."""
    form = operation()["requestBody"]["content"][FORM]["schema"]
    file = {"type": "array", "minItems": 1, "items": form["properties"]["file"], "description": "a part for each scan"}
    schema = {**form, "title": "FaceBatchForm", "properties": {**form["properties"], "file": file}}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


FACE: Endpoint[Upload, PreparedScan, FoundFace] = Endpoint(
    path="/landmarks/face",
    kind="face-landmarks",
    also=("face-map",),
    tag="landmarks",
    description=DESCRIPTION,
    accepts=TYPES,
    offers=(JSON, NPZ, PLY, OBJ, CSV, MRK, FCSV),
    with_query=TYPES,
    limits=limits,
    memory=memory,
    on_loop_bytes=0,
    kept=kept,
    errors=ERRORS,
    raised=RAISED,
    answer=FaceAnswer,
    operation=operation,
    examples=dict,
    example=Example(scan_of_bundle, media_type=PLY),
    decode=decode,
    prepare=prepare,
    steps=steps,
    encode=encode,
    reads=lambda: dict.fromkeys(formats(), OCTETS),
    writes={".json": JSON, ".csv": CSV, ".npz": NPZ, ".ply": PLY, ".obj": OBJ, ".mrk.json": MRK, ".fcsv": FCSV},
    draw=draw,
    align=aligned,
    warnings=lambda result: result.warnings,
)
FACES: Endpoint[Batch, PreparedBatch, Answers] = batch_of(FACE, (FORM,), split_form, operation_of_files)
