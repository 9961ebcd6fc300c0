"""Numbers in text, for every format that is written with them.

NumPy's own number parser reads the text in large pieces. A row that is shorter or longer than the first is refused: nothing is guessed.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.scans.cloud import TooBig, Unreadable

MAX_COLUMNS = 64
PIECE = 1 << 18  # bytes that are parsed at a time, which takes about 10 ms
_NUMERALS = b"0123456789+-.eEnaifNAIFty \t\r\n"  # "ty" is for infinity
_MICROSOFT_NAN = re.compile(rb"(?i)[+-]?(nan\([a-z]*\)|1\.#(qnan|snan|ind)[0-9]*)")  # as its C library prints it


@dataclass(frozen=True)
class Lines:
    """The numbers of a text, one after the other, and how many there are on each line that has any."""

    numbers: Float[np.ndarray, " numbers"]
    widths: Int[np.ndarray, " lines"]

    def table(self, row: str) -> Float[np.ndarray, "lines columns"]:
        """Return the numbers line by line; `row` names a line in messages. Raises Unreadable unless all lines are equally long."""
        if len(self.widths) == 0:
            return np.empty((0, 0))
        columns = int(self.widths[0])
        if (ragged := np.flatnonzero(self.widths != columns)).size:
            at = int(ragged[0])
            raise Unreadable(
                f"expected {columns} numbers in every {row}, as in {row} 0, got {self.widths[at]} in {row} {at}"
            )
        return self.numbers.reshape(-1, columns)

    def starts(self) -> Int[np.ndarray, " lines"]:
        """Return where in `numbers` each line begins."""
        return np.cumsum(self.widths) - self.widths


def lines_of(text: bytes, max_lines: int, what: str) -> Lines:
    """Parse white-space separated numbers line by line; `what` names the text in messages. Raises Unreadable or TooBig."""
    if (lines := text.count(b"\n")) > max_lines:
        raise TooBig(f"expected at most {max_lines} lines in {what}, got {lines}")
    others = text.translate(None, _NUMERALS)
    if others and (changed := _MICROSOFT_NAN.sub(b"nan", text)) != text:
        text, others = changed, changed.translate(None, _NUMERALS)
    if others:
        at = text.index(others[:1])
        raise Unreadable(f"expected numbers in {what}, got {text[max(0, at - 20) : at + 20]!r}")
    letters = np.frombuffer(text, np.uint8)
    begins = letters > ord(" ")
    begins[1:] &= letters[:-1] <= ord(" ")
    if len(letters) == 0 or not begins.any():
        return Lines(np.empty(0), np.empty(0, np.int64))
    line_starts = np.concatenate([[0], np.flatnonzero(letters == ord("\n")) + 1])
    words = np.flatnonzero(begins)
    widths = np.diff(np.searchsorted(words, line_starts), append=len(words))
    try:
        numbers = np.concatenate([np.fromstring(part, np.float64, sep=" ") for part in pieces(text) if part.strip()])
    except (ValueError, DeprecationWarning):  # NumPy raises one or the other at a word that is not a number
        numbers = np.empty(0)
    if len(numbers) != len(words):
        raise Unreadable(f"expected numbers in {what}, got {len(words)} words that are not all numbers")
    return Lines(numbers, widths[widths > 0])


def plain_text(data: bytes) -> bytes:
    """Return a text without its byte order mark, as UTF-8 if it is UTF-16, with its lines ended by a line feed. Raises Unreadable."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeError:
            raise Unreadable(
                "expected text after a byte order mark of UTF-16, got other bytes; save it as UTF-8"
            ) from None
    data = data.removeprefix(codecs.BOM_UTF8)
    return data if b"\n" in data else data.replace(b"\r", b"\n")


def pieces(text: bytes) -> Iterator[bytes]:
    """Yield the text in whole lines, about PIECE bytes at a time; one call on all of it would keep every other thread waiting."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + PIECE) + 1 or len(text)
        yield text[start:end]
        start = end


def whole(numbers: Float[np.ndarray, " numbers"]) -> bool:
    """Return whether all numbers are counts: whole, not negative, and exact as doubles."""
    return bool(((numbers >= 0) & (numbers < 2**53) & (numbers == np.floor(numbers))).all())
