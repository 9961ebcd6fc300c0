"""The endpoints on bodies as values: lifting, forecasting poses, recognising actions."""

from functools import partial

from service.http.negotiation import JSON, MSGPACK, NPY, NPZ, TYPES
from service.http.openapi import operation
from service.settings import Settings
from service.tasks.arrays import FRAMES_ON_LOOP, memory_of_arrays
from service.tasks.bodies import actions, examples, forecast, lift, pictures, wire
from service.tasks.bodies.actions import ActionClip
from service.tasks.bodies.clips import ComputedClips, PreparedClips, steps, warnings_of
from service.tasks.bodies.forecast import ForecastClip
from service.tasks.bodies.lift import LiftClip
from service.tasks.bodies.schemas import (
    ActionsAnswer,
    ActionsOptions,
    ActionsRequest,
    LiftAnswer,
    LiftOptions,
    LiftRequest,
    PosesAnswer,
    PosesOptions,
    PosesRequest,
)
from service.tasks.bodies.wire import DecodedClips
from service.tasks.endpoint import DECODE_ON_LOOP, Endpoint, Example, Limits

ERRORS = (
    "malformed-body", "unknown-model", "not-acceptable", "request-timeout", "body-too-large", "too-many-frames", "unsupported-media-type",
    "invalid-request", "wrong-shape", "not-finite", "out-of-range", "too-few-frames", "gap-too-long", "unknown-joints",
    "missing-joints", "implausible", "internal", "overloaded", "not-ready",
)  # fmt: skip
OPENPOSE_END = "_keypoints.json"
FILES = {".json": JSON, ".npz": NPZ, ".npy": NPY}


def is_short(request: DecodedClips) -> bool:
    """Return whether a request takes the event loop a few milliseconds."""
    return request.frames <= FRAMES_ON_LOOP


def limits(settings: Settings) -> Limits:
    """Return the limits of a request under the settings."""
    return Limits(settings.max_body_bytes, gap_s=settings.max_gap_s)


LIFT: Endpoint[DecodedClips[LiftOptions], PreparedClips[LiftClip], ComputedClips[LiftClip]] = Endpoint(
    path="/poses/lift",
    kind="pose-lift",
    tag="poses",
    description="""Lift a person's 2D keypoints to a 3D pose for every frame, in metres from the pelvis, in the camera's axes.

    Keypoints are in pixels of an `image`, in any joint order and rate. The poses are in the model's joint order, at the
    request's frames. In MessagePack, arrays may be raw little-endian floats with a `shape`. With .npy, and with a detector's own
    JSON, the other fields are query parameters. The Accept header chooses the form of the answer.
    """,
    accepts=TYPES,
    offers=TYPES,
    with_query=(NPY, JSON),
    limits=limits,
    memory=memory_of_arrays,
    on_loop_bytes=DECODE_ON_LOOP,
    is_short=is_short,
    errors=ERRORS,
    raised={},
    answer=LiftAnswer,
    operation=lambda: operation(LiftRequest, examples.lift(), LiftOptions.__struct_fields__, (NPY, JSON)),
    examples=examples.lift,
    example=Example(examples.body_of_bundle, schema=LiftRequest),
    decode=partial(wire.decode, wire.LIFT),
    prepare=lift.prepare,
    steps=steps,
    encode=lift.encode,
    reads=lambda: FILES,
    writes=FILES,
    warnings=warnings_of,
    one_a_frame=OPENPOSE_END,
    draw=pictures.draw_lift,
)
POSES: Endpoint[DecodedClips[PosesOptions], PreparedClips[ForecastClip], ComputedClips[ForecastClip]] = Endpoint(
    path="/forecast/poses",
    kind="pose-forecast",
    tag="forecast",
    description="""Forecast the next 2D poses of a person from the last ones, in the caller's unit, joint order, rate and form.

    Short gaps in the keypoints are interpolated. Joints that the model does not know are null in the answer. In
    MessagePack, arrays may be raw little-endian floats with a `shape`. With .npy, and with a detector's own JSON, the other
    fields are query parameters. The Accept header chooses the form of the answer.
    """,
    accepts=TYPES,
    offers=TYPES,
    with_query=(NPY, JSON),
    limits=limits,
    memory=memory_of_arrays,
    on_loop_bytes=DECODE_ON_LOOP,
    is_short=is_short,
    errors=ERRORS,
    raised={},
    answer=PosesAnswer,
    operation=lambda: operation(PosesRequest, examples.poses(), PosesOptions.__struct_fields__, (NPY, JSON)),
    examples=examples.poses,
    example=Example(examples.body_of_bundle, schema=PosesRequest),
    decode=partial(wire.decode, wire.POSES),
    prepare=forecast.prepare,
    steps=steps,
    encode=forecast.encode,
    reads=lambda: FILES,
    writes=FILES,
    warnings=warnings_of,
    one_a_frame=OPENPOSE_END,
    draw=pictures.draw_forecast,
)
ACTIONS: Endpoint[DecodedClips[ActionsOptions], PreparedClips[ActionClip], ComputedClips[ActionClip]] = Endpoint(
    path="/actions/recognize",
    kind="action-recognition",
    tag="actions",
    description="""Recognise what a person does, or several together, in a clip of 2D or 3D keypoints: classes and probabilities.

    GET /models tells how many dimensions a model expects. In MessagePack, arrays may be raw little-endian floats with a
    `shape`. With .npy, and with a detector's own JSON, the other fields are query parameters.
    """,
    accepts=TYPES,
    offers=(JSON, MSGPACK),
    with_query=(NPY, JSON),
    limits=limits,
    memory=memory_of_arrays,
    on_loop_bytes=DECODE_ON_LOOP,
    is_short=is_short,
    errors=ERRORS,
    raised={},
    answer=ActionsAnswer,
    operation=lambda: operation(ActionsRequest, examples.actions(), ActionsOptions.__struct_fields__, (NPY, JSON)),
    examples=examples.actions,
    example=Example(examples.body_of_bundle, schema=ActionsRequest),
    decode=partial(wire.decode, wire.ACTIONS),
    prepare=actions.prepare,
    steps=steps,
    encode=actions.encode,
    reads=lambda: FILES,
    writes={".json": JSON, ".csv": actions.CSV},
    warnings=warnings_of,
    one_a_frame=OPENPOSE_END,
)
