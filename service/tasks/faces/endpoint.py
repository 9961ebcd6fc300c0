"""POST /landmarks/face: a scan through the model's batcher, once or twice, to landmarks in the scan's own frame and unit.

Reading, sampling and writing are done in threads; the event loop only passes on.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response

from models.contract.symmetry import Tensors
from models.scans.files import MAX_POINTS, read_scan
from models.scans.levels import Face, Search, search
from service.http.limits import ByteBudget, ThreadPool
from service.http.negotiation import accepted, content_type, read_body
from service.http.problems import Problem, documented
from service.inference.model import Model
from service.inference.served import ServedModels
from service.settings import Settings
from service.tasks.endpoint import Example
from service.tasks.faces import answers
from service.tasks.faces import prepare as faces
from service.tasks.faces import upload as uploads
from service.tasks.faces.schemas import FaceAnswer, FaceOptions, Heatmaps
from service.telemetry.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")

PATH = "/landmarks/face"
JSON, NPZ, PLY = "application/json", "application/x-npz", "model/vnd.ply"
CARRY: dict[Heatmaps, tuple[str, ...]] = {"none": (JSON, NPZ, PLY), "points": (JSON, NPZ), "full": (NPZ,)}
BINARY = {"schema": {"type": "string", "format": "binary"}}
ERRORS = (
    "malformed-body", "unreadable-scan", "unknown-model", "not-acceptable", "body-too-large", "scan-too-large",
    "unsupported-media-type", "unknown-format", "invalid-request", "not-finite", "degenerate-scan", "unclear-units",
    "no-face", "internal", "overloaded", "not-ready",
)  # fmt: skip

EXAMPLES = {"face-landmarks": Example(answers.scan_of_bundle, media_type=PLY)}


def router(registry: ServedModels, metrics: Metrics, threads: ThreadPool, settings: Settings) -> APIRouter:
    """The route, over these models; `threads` are for everything that takes a while."""
    routes, budget = APIRouter(), ByteBudget(max(settings.max_uploads_bytes, settings.max_scan_bytes))

    async def aside(stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's answer from a thread, and its seconds, without those of waiting for one, in the metrics."""

        def timed() -> T:
            with metrics.stage(PATH, stage):
                return function(*args, **kwargs)

        return await threads.run(timed)

    @routes.post(
        PATH,
        response_model=FaceAnswer,
        responses={200: {"content": {NPZ: BINARY, PLY: BINARY}}, **documented(*ERRORS)},
        openapi_extra=_operation(),
        tags=["landmarks"],
    )
    async def landmarks_face(request: Request) -> Response:
        """The 68 landmarks of a face on a scan, in any pose, with confidences; in the scan's own frame and unit.

        The scan is a mesh or a cloud: .ply .obj .stl .off .glb .gltf .npz .npy .pcd .xyz .txt .csv, as the body with
        its content type or a `format` or `filename`, or as the one file of a form. As application/x-npz the answer is
        arrays, as model/vnd.ply the landmarks as a coloured cloud with edges: Accept chooses.
        """
        wanted = accepted(request, (JSON, NPZ, PLY))
        content_type(request, uploads.TYPES)
        question, model, heatmaps = await read(request, wanted)
        face = await look(question, model)
        content = await aside("encode", encode, question, face, model, heatmaps, wanted)
        return Response(content, headers=_headers(question, model, wanted), media_type=wanted)

    async def read(request: Request, wanted: str) -> tuple[faces.Question, Model, Heatmaps]:
        """The scan, for whom it is, and which heatmaps are wanted; the upload itself is not kept any longer."""
        query = uploads.parameters(request.query_params.multi_items())
        threads.admit()
        with budget.reserve() as take:
            body = await read_body(request, settings.max_scan_bytes, take)
            upload = await aside(
                "decode", lambda: uploads.upload_of(bytes(body), request.headers["content-type"], query)
            )
            options = upload.options
            if wanted not in CARRY[options.heatmaps]:
                detail = f"{options.heatmaps} is given as {' or '.join(CARRY[options.heatmaps])}; Accept wants {wanted}"
                raise Problem.at("invalid-request", upload.pointer("heatmaps"), detail)
            model = registry.get(options.model or None, "face-landmarks", upload.pointer("model"))
            return await aside("read", question_of, upload, settings.max_scan_bytes), model, options.heatmaps

    async def look(question: faces.Question, model: Model) -> Face:
        """The search, with the network's answers from the batcher."""
        looking = search(question.points, faces.task_of(model.bundle.meta))
        found = await aside("prepare", next_of, looking, None)
        while not isinstance(found, Face):
            answer = await model.batcher.submit({name: tensor[0] for name, tensor in found.items()})
            found = await aside("prepare", next_of, looking, {name: tensor[None] for name, tensor in answer.items()})
        return found

    return routes


def question_of(upload: uploads.Upload, max_bytes: int) -> faces.Question:
    """The scan of an upload. Raises BadCloud or UnclearUnits."""
    scan = read_scan(upload.data, upload.suffix, max_bytes=max_bytes, max_points=MAX_POINTS)
    return faces.prepare(scan, upload.options.units, upload.options.heatmaps)


def next_of(looking: Search, answer: Tensors | None) -> Face | Tensors:
    """What the search wants to be answered next or, at its end, what it found: no StopIteration gets out of a thread."""
    try:
        return looking.send(answer)  # pyright: ignore[reportArgumentType] - None begins
    except StopIteration as done:
        return done.value


def encode(question: faces.Question, face: Face, model: Model, heatmaps: Heatmaps, media: str) -> bytes:
    """The answer's body. Raises NoFace."""
    faces.require_face(question, face)
    meta = model.bundle.meta
    if media == NPZ:
        return answers.npz_bytes(question, face, meta, heatmaps)
    if media == PLY:
        return answers.ply_bytes(question, face, meta)
    return answers.json_bytes(answers.document(question, face, meta, heatmaps))


def _headers(question: faces.Question, model: Model, media: str) -> dict[str, str]:
    """What JSON says inside, for the other forms."""
    if media == JSON:
        return {}
    return {
        "x-chiron-model": model.name,
        "x-chiron-model-version": model.version,
        "x-chiron-units": question.unit,
        "content-disposition": f'attachment; filename="landmarks.{"npz" if media == NPZ else "ply"}"',
    }


def _operation() -> dict[str, Any]:
    """What FastAPI cannot see of a route that reads its own body: the options, and the forms that the scan may have."""
    properties = msgspec.json.schema_components([FaceOptions])[1]["FaceOptions"]["properties"]
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": schema.get("description", "")}
        for name, schema in properties.items()
    ]
    file = {"type": "string", "format": "binary", "description": "the scan; its filename's suffix says what it is"}
    form = {"type": "object", "required": ["file"], "properties": {"file": file, **properties}}
    content = {media: BINARY for media in uploads.TYPES if media != uploads.FORM} | {uploads.FORM: {"schema": form}}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}
