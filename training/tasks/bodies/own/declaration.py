"""The declaration of a set of body recordings of one's own: dataset.json beside the recordings.

{"kind": "bodies", "name": "studio", "licence": "CC0-1.0", "attribution": "our laboratory", "joints": "h36m-17", "units": "cm",
 "splits": {"seed": 0, "validation": 0.2, "test": 0.2}}
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from models.skeletons.body import undefined_joints
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton
from training.data.declaration import Declared, Text, read_declared

PELVIS = Skeleton("pelvis", ("pelvis",), (), (0,))  # what positions of a pose are measured from
Names = Annotated[tuple[Text, ...], Field(min_length=1, max_length=16)]


class Declaration(Declared):
    """The content of dataset.json. `joints` is the joint order that every recording is brought to, and must have.

    `axes`, `fps` and `units` are those of recordings that state none; lengths are multiplied by `scale` as well, for files in no known
    unit. `markers` gives a joint as the mean of markers, or of joints of a file under other names.
    """

    kind: Literal["bodies"]
    joints: str = Field(max_length=64)
    axes: Literal["y-up", "z-up", "camera"] = "y-up"
    fps: float | None = Field(default=None, ge=5, le=1000)
    scale: float = Field(default=1.0, gt=0, le=1000)
    markers: dict[str, Names] = Field(default={}, max_length=200)

    @field_validator("joints")
    @classmethod
    def _order(cls, joints: str) -> str:
        order = get_body_order(joints)
        if undefined_joints(order, PELVIS):
            raise ValueError(f"expected an order with hips, which positions are measured from, got {order.name}")
        return order.name

    @model_validator(mode="after")
    def _known_joints(self) -> Self:
        if unknown := [joint for joint in self.markers if joint not in self.order.joints]:
            raise ValueError(
                f"markers: expected joints of {self.joints}, {', '.join(self.order.joints)}; got {unknown[0]!r}"
            )
        return self

    @property
    def order(self) -> Skeleton:
        """Return the joint order of the recordings."""
        return get_body_order(self.joints)


def read_declaration(folder: Path) -> Declaration:
    """Return the declaration in a folder. Raises MalformedData, with the field that is wrong."""
    return read_declared(folder, Declaration)
