"""Every error the service answers with, as RFC 9457 problem+json: the one module that knows HTTP statuses.

The rest of the service raises `Problem` with the name of a kind; the errors of what knows no requests are mapped to kinds here. A
problem's `type` is the path /problems/<kind> and is served there. `errors` points into the request (RFC 6901); the
request's arrays are never echoed.
"""

import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("chiron.errors")


@dataclass(frozen=True)
class Kind:
    status: int
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "malformed-body": Kind(400, "The body cannot be parsed", "Send well-formed JSON, MessagePack, .npy, or a form."),
    "unreadable-scan": Kind(400, "The scan's file cannot be read", "Send the whole file as the program wrote it."),
    "unauthorized": Kind(401, "A valid API key is needed", "Send Authorization: Bearer KEY or X-API-Key: KEY."),
    "not-found": Kind(404, "Nothing is served at this path", "GET /openapi.json lists every path."),
    "unknown-model": Kind(404, "No such model", "GET /models lists the names."),
    "unknown-job": Kind(404, "No such job", "GET /jobs lists them."),
    "unknown-artifact": Kind(404, "The job has made no such file", "GET /jobs/{id}/artifacts lists what it has."),
    "unknown-dataset": Kind(404, "No such data set", "GET /datasets lists them."),
    "unknown-version": Kind(404, "The model has no such version", "GET /models/{name} lists them."),
    "method-not-allowed": Kind(405, "This path does not take this method", "The Allow header lists the methods."),
    "not-acceptable": Kind(406, "None of the types in Accept can be given", "Accept one of the types in `detail`."),
    "wrong-state": Kind(409, "Its state does not allow this", "`detail` says what it is in."),
    "dataset-exists": Kind(409, "There is a data set of this name", "Choose another: a data set is never changed."),
    "dataset-not-ready": Kind(409, "The loader has not read this data set", "GET /datasets/{name} says why."),
    "bundle-refused": Kind(409, "This version cannot be served", "`detail` says why; what was served still is."),
    "body-too-large": Kind(413, "The body is too large", "Send fewer frames or points, or a binary form of them."),
    "scan-too-large": Kind(413, "The scan has too many points", "Thin the cloud or simplify the mesh."),
    "too-many-frames": Kind(413, "The clips have too many frames", "Send a long clip in pieces that overlap a little."),
    "unsupported-media-type": Kind(415, "This Content-Type is not taken", "Use one of the types in `detail`."),
    "unknown-format": Kind(
        415, "The scan is in no format that is read, or not in the one it is called", "Name the file as what it is."
    ),
    "invalid-request": Kind(422, "A field is not what it should be", "`errors` points at the field."),
    "wrong-shape": Kind(
        422, "Points have the wrong shape", "Frames of joints of numbers; GET /joints lists the orders."
    ),
    "not-finite": Kind(
        422,
        "A coordinate is not a finite number",
        "Send null for a hand or a keypoint that was not seen, and no such points of a scan.",
    ),
    "out-of-range": Kind(
        422, "A number is out of range", "`detail` says the range; check `units`, or the size of the image."
    ),
    "too-few-frames": Kind(422, "Too few frames", "Send as many frames as `detail` wants, the newest last."),
    "gap-too-long": Kind(
        422,
        "A hand or a joint was not seen for too long",
        "Send what is seen now and was seen before.",
    ),
    "unknown-joints": Kind(422, "No such joint order", "GET /joints lists the orders."),
    "missing-joints": Kind(
        422, "The joint order lacks joints that the model wants", "Choose a model that takes a confidence."
    ),
    "degenerate-hand": Kind(
        422, "The points do not span a hand", "Wrist, index MCP and pinky MCP must not be in one line."
    ),
    "degenerate-scan": Kind(422, "The points span no surface", "Send a scan of a face."),
    "unclear-units": Kind(
        422, "The scan is of no face's size in any unit", "Say its `units`, or send the face without what is around it."
    ),
    "no-face": Kind(
        422, "No face was found on the scan", "Check `units`; a face is seen from the front, not half hidden."
    ),
    "folder-refused": Kind(422, "This folder cannot be a data set", "A folder of files under the allowed root."),
    "archive-refused": Kind(
        422, "This archive cannot be a data set", "A .zip of plain files; `detail` says what is not."
    ),
    "key-reused": Kind(422, "This Idempotency-Key is another request's", "Use a new key for a new request."),
    "internal": Kind(500, "The service failed", "The fault is ours; say the request id when you report it."),
    "overloaded": Kind(503, "The service is full", "Try again after the seconds in Retry-After."),
    "jobs-unavailable": Kind(503, "The job table cannot be used", "Try again; the log says what is wrong with it."),
    "versions-unavailable": Kind(
        503, "The trained versions cannot be reached", "Try again; what is served goes on. GET /models says more."
    ),
    "disk-full": Kind(507, "The server could not keep what was sent", "Tell the operator; the log says more."),
    "not-ready": Kind(503, "The service or this model is not ready", "GET /readyz says why."),
}
_BY_STATUS = {404: "not-found", 405: "method-not-allowed"}  # what the router itself raises


