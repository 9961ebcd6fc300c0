"""POST /toy/mean: the mean of four numbers."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson
from pydantic import BaseModel

from models.contract.bundle import BundleMeta
from service.http.negotiation import JSON, typed
from service.tasks.endpoint import Body, Encoded, Endpoint, Example, Limits, Steps


class ToyJson(msgspec.Struct, forbid_unknown_fields=True):
    """The request as JSON."""

    numbers: tuple[float, float, float, float]
    model: str | None = None

    def pointer(self, name: str) -> str:
        return f"/{name}"


class ToyRequest(BaseModel):
    """Four numbers."""

    numbers: tuple[float, float, float, float]
    model: str | None = None


class ToyAnswer(BaseModel):
    """Their mean."""

    mean: float


@dataclass(frozen=True)
class Prepared:
    """The network's input."""

    numbers: np.ndarray


def prepare(request: ToyJson, model: BundleMeta, limits: Limits) -> Prepared:
    return Prepared(np.array(request.numbers, np.float32))


def steps(prepared: Prepared) -> Steps[float]:
    (output,) = yield [{"numbers": prepared.numbers}]
    return float(output["mean"][0])


def encode(mean: float, model: BundleMeta, media: str) -> Encoded:
    return Encoded(orjson.dumps({"mean": mean}), {})


def example(bundle: Any) -> dict[str, Any]:
    return {"numbers": [1, 2, 3, 4]}


TOY: Endpoint[ToyJson, Prepared, float] = Endpoint(
    path="/toy/mean",
    kind="toy-mean",
    tag="toy",
    description="Return the mean of four numbers.",
    accepts=(JSON,),
    offers=(JSON,),
    with_query=(),
    limits=lambda settings: Limits(settings.max_body_bytes),
    memory=lambda media: 24,
    on_loop_bytes=100_000,
    errors=("malformed-body", "unknown-model", "invalid-request", "internal", "overloaded", "not-ready"),
    raised={},
    answer=ToyAnswer,
    operation=lambda: {
        "requestBody": {"required": True, "content": {JSON: {"schema": ToyRequest.model_json_schema()}}}
    },
    examples=lambda: {"four": {"summary": "four numbers", "value": {"numbers": [1, 2, 3, 4]}}},
    example=Example(example, schema=ToyRequest),
    decode=lambda body: typed(msgspec.json.Decoder(ToyJson).decode, body.data),
    prepare=prepare,
    steps=steps,
    encode=encode,
    reads=lambda: {".json": JSON},
    writes={".json": JSON},
)
