"""The declaration of a data set of one's own: dataset.json beside its recordings, whatever they are recordings of.

    {"kind": "faces", "name": "lab", "licence": "CC0-1.0", "attribution": "our laboratory", "units": "mm",
     "splits": {"seed": 0, "validation": 0.2, "test": 0.2}}

Each kind of recording adds fields of its own. A declaration without a kind is one of hands.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.contract.spec import DATASET_NAME
from models.skeletons.faults import fault_text
from models.skeletons.units import to_metres
from training.data.reading import MalformedData
from training.data.splits import SPLITS, Split

FILE = "dataset.json"
HANDS, FACES, BODIES = "hands", "faces", "bodies"
KINDS = (HANDS, FACES, BODIES)
MAX_BYTES = 1 << 20
LEAST_RECORDINGS = len(SPLITS)  # one for each split, where they are drawn at random
Text = Annotated[str, Field(min_length=1, max_length=500)]
Patterns = Annotated[tuple[Text, ...], Field(max_length=10_000)]


class Value(BaseModel):
    """A part of a declaration, in which unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Drawn(Value):
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


class Given(Value):
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


class Declared(Value):
    """The fields that every dataset.json has; `units` are those of recordings that state none."""

    name: str = Field(max_length=64, pattern=DATASET_NAME)
    licence: Text
    attribution: Text
    units: str = "m"
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

    @field_validator("units")
    @classmethod
    def _unit(cls, units: str) -> str:
        to_metres(units)
        return units

    @property
    def decisive(self) -> tuple[str, ...]:
        """Return the fields that decide what is trained on: all but names, licence and attribution."""
        return tuple(name for name in type(self).model_fields if name not in ("name", "licence", "attribution"))

    @property
    def deciding(self) -> str:
        """Return the fields that decide what is trained on, as JSON, for a digest."""
        every = self.model_dump(mode="json")
        return json.dumps({name: every[name] for name in self.decisive}, separators=(",", ":"), ensure_ascii=False)


DeclaredT = TypeVar("DeclaredT", bound=Declared)


def kind_of(folder: Path) -> str | None:
    """Return the kind of the data set that a folder is, None for a folder without a declaration.

    A declaration that cannot be read counts as one of hands, whose reader says what is wrong. Raises MalformedData for an unknown kind.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return HANDS
    kind = content.get("kind", HANDS) if isinstance(content, dict) else HANDS
    if kind not in KINDS:
        raise MalformedData(f"{path}: kind: expected one of {', '.join(KINDS)}, got {str(kind)[:60]!r}")
    return kind


def read_declared(folder: Path, kind: type[DeclaredT]) -> DeclaredT:
    """Return the declaration in a folder. Raises MalformedData, with the field that is wrong."""
    path = folder / FILE
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise MalformedData(f"{path}: expected at most {MAX_BYTES:,} bytes, got {size:,}")
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "; ".join(_fault(one) for one in error.errors()[:5])
        raise MalformedData(f"{path}: {faults}") from None
    except OSError as error:
        raise MalformedData(f"{path}: {error.strerror}") from error


def _fault(error: object) -> str:
    """Return one fault that pydantic found, with its field."""
    assert isinstance(error, dict)
    where = ".".join(str(part) for part in error["loc"])
    message = fault_text(error)
    return f"{where}: {message}" if where else message
