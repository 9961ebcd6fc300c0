"""The parts that every request with a body shares: its media type, its bytes up to a limit, and the form of the answer."""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect, Request

from models.contract.gzipped import MAGIC, BadGzip, Inflater
from service.http.decoding import invalid, malformed
from service.http.headers import header
from service.http.problems import Problem

JSON, MSGPACK = "application/json", "application/msgpack"
NPY, NPZ = "application/x-npy", "application/x-npz"
TYPES = (JSON, MSGPACK, NPY)
IDENTITY, GZIP = "identity", "gzip"  # content codings


def content_type(request: Request, types: Sequence[str]) -> str:
    """Return the body's media type, one of `types`; raise the problem unsupported-media-type."""
    media = header(request.scope, b"content-type").partition(";")[0].strip().lower()
    if media not in types:
        raise Problem("unsupported-media-type", f"Content-Type: expected {', '.join(types)}; got {media[:80]!r}")
    return media


def content_coding(request: Request, codings: Sequence[str] = (IDENTITY,)) -> str:
    """Return the body's content coding, one of `codings`; raise the problem unsupported-media-type."""
    coding = header(request.scope, b"content-encoding", IDENTITY).strip().lower().removeprefix("x-")
    if coding not in codings:
        detail = f"Content-Encoding: expected {' or '.join(codings)}, got {coding[:80]!r}"
        raise Problem("unsupported-media-type", detail, headers={"accept-encoding": ", ".join(codings)})
    return coding


def accepted(request: Request, types: Sequence[str]) -> str:
    """Return the type in `types` that Accept prefers, the first of equals; raise the problem not-acceptable."""
    ranges = [value for name, value in request.scope["headers"] if name == b"accept"]
    return _preferred(b",".join(ranges).decode("latin-1") or "*/*", tuple(types))


@lru_cache(64)  # a client sends the same header with each request
def _preferred(accept: str, types: tuple[str, ...]) -> str:
    preference: dict[str, tuple[int, float]] = dict.fromkeys(types, (-1, 0.0))  # how exactly a range names it, and q
    for part in accept.split(","):
        range_, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        q = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 0.0
        for type_ in types:
            exactness = (range_ == "*/*", range_ == f"{type_.partition('/')[0]}/*", range_ == type_)
            if any(exactness):
                preference[type_] = max(preference[type_], (exactness.index(True), q))
    best = max(types, key=lambda type_: preference[type_][1])
    if preference[best][1] <= 0:
        raise Problem("not-acceptable", f"Accept: expected {', '.join(types)}; got {accept[:80]!r}")
    return best


def query_options(request: Request, media: str, *, allowed: bool) -> dict[str, str]:
    """Return the parameters of the query by name; raise invalid-request for a repeated one, or for any if not `allowed`."""
    options: dict[str, str] = {}
    if not request.scope["query_string"]:
        return options
    for name, value in request.query_params.multi_items():
        pointer = f"?{name[:80]}"
        if not allowed:
            raise Problem.at("invalid-request", pointer, f"the options of {media} requests are fields of the body")
        if name in options:
            raise Problem.at("invalid-request", pointer, "expected one value, got several; send it once")
        options[name] = value
    return options


def announced_bytes(request: Request, limit: int, setting: str = "") -> int | None:
    """Return the size that Content-Length announces, if there is one; raise body-too-large if it is beyond the limit.

    `setting` is the name of the setting that sets the limit, for the message.
    """
    announced = header(request.scope, b"content-length")
    if not announced.isdecimal():
        return None
    if int(announced) > limit:
        raise Problem("body-too-large", f"{_at_most(limit, setting)}; Content-Length announces {announced}")
    return int(announced)


def _at_most(limit: int, setting: str) -> str:
    """Return the beginning of a message about a limit on bytes."""
    return f"expected at most {limit} bytes" + (f" ({setting})" if setting else "")


class Patience(NamedTuple):
    """The time that a body may take to arrive, in seconds: the longest pause between two parts, and the whole."""

    pause_s: float = 10.0
    whole_s: float = 120.0


async def read_body(
    request: Request,
    limit: int,
    take: Callable[[int], None] | None = None,
    patience: Patience | None = None,
    *,
    setting: str = "",
    compressed: bool | None = False,
) -> bytes:
    """Return the whole body. Raises body-too-large beyond `limit` bytes, and request-timeout where it arrives too slowly.

    A body that is `compressed` with gzip is inflated as it arrives, and the limit is on inflated bytes; None leaves it to the first
    bytes. Raises malformed-body if it is not gzip. `take` is called with the size of each piece before it is kept. `setting` is the name
    of the setting that sets the limit.
    """
    announced_bytes(request, limit, setting)
    patience, loop = patience or Patience(), asyncio.get_running_loop()
    body: bytes | bytearray = b""
    end = loop.time() + patience.whole_s
    inflater = Inflater() if compressed else None
    try:
        async with asyncio.timeout_at(min(end, loop.time() + patience.pause_s)) as timer:
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk, more = message.get("body", b""), message.get("more_body", False)
                if chunk and compressed is None:
                    compressed = chunk.startswith(MAGIC)
                    inflater = Inflater() if compressed else None
                for piece in inflater.feed(chunk) if inflater and chunk else (chunk,):
                    if len(body) + len(piece) > limit:
                        inflated = " once inflated" if inflater else ""
                        raise Problem("body-too-large", f"{_at_most(limit, setting)}{inflated}; got more")
                    if take:
                        take(len(piece))
                    if body:
                        body = bytearray(body) if isinstance(body, bytes) else body
                        body += piece
                    else:
                        body = piece  # most bodies come in one piece, which needs no copy
                    if inflater:
                        await asyncio.sleep(0)  # a small chunk may hold many pieces
                if more and chunk:
                    timer.reschedule(min(end, loop.time() + patience.pause_s))
        if inflater:
            inflater.finish()
    except TimeoutError:
        detail = f"expected a body within {patience.whole_s:g} s and without pauses of {patience.pause_s:g} s"
        message = f"{detail}, got {len(body)} bytes"
        raise Problem("request-timeout", message, headers={"connection": "close"}) from None
    except BadGzip as error:
        raise Problem("malformed-body", str(error)) from None
    return bytes(body)


def typed(decode: Callable[..., Any], value: Any, *, mark: str = "/", **options: Any) -> Any:
    """Return decode(value, **options), with msgspec's errors as problems.

    Pointers begin with `mark`: / in a body, ? for parameters of the query.
    """
    try:
        return decode(value, **options)
    except msgspec.ValidationError as error:
        kind = options.get("type") or getattr(getattr(decode, "__self__", None), "type", None)
        raise invalid(error, decode, value, kind, mark) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(value, error) from None
