"""service.routes.operation."""

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    status: Literal["alive"]


class Readiness(BaseModel):
    status: Literal["ready", "degraded"] = Field(description="degraded: a bundle was refused, the others serve")
    models: dict[str, str] = Field(description="each model's state: ready, or why it was refused")