class PointedError(BaseModel):
    """One fault and where in the request it is."""

    pointer: str = Field(description="JSON pointer into the body, or the parameter's name after a ?", examples=["/fps"])
    detail: str


class ProblemDocument(BaseModel):
    """An RFC 9457 problem."""

    type: str = Field(examples=["/problems/wrong-shape"])
    title: str
    status: int
    detail: str = Field(description="what was wanted and what came")
    instance: str = Field(description="urn:chiron:request:<the answer's X-Request-ID>")
    errors: list[PointedError] = []


class QueueFull(Exception):
    """The queue would take longer than the deadline, or an item waited past it. `retry_after` is in whole seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.retry_after = math.ceil(min(5.0, max(1.0, wait_s) * random.uniform(1.0, 1.5)))


class Problem(Exception):
    """An answer that is an error: a key of KINDS, what was wanted and what came, and where."""

    def __init__(
        self, kind: str, detail: str, *, errors: Sequence[tuple[str, str]] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.errors, self.headers = kind, detail, errors, headers or {}

    @classmethod
    def at(cls, kind: str, pointer: str, detail: str) -> "Problem":
        """A problem with one fault, at `pointer`."""
        return cls(kind, f"{pointer or 'the body'}: {detail}", errors=[(pointer, detail)])

    @classmethod
    def of_fields(cls, faults: Sequence[Any], pointer: Callable[[tuple[int | str, ...]], str]) -> "Problem":
        """The problem invalid-request for what pydantic found wrong; `pointer` is of where it was."""
        told = [(pointer(fault["loc"]), str(fault["msg"])) for fault in faults]
        return cls("invalid-request", "; ".join(f"{at or 'the body'}: {text}" for at, text in told), errors=told)


def respond(problem: Problem, request_id: str) -> Response:
    """The problem as a response."""
    kind = KINDS[problem.kind]
    document = {
        "type": f"/problems/{problem.kind}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": f"urn:chiron:request:{request_id}",
        "errors": [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors],
    }
    headers = {"x-request-id": request_id, **problem.headers}
    return Response(orjson.dumps(document), kind.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI, raised: Mapping[type[Exception], str]) -> None:
    """Answer every error of `app` with a problem; `raised` maps the errors of other packages to kinds."""

    def handler(make: Callable[[Request, Any], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return respond(make(request, error), request.scope.get("request_id", "unknown"))

        return handle

    app.add_exception_handler(Problem, handler(lambda _, problem: problem))
    app.add_exception_handler(HTTPException, handler(_of_router))
    app.add_exception_handler(ClientDisconnect, handler(lambda *_: Problem("malformed-body", "the body broke off")))
    app.add_exception_handler(QueueFull, handler(_overloaded))
    app.add_exception_handler(RequestValidationError, handler(_of_parameters))
    app.add_exception_handler(Exception, handler(_unexpected))
    for error_type, kind in raised.items():
        app.add_exception_handler(error_type, handler(lambda _, error, kind=kind: Problem(kind, str(error))))


def _of_router(request: Request, error: HTTPException) -> Problem:
    kind = _BY_STATUS.get(error.status_code, "internal")
    return Problem(
        kind, f"{request.method} {request.url.path[:200]!r}: {KINDS[kind].remedy}", headers=dict(error.headers or {})
    )


def _of_parameters(_: Request, error: RequestValidationError) -> Problem:
    return Problem.of_fields(error.errors(), lambda where: f"?{where[-1]}")


def _overloaded(_: Request, error: QueueFull) -> Problem:
    return Problem("overloaded", str(error), headers={"retry-after": str(error.retry_after)})


def _unexpected(_: Request, error: Exception) -> Problem:
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem("internal", "an error that the service did not expect; it has been logged")


def documented(*kinds: str) -> dict[int | str, dict]:
    """OpenAPI's `responses` for the kinds that an operation may answer with."""
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {
            "description": "; ".join(f"`/problems/{name}`: {KINDS[name].title}" for name in names),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status, names in by_status.items()
    }
