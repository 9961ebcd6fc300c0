"""Damaged files: random changes of valid files, and garbage.

Most changes pass a reader's first checks. They overwrite counts, offsets and numbers in text with extreme values, and remove, repeat,
exchange or extend parts of files.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random

CHARACTERS = '0123456789.-+eEnaif ,;\n\t#/vfx_[]{}":'  # of garbage that looks like text
MAX_GROWN = 1 << 16  # bytes of a damaged file
INTEGERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    65535,
    1 << 20,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**64 - 1,
)
NUMERALS = (
    b"-1",
    b"0",
    b"1",
    b"255",
    b"65536",
    b"2147483648",
    b"99999999999",
    b"9" * 30,
    b"1e308",
    b"1e999",
    b"nan",
    b"-inf",
    b"0.5",
)
Mutation = Callable[[Random, bytes], bytes]


def overwrite_byte(rng: Random, data: bytes) -> bytes:
    """Replace a byte."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def overwrite_integer(rng: Random, data: bytes) -> bytes:
    """Replace 1 to 8 bytes with an extreme integer, little or big endian."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice("<>")
    value = rng.choice(INTEGERS) % (1 << 8 * size)
    at = rng.randrange(max(1, len(data) - size + 1))
    return data[:at] + struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[size], value) + data[at + size :]


def replace_numeral(rng: Random, data: bytes) -> bytes:
    """Replace a number in text with an extreme one."""
    places = [match.span() for match in re.finditer(rb"-?[0-9]+(\.[0-9]+)?", data[:4096])]
    if not places:
        return overwrite_byte(rng, data)
    start, end = rng.choice(places)
    return data[:start] + rng.choice(NUMERALS) + data[end:]


def remove(rng: Random, data: bytes) -> bytes:
    """Remove some bytes."""
    start, end = _section(rng, data)
    return data[:start] + data[end:]


def repeat(rng: Random, data: bytes) -> bytes:
    """Repeat some bytes, up to MAX_GROWN."""
    start, end = _section(rng, data)
    times = rng.choice((1, 1, 1, 2, 10, 1000))
    return data[:start] + (data[start:end] * times)[:MAX_GROWN] + data[end:]


def insert(rng: Random, data: bytes) -> bytes:
    """Insert random bytes."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 16, 200))) + data[at:]


def cut(rng: Random, data: bytes) -> bytes:
    """Cut the end off."""
    return data[: rng.randrange(1, len(data) + 1)]


def exchange(rng: Random, data: bytes) -> bytes:
    """Exchange two parts of the same size."""
    size = rng.choice((1, 2, 4, 8, 30))
    a, b = (rng.randrange(max(1, len(data) - size + 1)) for _ in range(2))
    changed = bytearray(data)
    changed[a : a + size], changed[b : b + size] = data[b : b + size], data[a : a + size]
    return bytes(changed)


MUTATIONS: tuple[Mutation, ...] = (
    *(overwrite_byte, overwrite_integer, overwrite_integer, replace_numeral, replace_numeral),
    *(remove, repeat, insert, cut, exchange),
)


def _section(rng: Random, data: bytes) -> tuple[int, int]:
    """Return the start and end of a random section, mostly a short one."""
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 16, 64, 256, len(data))))


def mutate(rng: Random, data: bytes) -> bytes:
    """Apply one to four random changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(MUTATIONS)(rng, data or b"\0")
    return data[: 2 * MAX_GROWN]


def splice(rng: Random, one: bytes, other: bytes) -> bytes:
    """Join the beginning of one file to the end of another."""
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


def grown(rng: Random, data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Yield the file extended to each of the sizes by repeating one section."""
    start, end = _section(rng, data[: 1 << 12])
    for size in sizes:
        yield data[:start] + data[start:end] * max(1, (size - len(data)) // (end - start)) + data[end:]


def garbage(rng: Random, count: int) -> Iterator[bytes]:
    """Yield byte strings of random bytes, of the characters of numbers and formats, and of any characters."""
    for _ in range(count):
        kind, length = rng.randrange(3), rng.randrange(401)
        if kind == 0:
            yield rng.randbytes(length)
        elif kind == 1:
            yield "".join(rng.choices(CHARACTERS, k=length)).encode()
        else:
            yield "".join(map(chr, rng.choices(range(0xD800), k=length // 4))).encode()
