"""Faults that pydantic finds in a file or a request, in plain words: what was expected, and what came."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

SHOWN = 60  # characters of a value
Place = tuple[int | str, ...]


def faults_of(errors: Iterable[Any]) -> list[tuple[Place, str]]:
    """Return place and text of each error of a ValidationError.

    A list that is too short because its items were refused is not a fault of its own.
    """
    every = list(errors)
    return [
        (tuple(one["loc"]), fault_text(one))
        for one in every
        if one["type"] != "too_short" or not any(_inside(other["loc"], one["loc"]) for other in every)
    ]


def fault_text(error: Any) -> str:
    """Return one error of a ValidationError as text, without its place."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    message = re.sub(r"^Value error, ", "", error["msg"])
    match kind:
        case "missing":
            return "expected a value, got none"
        case "extra_forbidden":
            return "there is no such field"
        case "union_tag_not_found":
            return f"expected a field {context['discriminator']}, got none"
        case "union_tag_invalid":
            return f"expected one of {context['expected_tags']}, got {shown(context['tag'])}"
        case "too_long" | "too_short" | "string_too_long" | "string_too_short":
            end, length = ("most", "max_length") if kind.endswith("long") else ("least", "min_length")
            number, of = context[length], "character" if kind.startswith("string") else "item"
            size = len(value) if kind.startswith("string") else context["actual_length"]
            return f"expected at {end} {number} {of}{'s' * (number != 1)}, got {size if size is not None else 'more'}"
        case "string_pattern_mismatch":
            return f"expected text of the form {context['pattern']}, got {shown(value)}"
        case _ if message.startswith("Input should be "):
            wanted = message.removeprefix("Input should be ")
            number = "a number " if re.match("greater|less|finite|a multiple", wanted) else ""
            return f"expected {number}{wanted}, got {shown(value)}"
    return message


def shown(value: Any) -> str:
    """Return a value as JSON spells it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _inside(place: Sequence[int | str], outer: Sequence[int | str]) -> bool:
    return len(place) > len(outer) and tuple(place[: len(outer)]) == tuple(outer)
