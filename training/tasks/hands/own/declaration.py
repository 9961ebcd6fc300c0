"""The declaration of a recording set of one's own: dataset.json beside the recordings.

    {"name": "lab", "licence": "CC0-1.0", "attribution": "our laboratory", "joints": "mediapipe", "units": "m",
     "splits": {"seed": 0, "validation": 0.2, "test": 0.2}}

`"skeleton": "skeleton.json"` in the place of `joints` gives the recordings a skeleton of one's own, which that file beside them declares
(models/skeletons/own.py); the skeleton itself may stand in the place of the file's name. A field that a recording states itself (`joints`,
`units`, `axes`, `fps`) holds for that recording.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from models.skeletons.hand import get_hand_order
from models.skeletons.own import MalformedSkeleton, OwnSkeleton, read_skeleton
from models.skeletons.skeleton import Hand, Skeleton
from training.data.declaration import FILE, HANDS, Declared, read_declared
from training.data.reading import MalformedData

SKELETON = "skeleton.json"
DECISIVE = (  # in the order that digests have, which name the results of trainings
    *("kind", "joints", "skeleton", "units", "axes", "fps", "hand", "exchange_hands", "splits"),
)


class Declaration(Declared):
    """The content of dataset.json. `hand` is the side of a lone hand whose recording does not say it.

    `exchange_hands` exchanges left and right, which MediaPipe names as if the image were flipped. `fps` is the rate of recordings
    without times. A lone body in a skeleton of one's own is taken as the left one where nothing says otherwise: its side has no effect.
    """

    kind: Literal["hands"] = HANDS
    joints: str = Field(default="assembly101", max_length=64)
    skeleton: Literal["skeleton.json"] | OwnSkeleton | None = None
    axes: Literal["right-handed", "left-handed"] = "right-handed"
    fps: float | None = Field(default=None, ge=5, le=1000)
    hand: Hand | None = None
    exchange_hands: bool = False

    @field_validator("skeleton", mode="before")
    @classmethod
    def _file_or_skeleton(cls, skeleton: object) -> object:
        if isinstance(skeleton, dict):
            return OwnSkeleton.model_validate(skeleton)
        if not isinstance(skeleton, OwnSkeleton) and skeleton not in (SKELETON, None):
            raise ValueError(f"expected {SKELETON}, which is beside {FILE}, or a skeleton, got {str(skeleton)[:60]!r}")
        return skeleton

    @model_validator(mode="after")
    def _joints_or_skeleton(self) -> Self:
        if self.skeleton is not None and "joints" in self.model_fields_set:
            raise ValueError(f"expected `joints` or `skeleton`, got joints {self.joints} and a skeleton; leave one out")
        return self

    @field_validator("joints")
    @classmethod
    def _order(cls, joints: str) -> str:
        return get_hand_order(joints).name

    @property
    def own(self) -> OwnSkeleton | None:
        """Return the skeleton of one's own, once `read_declaration` has read its file."""
        return self.skeleton if isinstance(self.skeleton, OwnSkeleton) else None

    @property
    def order(self) -> Skeleton:
        """Return the joint order of recordings that state no other."""
        return get_hand_order(self.joints) if self.own is None else self.own.layout

    @property
    def lone(self) -> Hand | None:
        """Return the side of a lone hand, or body, whose recording does not say it."""
        return "left" if self.hand is None and self.own is not None else self.hand

    @property
    def decisive(self) -> tuple[str, ...]:
        """Return the fields that decide what is trained on; a skeleton, which is younger than digests, where there is one."""
        return tuple(name for name in DECISIVE if name != "skeleton" or self.skeleton)


def read_declaration(folder: Path) -> Declaration:
    """Return the declaration in a folder. Raises MalformedData, with the field that is wrong."""
    path = folder / FILE
    try:
        declared = read_declared(folder, Declaration)
        there = (folder / SKELETON).is_file()
        if there and declared.skeleton is None:
            raise MalformedData(
                f'{path}: expected "skeleton": "{SKELETON}", which is beside it, got none; remove the file or declare it'
            )
        if declared.skeleton == SKELETON:
            if not there:
                raise MalformedData(f"{folder / SKELETON}: expected this file, which {FILE} names, got none")
            return declared.model_copy(update={"skeleton": read_skeleton(folder / SKELETON)})
        return declared
    except MalformedSkeleton as error:
        raise MalformedData(f"{folder}: {error}") from None
    except OSError as error:
        raise MalformedData(f"{path}: {error.strerror}") from error
