"""service.routes.models."""

from typing import Literal

from pydantic import BaseModel, Field

from models.skeletons.skeleton import Skeleton


class LandmarkOrder(BaseModel):
    """The landmarks by name, in order; left and right are the subject's."""

    landmarks: list[str]
    regions: dict[str, list[int]]
    edges: list[tuple[int, int]] = Field(description="between landmarks that follow each other in a region")


class JointOrder(BaseModel):
    of: Literal["hand", "body"]
    joints: list[str] = Field(description="in order; of bodies left and right are the person's own")
    bones: list[tuple[int, int]]
    mirror: list[int] = Field(description="which joint each is in a mirror; of one hand itself, of the other hand")
    carried: list[str] = Field(description="joints of a hand that are not forecast: they ride rigidly with the palm")


def _order(order: Skeleton, of: Literal["hand", "body"], carried: list[str]) -> JointOrder:
    joints, bones, mirror = list(order.joints), list(order.bones), list(order.mirror)
    return JointOrder(of=of, joints=joints, bones=bones, mirror=mirror, carried=carried)
