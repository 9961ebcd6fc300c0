"""What every request with a body has: a media type, bytes up to a limit, options that are checked, an answer's form."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request

from service.http.problems import Problem


def content_type(request: Request, types: Sequence[str]) -> str:
    """The body's media type, one of `types`. Raises the problem unsupported-media-type."""
    came = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if came not in types:
        raise Problem("unsupported-media-type", f"wanted {', '.join(types)}; came {came[:80]!r}")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem("unsupported-media-type", f"bodies are taken as they are; came Content-Encoding {coding[:80]!r}")
    return came


def accepted(request: Request, types: Sequence[str]) -> str:
    """The answer's media type: what Accept likes best, the first where it does not care. Raises not-acceptable."""
    header = ",".join(request.headers.getlist("accept")) or "*/*"
    liking: dict[str, tuple[int, float]] = dict.fromkeys(types, (-1, 0.0))  # how exactly a range names it, and q
    for part in header.split(","):
        range_, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        q = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 0.0
        for type_ in types:
            exactness = (range_ == "*/*", range_ == f"{type_.partition('/')[0]}/*", range_ == type_)
            if any(exactness):
                liking[type_] = max(liking[type_], (exactness.index(True), q))
    best = max(types, key=lambda type_: liking[type_][1])
    if liking[best][1] <= 0:
        raise Problem("not-acceptable", f"offered {', '.join(types)}; Accept wants {header[:80]!r}")
    return best


async def read_body(request: Request, limit: int, take: Callable[[int], None] | None = None) -> bytearray:
    """The whole body. Raises the problem body-too-large once more than `limit` bytes are announced or have come.

    `take` is told how many bytes more are kept, before they are.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise Problem("body-too-large", f"at most {limit} bytes are taken; {announced} are announced")
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise Problem("body-too-large", f"at most {limit} bytes are taken; more came")
        if take:
            take(len(chunk))
        body += chunk
    return body


def typed(decode: Callable[..., Any], value: Any, *, mark: str = "/", **options: Any) -> Any:
    """decode(value), with msgspec's complaints as problems; `mark` is what pointers begin with, ? for parameters."""
    try:
        return decode(value, **options)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        pointer = mark + "/".join(re.findall(r"\w+|\.\.\.", path)) if path else ""
        raise Problem.at("invalid-request", pointer, message[:200]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed-body", str(error)) from None


JSON, MSGPACK, NPY = "application/json", "application/msgpack", "application/x-npy"


TYPES = (JSON, MSGPACK, NPY)
