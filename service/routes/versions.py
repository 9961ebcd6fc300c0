"""POST /models/{name}/versions/{version}/promote and rollback, and DELETE: which version of a model every process serves."""

import asyncio

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.http.problems import NO_CONTENT, documented
from service.inference.served import ServedModels
from service.registry.versions import Current, UnknownVersion

ERRORS = ("unknown-version", "wrong-state", "bundle-refused", "versions-unavailable")


class Promotion(BaseModel):
    """The version of a model that is served from now on; other processes follow within about a second."""

    name: str
    version: str
    before: str | None = Field(description="the version that a rollback returns to")


def router(models: ServedModels) -> APIRouter:
    """Return the routes over `models`."""
    routes = APIRouter(tags=["models"])

    @routes.post("/models/{name}/versions/{version}/promote", response_model=Promotion, responses=documented(*ERRORS))
    async def promote_version(name: str, version: str) -> Promotion:
        """Serve this version of the model, after it was verified and loaded. The request is idempotent."""
        return _promotion(name, await models.promote(name, version))

    @routes.post("/models/{name}/versions/{version}/rollback", response_model=Promotion, responses=documented(*ERRORS))
    async def roll_back_version(name: str, version: str) -> Promotion:
        """Replace this version, which must be the current one, by its predecessor."""
        return _promotion(name, await models.roll_back(name, version))

    @routes.delete(
        "/models/{name}/versions/{version}",
        status_code=NO_CONTENT,
        response_class=Response,
        responses=documented("unknown-version", "wrong-state", "versions-unavailable"),
    )
    async def remove_version(name: str, version: str) -> None:
        """Remove a published version, unless it is the current one or the one that a rollback returns to."""
        if not await asyncio.to_thread(models.catalogue.versions.remove, name, version):
            raise UnknownVersion(f"{name} has no published version {version[:100]!r}; GET /models/{name} lists them")

    return routes


def _promotion(name: str, current: Current) -> Promotion:
    before = current.history[-1].version if current.history else None
    return Promotion(name=name, version=current.version, before=before)
