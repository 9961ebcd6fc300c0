"""RFC 9457 problem+json, the form of every error response. No other module knows HTTP statuses.

Other modules raise `Problem` with the name of a kind. Packages that know no requests raise errors of their own, which a
table given to `install` maps to kinds. A problem's `type` is the path /problems/<kind>, which explains it. `errors` are
JSON pointers (RFC 6901) into the request. The request's arrays are never echoed.
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
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from models.skeletons.faults import faults_of

MEDIA_TYPE = "application/problem+json"
ACCEPTED, NO_CONTENT, SWITCHED = 202, 204, 101  # the successes that are not 200
GOING_AWAY, POLICY_VIOLATION = 1001, 1008  # codes that close a WebSocket: the server stops; the client is at fault
CLOSE_CODES = {"body-too-large": 1009, "internal": 1011, "overloaded": 1013, "not-ready": 1013}  # of problems
MAX_REASON_BYTES = 123
log = logging.getLogger("chiron.errors")


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status, a title, and what the caller can do."""

    status: int
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "malformed-body": Kind(400, "The body cannot be parsed", "Send well-formed JSON, MessagePack, .npy or a form."),
    "malformed-http": Kind(400, "This is no request in HTTP/1.1", "Send HTTP/1.1, or ask the proxy in front to."),
    "unreadable-scan": Kind(400, "The scan's file cannot be read", "Send the complete file, as the program wrote it."),
    "unauthorized": Kind(401, "A valid API key is required", "Send Authorization: Bearer KEY or X-API-Key: KEY."),
    "forbidden": Kind(403, "This request is not allowed", "`detail` states what is; the operator can allow more."),
    "not-found": Kind(404, "Nothing is served at this path", "GET /openapi.json lists every path."),
    "unknown-model": Kind(404, "There is no such model", "GET /models lists the names."),
    "unknown-job": Kind(404, "There is no such job", "GET /jobs lists them."),
    "unknown-artifact": Kind(404, "The job has no such file", "GET /jobs/{id}/artifacts lists its files."),
    "unknown-dataset": Kind(404, "There is no such data set", "GET /datasets lists them."),
    "unknown-version": Kind(404, "The model has no such version", "GET /models/{name} lists them."),
    "method-not-allowed": Kind(405, "This path does not support the method", "The Allow header lists the methods."),
    "not-acceptable": Kind(406, "No type in Accept is available", "Accept one of the types in `detail`."),
    "request-timeout": Kind(408, "The body did not arrive in time", "Send it without pauses, or make it smaller."),
    "wrong-state": Kind(409, "The present state does not allow this", "`detail` names the state."),
    "dataset-exists": Kind(409, "A data set of this name exists", "Choose another name: a data set never changes."),
    "dataset-not-ready": Kind(409, "The data set has not been read yet", "GET /datasets/{name} says why."),
    "bundle-refused": Kind(409, "This version cannot be served", "`detail` says why; the version before still serves."),
    "body-too-large": Kind(
        413,
        "The body is too large",
        "Send fewer frames or points, or use a binary form; the operator can raise the setting in `detail`.",
    ),
    "scan-too-large": Kind(413, "The scan has too many points", "Thin the cloud or simplify the mesh."),
    "too-many-frames": Kind(413, "The clips have too many frames", "Send a long clip in overlapping pieces."),
    "too-many-items": Kind(413, "The batch has too many items", "Send them in several requests."),
    "unsupported-media-type": Kind(415, "The Content-Type is not supported", "Use one of the types in `detail`."),
    "unknown-format": Kind(
        415, "The scan's format is unknown, or differs from its name", "Use the suffix of the file's actual format."
    ),
    "range-not-satisfiable": Kind(416, "The Range lies outside the file", "Content-Range states the file's size."),
    "invalid-request": Kind(422, "A field is invalid", "`errors` points at the field."),
    "wrong-shape": Kind(
        422, "Points have the wrong shape", "Send frames of joints of numbers; GET /joints lists the orders."
    ),
    "not-finite": Kind(
        422,
        "A coordinate is not a finite number",
        "Send null for a hand or a keypoint that was not seen; remove such points from a scan.",
    ),
    "out-of-range": Kind(
        422, "A number is out of range", "`detail` states the range; check `units`, or the size of the image."
    ),
    "too-few-frames": Kind(422, "There are too few frames", "Send as many as `detail` states, the newest last."),
    "gap-too-long": Kind(
        422, "A hand or a joint was not seen for too long", "Send hands that are seen now and were seen before."
    ),
    "unknown-joints": Kind(422, "There is no such joint order", "GET /joints lists the orders."),
    "missing-joints": Kind(
        422, "The joint order lacks joints that the model needs", "Choose a model that takes confidences."
    ),
    "degenerate-hand": Kind(
        422, "The points do not span a hand", "Wrist, index MCP and pinky MCP must not lie on one line."
    ),
    "implausible": Kind(
        422,
        "No hand, face or person has this size or shape",
        "`detail` says the size that was found; check `units` and `joints`.",
    ),
    "degenerate-scan": Kind(422, "The points span no surface", "Send a scan of a face."),
    "unclear-units": Kind(
        422, "The scan's unit cannot be inferred", "Set `units`, or send the face without its surroundings."
    ),
    "no-face": Kind(
        422, "No face was found on the scan", "Check `units`; the face must be complete and seen from the front."
    ),
    "folder-refused": Kind(422, "This folder cannot be a data set", "Name a folder of files below the allowed root."),
    "archive-refused": Kind(
        422, "This archive cannot be a data set", "Send a .zip of plain files; `detail` names the other entry."
    ),
    "key-reused": Kind(422, "This Idempotency-Key belongs to another request", "Use a new key for a new request."),
    "too-many-requests": Kind(
        429,
        "The caller has sent too many requests",
        "Wait the seconds in Retry-After; RateLimit-Limit states the limit.",
    ),
    "head-too-large": Kind(431, "The headers are too large", "Send fewer or shorter headers."),
    "internal": Kind(500, "The service failed", "The fault is ours; report it with the request id."),
    "overloaded": Kind(503, "The service is full", "Try again after the seconds in Retry-After."),
    "jobs-unavailable": Kind(503, "The job table is unavailable", "Try again; the log says what is wrong with it."),
    "versions-unavailable": Kind(
        503, "The trained versions cannot be reached", "Try again; the present versions serve. GET /models says more."
    ),
    "disk-full": Kind(507, "The server cannot store the request", "Tell the operator; the log says more."),
    "not-ready": Kind(503, "The service or this model is not ready", "GET /readyz says why."),
}
_BY_STATUS = {400: "invalid-request", 404: "not-found", 405: "method-not-allowed"}  # raised by the framework itself


