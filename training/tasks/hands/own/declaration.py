"""The declaration of a recording set of one's own: dataset.json beside the recordings.

    {"name": "lab", "licence": "CC0-1.0", "attribution": "our laboratory", "joints": "mediapipe", "units": "m",
     "splits": {"seed": 0, "validation": 0.2, "test": 0.2}}

`"skeleton": "skeleton.json"` in the place of `joints` gives the recordings a skeleton of one's own, which that file beside them declares
(models/skeletons/own.py); the skeleton itself may stand in the place of the file's name. A field that a recording states itself (`joints`,
`units`, `axes`, `fps`) holds for that recording.
"""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.contract.spec import DATASET_NAME
from models.skeletons.hand import get_hand_order
from models.skeletons.own import MalformedSkeleton, OwnSkeleton, read_skeleton
from models.skeletons.skeleton import Hand, Skeleton
from models.skeletons.units import to_metres
from training.data.reading import MalformedData
from training.data.splits import SPLITS, Split

FILE = "dataset.json"
SKELETON = "skeleton.json"
MAX_BYTES = 1 << 20
LEAST_RECORDINGS = len(SPLITS)  # one for each split, where they are drawn at random
Text = Annotated[str, Field(min_length=1, max_length=500)]
Patterns = Annotated[tuple[Text, ...], Field(max_length=10_000)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Drawn(_Value):
    """Splits drawn at random by recording: the shares of validation and test; the rest is for training."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    validation: float = Field(default=0.2, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"expected shares of less than 1 together, got {self.validation + self.test:g}")
        return self

    def splits(self, names: list[str]) -> dict[str, Split]:
        """Return the split of each recording: at least one in each, from the sorted names and the seed alone.

        Raises ValueError for fewer than LEAST_RECORDINGS.
        """
        if len(names) < LEAST_RECORDINGS:
            raise ValueError(f"expected at least {LEAST_RECORDINGS} recordings to draw splits from, got {len(names)}")
        order = [sorted(names)[i] for i in np.random.default_rng(self.seed).permutation(len(names))]
        most = len(names) - 2
        validation = min(max(1, round(self.validation * len(names))), most)
        test = min(max(1, round(self.test * len(names))), most + 1 - validation)
        counts: dict[Split, int] = {"validation": validation, "test": test, "train": len(names) - validation - test}
        parts: list[Split] = [split for split, count in counts.items() for _ in range(count)]
        return dict(zip(order, parts, strict=True))


class Given(_Value):
    """Splits as lists of recordings: names of files, folders, or patterns such as "train-*.jsonl"."""

    train: Patterns
    validation: Patterns
    test: Patterns

    def splits(self, names: list[str]) -> dict[str, Split]:
        """Return the split of each recording. Raises ValueError for one in none or in several, and for a pattern without one."""
        of: dict[str, Split] = {}
        for split in SPLITS:
            for pattern in getattr(self, split):
                if not (found := [name for name in names if _matches(name, pattern)]):
                    raise ValueError(f"{split} names {pattern!r}, and there is no such recording")
                for name in found:
                    if of.setdefault(name, split) != split:
                        raise ValueError(f"{name} is in {of[name]} and in {split}; expected it in one split")
        if left := [name for name in names if name not in of]:
            raise ValueError(f"{left[0]} is in no split; expected each recording in {', '.join(SPLITS)}")
        return of


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith((f"{pattern.rstrip('/')}/", f"{pattern}#")) or fnmatchcase(name, pattern)


class Declaration(_Value):
    """The content of dataset.json. `hand` is the side of a lone hand whose recording does not say it.

    `exchange_hands` exchanges left and right, which MediaPipe names as if the image were flipped. `fps` is the rate of recordings
    without times. A lone body in a skeleton of one's own is taken as the left one where nothing says otherwise: its side has no effect.
    """

    name: str = Field(max_length=64, pattern=DATASET_NAME)
    kind: Literal["hands"] = "hands"
    licence: Text
    attribution: Text
    joints: str = Field(default="assembly101", max_length=64)
    skeleton: Literal["skeleton.json"] | OwnSkeleton | None = None
    units: str = "m"
    axes: Literal["right-handed", "left-handed"] = "right-handed"
    fps: float | None = Field(default=None, ge=5, le=1000)
    hand: Hand | None = None
    exchange_hands: bool = False
    splits: Given | Drawn

    @field_validator("splits", mode="before")
    @classmethod
    def _one_of_both(cls, splits: object) -> object:
        if not isinstance(splits, dict):
            raise ValueError(f"expected lists of recordings, or a seed and shares, got {splits!r}")
        given = any(isinstance(part, list | tuple | str) for part in splits.values())
        if unknown := sorted(set(splits) - (set(SPLITS) if given else {"seed", "validation", "test"})):
            known = f"the splits {', '.join(SPLITS)}" if given else "seed, validation and test"
            raise ValueError(f"expected {known}, got {unknown[0]!r}")
        return (Given if given else Drawn).model_validate(splits)

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

    @field_validator("units")
    @classmethod
    def _unit(cls, units: str) -> str:
        to_metres(units)
        return units

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
    def deciding(self) -> str:
        """Return the fields that decide what is trained on, as JSON: all but names, licence and attribution."""
        without = {"name", "licence", "attribution", *(() if self.skeleton else ("skeleton",))}
        return self.model_dump_json(exclude=without)


def read_declaration(folder: Path) -> Declaration:
    """Return the declaration in a folder. Raises MalformedData, with the field that is wrong."""
    path = folder / FILE
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise MalformedData(f"{path}: expected at most {MAX_BYTES:,} bytes, got {size:,}")
        declared = Declaration.model_validate_json(path.read_bytes())
        there = (folder / SKELETON).is_file()
        if there and declared.skeleton is None:
            raise MalformedData(
                f'{path}: expected "skeleton": "{SKELETON}", which is beside it, got none; remove the file or declare it'
            )
        if declared.skeleton == SKELETON:
            return declared.model_copy(update={"skeleton": read_skeleton(folder / SKELETON)})
        return declared
    except MalformedSkeleton as error:
        raise MalformedData(f"{folder}: {error}") from None
    except ValidationError as error:
        faults = "; ".join(_fault(one) for one in error.errors()[:5])
        raise MalformedData(f"{path}: {faults}") from None
    except OSError as error:
        raise MalformedData(f"{path}: {error.strerror}") from error


def _fault(error: object) -> str:
    """Return one fault that pydantic found, with its field."""
    assert isinstance(error, dict)
    where = ".".join(str(part) for part in error["loc"])
    message = re.sub(r"^Value error, ", "", error["msg"])
    return f"{where}: {message}" if where else message
