"""Promoting a version of a model, and taking it back: every process swaps it in, warm, and no request fails for it."""

import asyncio

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.http.problems import NO_CONTENT, documented
from service.inference.served import ServedModels
from service.registry.versions import Current, UnknownVersion

ERRORS = ("unknown-version", "wrong-state", "bundle-refused", "versions-unavailable")


class Promotion(BaseModel):
    """Which version of a model is served from now on; other processes follow within a second or so."""

    name: str
    version: str
    before: str | None = Field(description="what a rollback would bring back")


def router(registry: ServedModels) -> APIRouter:
    """The routes, over these models."""
    routes = APIRouter(tags=["models"])

    @routes.post("/models/{name}/versions/{version}/promote", response_model=Promotion, responses=documented(*ERRORS))
    async def promote(name: str, version: str) -> Promotion:
        """Serve this version of the model. It is verified and tried first; again, it changes nothing."""
        return _promotion(name, await registry.promote(name, version))

    @routes.post("/models/{name}/versions/{version}/rollback", response_model=Promotion, responses=documented(*ERRORS))
    async def rollback(name: str, version: str) -> Promotion:
        """Take this version back: the one that was served before it is again. Only the current one can be taken back."""
        return _promotion(name, await registry.roll_back(name, version))

    @routes.delete(
        "/models/{name}/versions/{version}",
        status_code=NO_CONTENT,
        response_class=Response,
        responses=documented("unknown-version", "wrong-state", "versions-unavailable"),
    )
    async def remove(name: str, version: str) -> None:
        """Remove a published version, unless it is the current one or the one that a rollback returns to."""
        if not await asyncio.to_thread(registry.catalogue.versions.remove, name, version):
            raise UnknownVersion(f"{name} has no published version {version[:100]!r}; GET /models/{name} lists them")

    return routes


def _promotion(name: str, current: Current) -> Promotion:
    before = current.history[-1].version if current.history else None
    return Promotion(name=name, version=current.version, before=before)