class PointedError(BaseModel):
    """A fault and its place in the request."""

    pointer: str = Field(description="JSON pointer into the body, or the parameter's name after a ?", examples=["/fps"])
    detail: str


class ProblemDocument(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(examples=["/problems/wrong-shape"])
    title: str
    status: int
    detail: str = Field(description="what was expected, what came, and what to do")
    instance: str = Field(description="urn:chiron:request:<the answer's X-Request-ID>")
    errors: list[PointedError] = []


class QueueFull(Exception):
    """A queue that would take longer than the deadline, or an item that waited past it; `retry_after` is in whole seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.retry_after = math.ceil(min(5.0, max(1.0, wait_s) * random.uniform(1.0, 1.5)))


class Problem(Exception):
    """An error answer: a key of KINDS, what was expected and what came, and where in the request."""

    def __init__(
        self, kind: str, detail: str, *, errors: Sequence[tuple[str, str]] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.errors, self.headers = kind, detail, errors, headers or {}

    def __reduce__(self) -> tuple[Callable[..., "Problem"], tuple[Any, ...]]:
        """Return how to make the problem again in another process."""
        return _problem, (self.kind, self.detail, self.errors, self.headers)

    @classmethod
    def at(cls, kind: str, pointer: str, detail: str) -> "Problem":
        """Return a problem with one fault, at `pointer`."""
        return cls(kind, f"{pointer or 'the body'}: {detail}", errors=[(pointer, detail)])

    @classmethod
    def of_fields(cls, faults: Sequence[Any], pointer: Callable[[tuple[int | str, ...]], str]) -> "Problem":
        """Return the problem invalid-request for pydantic's faults; `pointer` turns a location into a JSON pointer."""
        errors = [(pointer(place), text) for place, text in faults_of(faults)]
        return cls("invalid-request", "; ".join(f"{at or 'the body'}: {text}" for at, text in errors), errors=errors)


def _problem(kind: str, detail: str, errors: Sequence[tuple[str, str]], headers: dict[str, str]) -> Problem:
    return Problem(kind, detail, errors=errors, headers=headers)


def describe(problem: Problem, scope: Scope) -> dict[str, Any]:
    """Return the problem document about a request or a connection of an ASGI scope."""
    kind = KINDS[problem.kind]
    open_inference = {"error": problem.detail} if _part(scope) == "v2" else {}  # the only field that its clients read
    return {
        **open_inference,
        "type": f"{scope.get('root_path', '')}/problems/{problem.kind}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": f"urn:chiron:request:{scope.get('request_id', 'unknown')}",
        "errors": [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors],
    }


def _part(scope: Scope) -> str:
    """Return the first part of a path without the prefix of a proxy."""
    return scope.get("path", "").removeprefix(scope.get("root_path", "")).strip("/").partition("/")[0]


def respond(problem: Problem, scope: Scope) -> Response:
    """Return the problem as the response to the request of an ASGI scope; it refuses a WebSocket before that is accepted."""
    document = describe(problem, scope)
    headers = {"x-request-id": scope.get("request_id", "unknown"), **problem.headers}
    return Response(orjson.dumps(document), document["status"], headers, media_type=MEDIA_TYPE)


def closing(problem: Problem) -> Message:
    """Return the message that closes a WebSocket because of a problem; RFC 6455 has the codes (7.4) and the limit of a reason (5.5)."""
    reason = f"{problem.kind}: {problem.detail}".encode()[:MAX_REASON_BYTES].decode(errors="ignore")
    return {"type": "websocket.close", "code": CLOSE_CODES.get(problem.kind, POLICY_VIOLATION), "reason": reason}


class FileDownload(FileResponse):
    """A file response, of the whole file or of a Range, that answers a bad Range with a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def raise_or_send(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                received = Headers(scope=scope).get("range", "")[:80]
                detail = (
                    f"Range: expected bytes=FIRST-LAST within {self.headers['content-length']} bytes, got {received!r}"
                )
                if message["status"] == 400:
                    raise Problem("invalid-request", detail)
                size = Headers(raw=message["headers"])["content-range"]
                raise Problem("range-not-satisfiable", detail, headers={"content-range": size})
            await send(message)

        await super().__call__(scope, receive, raise_or_send)


def install(app: FastAPI, raised: Mapping[type[Exception], str]) -> None:
    """Answer every error of `app` with a problem; `raised` maps the errors of other packages to kinds."""

    def handler(make: Callable[[Request, Any], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return respond(make(request, error), request.scope)

        return handle

    app.add_exception_handler(Problem, handler(lambda _, problem: problem))
    app.add_exception_handler(HTTPException, handler(_of_router))
    app.add_exception_handler(
        ClientDisconnect,
        handler(lambda *_: Problem("malformed-body", "the client disconnected before the end of the body")),
    )
    app.add_exception_handler(QueueFull, handler(lambda _, error: overloaded(error)))
    app.add_exception_handler(RequestValidationError, handler(_of_parameters))
    app.add_exception_handler(Exception, handler(lambda _, error: unexpected(error)))
    for error_type, kind in raised.items():
        app.add_exception_handler(error_type, handler(lambda _, error, kind=kind: Problem(kind, str(error))))


def _of_router(request: Request, error: HTTPException) -> Problem:
    kind = _BY_STATUS.get(error.status_code, "internal")
    return Problem(
        kind, f"{request.method} {request.url.path[:200]!r}: {KINDS[kind].remedy}", headers=dict(error.headers or {})
    )


def _of_parameters(_: Request, error: RequestValidationError) -> Problem:
    return Problem.of_fields(error.errors(), lambda where: f"?{where[-1]}")


def overloaded(error: QueueFull) -> Problem:
    """Return the problem of a queue that is full."""
    return Problem("overloaded", str(error), headers={"retry-after": str(error.retry_after)})


def unexpected(error: Exception) -> Problem:
    """Log an error that nobody expected, and return the problem that does not show it."""
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem("internal", "the service met an unexpected error, which was logged")


def documented(*kinds: str) -> dict[int | str, dict]:
    """Return OpenAPI's `responses` for the kinds of problem that an operation may answer with."""
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
