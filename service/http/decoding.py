"""Faults of decoded bodies and parameters in plain words: what msgspec refused, what is allowed there, and what came."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from models.skeletons.faults import shown
from service.http.problems import Problem

BOM = b"\xef\xbb\xbf"
MOST_BYTES = 1 << 20  # of a body that is decoded once more, to show what came
RANGE = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
NOT_JSON = re.compile(rb"[\[,:\s](-?(?:NaN|Infinity))\b")
LENGTH = re.compile(r"Expected `\w+` of length (>=|<=) (\d+)")


def malformed(body: bytes | str, error: Exception) -> Problem:
    """Return the problem of a body that cannot be parsed: an empty one, one with a byte order mark, with NaN, or any other."""
    data = body.encode(errors="replace") if isinstance(body, str) else body
    if not len(data):
        return Problem("malformed-body", "expected a body, got none")
    if data[: len(BOM)] == BOM:
        detail = "expected JSON without a byte order mark, got one; write it as UTF-8 without BOM"
        return Problem("malformed-body", detail)
    if word := NOT_JSON.search(data):
        detail = f"expected JSON, got {word[1].decode()}, which JSON does not have; send null for what was not seen"
        return Problem("malformed-body", detail)
    return Problem("malformed-body", f"expected a body that can be parsed; {str(error)[:200]}")


def invalid(error: msgspec.ValidationError, decode: Callable[..., Any], value: Any, kind: Any, mark: str) -> Problem:
    """Return the problem of a value that is not of the type `kind`. Pointers begin with `mark`: / in a body, ? in the query."""
    message, _, path = str(error).partition(" - at `$")
    parts = re.findall(r"\w+|\.\.\.", path)
    at = _at([inspect.type_info(kind)], parts) if kind is not None else []
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message):
        known = [one.encode_name for struct in at if isinstance(struct, inspect.StructType) for one in struct.fields]
        parts = [*parts, unknown[1][:80]]
        what = "parameter" if mark == "?" else "field"
        message = f"there is no {what} `{unknown[1][:80]}`; there are {', '.join(known) or 'none'}"
    elif enum := re.fullmatch(r"Invalid enum value (.*)", message, re.DOTALL):
        message = f"expected one of {', '.join(map(str, _words(at)))}, got {enum[1][:80]}"
    elif length := LENGTH.match(message):
        end = "least" if length[1] == ">=" else "most"
        message = f"expected a length of at {end} {length[2]}{_got(decode, value, parts, len)}"
    elif re.match(r"Expected `\w+` (>|<|matching)", message):
        message = f"{_range(at) or message}{_got(decode, value, parts, shown)}"
    pointer = mark + "/".join(parts) if parts else ""
    return Problem.at("invalid-request", pointer, message[:600])


def _at(types: Sequence[inspect.Type], parts: Sequence[str]) -> list[inspect.Type]:
    """Return the types that a value at a place may have."""
    bare = [kind.type if isinstance(kind, inspect.Metadata) else kind for kind in types]  # without a description
    every = [one for kind in bare for one in (kind.types if isinstance(kind, inspect.UnionType) else (kind,))]
    if not parts:
        return every
    inner: list[inspect.Type] = []
    for kind in every:
        match kind:
            case inspect.StructType():
                inner += [one.type for one in kind.fields if one.encode_name == parts[0]]
            case inspect.DictType():
                inner.append(kind.value_type)
            case inspect.ListType() | inspect.VarTupleType():
                inner.append(kind.item_type)
            case inspect.TupleType() if parts[0].isdigit():
                inner += kind.item_types[int(parts[0]) : int(parts[0]) + 1]
    return _at(inner, parts[1:])


def _words(types: Sequence[inspect.Type]) -> Iterator[Any]:
    for one in types:
        if isinstance(one, inspect.LiteralType):
            yield from one.values
        elif isinstance(one, inspect.EnumType):
            yield from (member.value for member in one.cls)


def _range(types: Sequence[inspect.Type]) -> str:
    """Return the range of numbers that is allowed; nothing if there is none."""
    for one in types:
        limits = [(words, getattr(one, name, None)) for name, words in RANGE]
        if given := [f"{words} {limit:g}" for words, limit in limits if limit is not None]:
            return f"expected a number {'of ' if given[0].startswith('at') else ''}{' and '.join(given)}"
    return ""


def _got(decode: Callable[..., Any], value: Any, parts: Sequence[str], show: Callable[[Any], Any]) -> str:
    """Return what came at a place; nothing if that cannot be found."""
    try:
        if isinstance(value, bytes | str):
            if len(value) > MOST_BYTES:
                return ""
            of_json = (
                isinstance(getattr(decode, "__self__", None), msgspec.json.Decoder) or decode is msgspec.json.decode
            )
            data = value.encode() if isinstance(value, str) else value
            value = (msgspec.json if of_json else msgspec.msgpack).decode(data)
        for part in parts:
            value = value[int(part) if isinstance(value, list | tuple) else part]
        return f", got {show(value)}"
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, RecursionError):
        return ""
