"""Headers of an ASGI scope by name. Starlette's mapping takes several times as long, and every request is asked for a dozen."""

from collections.abc import Mapping
from typing import Any, TypeVar

DefaultT = TypeVar("DefaultT")


def header(scope: Mapping[str, Any], name: bytes, default: DefaultT = "") -> str | DefaultT:
    """Return the first header of a lower-case name in a scope, or in a message that has headers."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return default


def has_header(scope: Mapping[str, Any], name: bytes) -> bool:
    """Return whether there is a header of a lower-case name."""
    return any(key == name for key, _ in scope["headers"])
