"""GET /models, /joints and /landmarks: which models there are, an example input for each, and the orders of their points."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from models.contract.task import HandForecast
from models.skeletons import body_orders, hand
from models.skeletons.body_orders import BODIES
from models.skeletons.face import FACE68, FACE_REGIONS
from models.skeletons.hand import HANDS, carried_joints
from models.skeletons.skeleton import Skeleton
from service.http.openapi import BINARY
from service.http.problems import documented
from service.inference.describe import ModelInfo, ModelList, describe, describe_all
from service.inference.served import ServedModels
from service.tasks.endpoint import Example


class LandmarkOrder(BaseModel):
    """The landmarks of a face by name, in order; left and right are the subject's."""

    landmarks: list[str]
    regions: dict[str, list[int]]
    edges: list[tuple[int, int]] = Field(description="between consecutive landmarks of a region")


class JointOrder(BaseModel):
    """The joints of a hand or a body by name, in order; `own` is the skeleton of a hand forecaster that has its own."""

    of: Literal["hand", "body", "own"]
    aliases: list[str] = Field(description="other names of the order; case and punctuation do not matter")
    joints: list[str] = Field(description="in order; left and right of a body are the person's own")
    bones: list[tuple[int, int]]
    mirror: list[int] = Field(
        description="for each joint, the joint that a mirror maps it to; a hand's joints map to the other hand's"
    )
    carried: list[str] = Field(description="joints of a hand that are not forecast: they move rigidly with the palm")


def router(models: ServedModels, examples: Mapping[str, Example], kinds: Sequence[Sequence[str]]) -> APIRouter:
    """Return the routes over `models`; `examples` maps each kind of task to its example, and `kinds` are those of each endpoint."""
    routes = APIRouter(tags=["models"])

    @routes.get("/models", response_model=ModelList)
    async def list_models() -> ModelList:
        """List every model with its versions, and the bundles that were refused with the reason."""
        return ModelList(defaults=models.defaults(kinds), models=await asyncio.to_thread(describe_all, models))

    @routes.get("/models/{name}", response_model=ModelInfo, responses=documented("unknown-model"))
    async def get_model(name: str) -> ModelInfo:
        """Describe one model: task, symmetries, licence, sources, measured errors, versions and execution provider."""
        return await asyncio.to_thread(describe, models, name)

    binary = {example.media_type: BINARY for example in examples.values() if example.schema is None}

    @routes.get(
        "/models/{name}/example",
        response_model=dict[str, Any],
        responses={200: {"content": binary}, **documented("unknown-model", "not-ready")},
    )
    async def get_model_example(name: str) -> Any:
        """Return an input to try the model with: a request body for the endpoint of its kind of task."""
        model = models.serving(name)
        example = examples[model.kind]
        body = await asyncio.to_thread(example.body, model.bundle)
        return body if example.schema is not None else Response(body, media_type=example.media_type)

    @routes.get("/joints", response_model=dict[str, JointOrder])
    async def list_joint_orders() -> dict[str, JointOrder]:
        """List the joint orders of a hand and of a body, and the skeletons of models that have their own, with bones and mirror images."""
        hands = {
            name: _joint_order(order, "hand", hand.ALIASES, list(carried_joints(order)))
            for name, order in HANDS.items()
        }
        tasks = [model.bundle.meta.task for model in models.snapshot.models.values()]
        own = {
            task.order: _joint_order(task.layout, "own", {}, [])
            for task in tasks
            if isinstance(task, HandForecast) and task.skeleton is not None
        }
        bodies = {name: _joint_order(order, "body", body_orders.ALIASES, []) for name, order in BODIES.items()}
        return hands | bodies | own

    @routes.get("/landmarks", response_model=dict[str, LandmarkOrder])
    async def list_landmark_orders() -> dict[str, LandmarkOrder]:
        """List the landmark orders of a face, with regions and edges."""
        regions = {region: list(indices) for region, indices in FACE_REGIONS.items()}
        return {FACE68.name: LandmarkOrder(landmarks=list(FACE68.joints), regions=regions, edges=list(FACE68.bones))}

    return routes


def _joint_order(
    order: Skeleton, of: Literal["hand", "body", "own"], aliases: Mapping[str, str], carried: list[str]
) -> JointOrder:
    others = [alias for alias, name in aliases.items() if name == order.name]
    joints, bones, mirror = list(order.joints), list(order.bones), list(order.mirror)
    return JointOrder(of=of, aliases=others, joints=joints, bones=bones, mirror=mirror, carried=carried)
