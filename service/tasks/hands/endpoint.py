"""POST /forecast/hands and `chiron forecast --of hands`: the next moments of one hand or two."""

from pathlib import Path

from models.contract.bundle import BundleMeta
from models.motion.hands import GapTooLong, TooFewFrames
from models.pictures.hands import draw_hands
from service.http.negotiation import JSON, NPY, NPZ, TYPES
from service.http.openapi import operation
from service.settings import Settings
from service.tasks.arrays import FRAMES_ON_LOOP, memory_of_arrays
from service.tasks.endpoint import DECODE_ON_LOOP, Encoded, Endpoint, Example, Limits
from service.tasks.fields import with_model
from service.tasks.hands import examples, wire
from service.tasks.hands.answers import document, steps
from service.tasks.hands.prepare import prepare
from service.tasks.hands.prepared import HandsForecast, PreparedHands
from service.tasks.hands.schemas import HandsAnswer, HandsRequest
from service.tasks.hands.wire import DecodedHands

DESCRIPTION = """Forecast the next moments of one hand or two from the last ones.

The forecast has the caller's unit, joint order, rate and form. Coordinates may be in any right-handed frame. Short gaps, in
which a hand was not seen, are interpolated. In MessagePack, arrays may be raw little-endian floats with a `shape`. With
.npy the other fields are query parameters. The Accept header chooses the form of the answer.

A tracker that forecasts every frame sends each of them once to the WebSocket `/forecast/hands/stream`.
"""
ERRORS = (
    "malformed-body", "unknown-model", "not-acceptable", "request-timeout", "body-too-large", "too-many-frames", "unsupported-media-type",
    "invalid-request", "wrong-shape", "not-finite", "out-of-range", "too-few-frames", "gap-too-long", "unknown-joints", "degenerate-hand",
    "implausible", "internal", "overloaded", "not-ready",
)  # fmt: skip
FILES = {".json": JSON, ".npz": NPZ, ".npy": NPY}


def limits(settings: Settings) -> Limits:
    """Return the limits of a request under the settings."""
    return Limits(settings.max_body_bytes, gap_s=settings.max_gap_s)


def encode(forecast: HandsForecast, model: BundleMeta, media: str) -> Encoded:
    """Return the answer in the form of a media type."""
    return wire.encode(with_model(document(forecast), model), media, forecast.prepared.request.dtype)


def draw(forecast: HandsForecast, model: BundleMeta, path: Path, title: str) -> None:
    """Write a picture: a strip of moments, past and forecast."""
    prepared, future = forecast.prepared, forecast.modes[0]
    past = prepared.past.joints
    draw_hands(
        past.reshape(len(past), -1, 3),
        None,
        future.reshape(len(future), -1, 3),
        prepared.task.fps,
        path,
        title,
        order=prepared.task.layout,
    )


HANDS: Endpoint[DecodedHands, PreparedHands, HandsForecast] = Endpoint(
    path="/forecast/hands",
    kind="hand-forecast",
    tag="forecast",
    description=DESCRIPTION,
    accepts=TYPES,
    offers=TYPES,
    with_query=(NPY,),
    limits=limits,
    memory=memory_of_arrays,
    on_loop_bytes=DECODE_ON_LOOP,
    is_short=lambda request: request.frames <= FRAMES_ON_LOOP,
    errors=ERRORS,
    raised={TooFewFrames: "too-few-frames", GapTooLong: "gap-too-long"},
    answer=HandsAnswer,
    operation=lambda: operation(HandsRequest, examples.requests(), wire.OPTIONS),
    examples=examples.requests,
    example=Example(examples.clip_of_bundle, schema=HandsRequest),
    decode=wire.decode,
    prepare=prepare,
    steps=steps,
    encode=encode,
    reads=lambda: FILES,
    writes=FILES,
    draw=draw,
    warnings=lambda forecast: forecast.prepared.warnings,
)
