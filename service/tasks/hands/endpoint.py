"""POST /forecast/hands: a request of any form through the model's batcher to an answer of any form."""

from fastapi import APIRouter, Request, Response

from models.contract.task import HandForecast
from service.http import negotiation
from service.http.limits import ThreadPool
from service.http.negotiation import accepted, content_type, read_body
from service.http.openapi import BINARY, operation
from service.http.problems import documented
from service.inference.served import ServedModels
from service.settings import Settings
from service.tasks.endpoint import DECODE_ON_LOOP, Example
from service.tasks.hands import examples as hand_examples
from service.tasks.hands import prepare as hands
from service.tasks.hands import wire as hands_wire
from service.tasks.hands.schemas import HandsAnswer, HandsRequest
from service.telemetry.metrics import Metrics

PATH = "/forecast/hands"
OPTIONS = ("fps", "units", "joints", "model", "hand")
ERRORS = (
    "malformed-body", "unknown-model", "not-acceptable", "body-too-large", "unsupported-media-type", "invalid-request",
    "wrong-shape", "not-finite", "out-of-range", "too-few-frames", "gap-too-long", "unknown-joints", "degenerate-hand",
    "internal", "overloaded", "not-ready",
)  # fmt: skip

EXAMPLES = {"hand-forecast": Example(hand_examples.clip_of_bundle, schema=HandsRequest)}


def router(registry: ServedModels, metrics: Metrics, threads: ThreadPool, settings: Settings) -> APIRouter:
    """The route, over these models; `threads` are for large bodies."""
    routes = APIRouter()

    @routes.post(
        PATH,
        response_model=HandsAnswer,
        responses={200: {"content": {negotiation.MSGPACK: BINARY, negotiation.NPY: BINARY}}, **documented(*ERRORS)},
        openapi_extra=operation(HandsRequest, hand_examples.hands(), OPTIONS),
        tags=["forecast"],
    )
    async def forecast_hands(request: Request) -> Response:
        """The next moments of one hand or two, from the last ones, in the caller's units, joint order, rate and form.

        Coordinates may be in any right-handed frame. Frames in which a hand was not seen are interpolated if they are
        few. As MessagePack, arrays may be raw little-endian floats with a `shape`; as .npy the other fields are
        parameters of the query. Accept chooses the answer's form.
        """
        wanted, media = accepted(request, negotiation.TYPES), content_type(request, negotiation.TYPES)
        body = bytes(await read_body(request, settings.max_body_bytes))
        with metrics.stage(PATH, "decode"):
            arguments = (body, media, dict(request.query_params))
            if len(body) > DECODE_ON_LOOP:
                asked = await threads.run(hands_wire.decode_hands, *arguments)
            else:
                asked = hands_wire.decode_hands(*arguments)
        model = registry.get(asked.options.model, "hand-forecast", asked.pointer("model"))
        task = model.bundle.meta.task
        assert isinstance(task, HandForecast), "the registry gives models of the kind that it is asked for"
        with metrics.stage(PATH, "prepare"):
            question = hands.prepare(asked, task, settings.max_gap_s, model.name)
        output = await model.batcher.submit(question.tensors)
        with metrics.stage(PATH, "encode"):
            answer = {
                "model": {"name": model.name, "version": model.version},
                **hands.answer(question, output["future"], task),
                "expected_error": model.expected_error,
            }
            content, headers = hands_wire.encode(answer, wanted, asked.dtype)
        return Response(content, headers=headers, media_type=wanted)

    return routes
