"""Tests of the words for what a body or a query has wrong: what is allowed there, and what came."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from service.http.negotiation import typed
from service.http.problems import Problem

Fps = Annotated[float, msgspec.Meta(ge=5, le=240)]


class Options(msgspec.Struct, forbid_unknown_fields=True, rename={"kind": "type"}):
    """Options with an enumeration, ranges, a pattern and lengths."""

    units: Literal["m", "mm"] | None = None
    fps: Fps | None = None
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] = "a"
    kind: Annotated[list[Fps], msgspec.Meta(max_length=2)] = []


def fault(decode: Any, value: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(Problem) as raised:
        typed(decode, value, **options)
    ((pointer, detail),) = raised.value.errors or [(raised.value.kind, raised.value.detail)]
    return pointer, detail


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b'{"units": "parsec"}', "/units", "expected one of m, mm, got 'parsec'"),
        (b'{"fps": 3}', "/fps", "expected a number of at least 5 and at most 240, got 3"),
        (b'{"type": [5, 300]}', "/type/1", "expected a number of at least 5 and at most 240, got 300"),
        (b'{"type": [5, 6, 7]}', "/type", "expected a length of at most 2, got 3"),
        (b'{"name": "A"}', "/name", "Expected `str` matching regex '^[a-z]+$', got 'A'"),
        (b'{"fps": "3"}', "/fps", "Expected `float | null`, got `str`"),
        (b'{"unit": "m"}', "/unit", "there is no field `unit`; there are units, fps, name, type"),
        (b"", "malformed-body", "expected a body, got none"),
        (b"\xef\xbb\xbf{}", "malformed-body", "expected JSON without a byte order mark, got one; write it as UTF-8 without BOM"),
        (b'{"fps":NaN}', "malformed-body", "expected JSON, got NaN, which JSON does not have; send null for what was not seen"),
    ],
)  # fmt: skip
def test_a_body_that_is_refused_says_what_is_allowed_and_what_came(body, pointer, detail):
    assert fault(msgspec.json.decode, body, type=Options) == (pointer, detail)
    assert fault(msgspec.json.Decoder(Options).decode, body) == (pointer, detail)


def test_a_parameter_of_the_query_is_named_with_those_there_are():
    query = {"type": Options, "strict": False, "mark": "?"}
    assert fault(msgspec.convert, {"unit": "mm"}, **query) == (
        "?unit",
        "there is no parameter `unit`; there are units, fps, name, type",
    )
    assert (
        fault(msgspec.convert, {"fps": "3"}, **query)[1] == "expected a number of at least 5 and at most 240, got '3'"
    )


def test_what_came_is_left_out_of_a_body_that_is_too_large_to_be_read_twice():
    body = b'{"fps": 3, "name": "' + b"a" * (1 << 20) + b'"}'
    assert fault(msgspec.json.decode, body, type=Options)[1] == "expected a number of at least 5 and at most 240"


def test_a_body_in_messagepack_says_the_same():
    assert fault(msgspec.msgpack.decode, msgspec.msgpack.encode({"fps": 3}), type=Options)[1].endswith(", got 3")
