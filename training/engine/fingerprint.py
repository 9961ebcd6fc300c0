"""Fingerprints: a hash of a value, all the way down, that stays the same from one process to the next.

The fingerprint of a run names its folder. Since scheme 2 it covers every field, also one at its default, and the module of every type and
function. Scheme 1 left out defaults and modules; it is computed still, so that results of that time are found again.
"""

import hashlib
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
from pydantic import BaseModel

DIGITS = 12
INDIFFERENT = {"fingerprint": False}  # metadata of a dataclass field that decides no weight
LATER = {
    "fingerprint": "changed"
}  # of a field younger than results: at its default it is left out, so they are found again
# A field with the metadata {"described_as": name} is described by the attribute of that name, which its value stands for.


def digest(*parts: Any) -> str:
    """Return twelve hex digits of the described parts. Raises TypeError for a part that `described` refuses."""
    return _hash(repr([described(part) for part in parts]))


def described(value: Any) -> Any:
    """Return a value as nested tuples of its type's full name and all its fields, whose repr is the same in every process.

    Raises TypeError for a value without a description of its own, such as an object of an ordinary class or a lambda.
    """
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case Enum() | PurePath():
            return _name(type(value)), str(value)
        case tuple() | list():
            return tuple(described(item) for item in value)
        case dict():
            return tuple(sorted((str(key), described(item)) for key, item in value.items()))
        case np.ndarray():
            return value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        case type() | FunctionType() | BuiltinFunctionType() if "<" not in value.__qualname__:
            return _name(value)
        case partial():
            return described(value.func), described(value.args), described(value.keywords)
        case BaseModel():
            later = {
                name for name in getattr(value, "later", ()) if name not in value.model_dump(exclude_defaults=True)
            }
            return _name(type(value)), described({name: item for name, item in value if name not in later})
        case _ if is_dataclass(value):
            own = (
                (field.name, described(getattr(value, field.metadata.get("described_as", field.name))))
                for field in fields(value)
                if _decides(field, value)
            )
            return _name(type(value)), tuple(own)
    raise TypeError(
        f"expected values, dataclasses and named functions of modules, got {value!r}; a fingerprint needs one of these"
    )


def legacy_digest(*parts: Any) -> str:
    """Return the digest of scheme 1 of these parts."""
    return _hash(repr([legacy_described(part) for part in parts]))


def legacy_described(value: Any) -> Any:
    """Return the description of scheme 1: the name of the type, and the fields that differ from their defaults."""
    if isinstance(value, BaseModel):
        return type(value).__name__, value.model_dump(exclude_defaults=True)
    if is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        defaults = {field.name: field.default for field in fields(value)}
        return type(value).__name__, {name: legacy_described(x) for name, x in own.items() if x != defaults[name]}
    return getattr(value, "__qualname__", value)


def _decides(field: Any, value: Any) -> bool:
    how = field.metadata.get("fingerprint", True)
    return getattr(value, field.name) != field.default if how == "changed" else how


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
