"""The rows of a .ply file's elements as columns of numbers.

Text is read line by line: a row is a line, and numbers after its last declared property are ignored. Binary rows of equal size are read
together; otherwise a loop finds where each row ends, in about a microsecond for each property.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from models.scans.cloud import Unreadable
from models.scans.text import Lines, whole

MAX_EQUAL = 1 << 20  # numbers in the lists of a row that is read as a NumPy record, whose size is limited


@dataclass(frozen=True)
class Property:
    """A property of an element: a number or, if it has the type of a `length`, a list of numbers."""

    name: str
    dtype: np.dtype
    length: np.dtype | None


@dataclass(frozen=True)
class Element:
    """A kind of row, announced in the header."""

    name: str
    rows: int
    properties: tuple[Property, ...]

    @property
    def lists(self) -> list[str]:
        """Return the names of the lists."""
        return [each.name for each in self.properties if each.length is not None]


@dataclass(frozen=True)
class Column:
    """The values of one property in all rows; `counts` says how many numbers each row has."""

    numbers: np.ndarray
    counts: Int[np.ndarray, " rows"]


def text_rows(lines: Lines, elements: Sequence[Element]) -> Iterator[tuple[Element, dict[str, Column]]]:
    """Yield each element with its columns, from a line for each row. Raises Unreadable."""
    starts, line = lines.starts(), 0
    for element in elements:
        if not element.properties:
            continue
        if element.rows > len(starts) - line:
            raise Unreadable(
                f"expected {element.rows} lines of {element.name}, as the .ply announces, got {len(starts) - line}; it is cut short"
            )
        chosen = slice(line, line + element.rows)
        yield element, _text_columns(lines.numbers, starts[chosen], lines.widths[chosen], element)
        line += element.rows


def _text_columns(
    numbers: np.ndarray, starts: Int[np.ndarray, " rows"], widths: Int[np.ndarray, " rows"], element: Element
) -> dict[str, Column]:
    """Return the columns of rows that begin at `starts`, property by property for all rows together."""
    at, ends, columns = starts.copy(), starts + widths, {}
    for each in element.properties:
        if (at >= ends).any():
            raise _short_row(element, int(np.argmax(at >= ends)))
        if each.length is None:
            columns[each.name] = Column(numbers[at], np.ones(len(at), np.int64))
            at += 1
            continue
        lengths = numbers[at]
        if not whole(lengths) or (at + 1 + lengths > ends).any():
            legal = (lengths >= 0) & (lengths == np.floor(lengths)) & (at + 1 + lengths <= ends)
            raise _short_row(element, int(np.argmin(legal)))
        counts = lengths.astype(np.int64)
        columns[each.name] = Column(numbers[_ranges(at + 1, counts)], counts)
        at += 1 + counts
    return columns


def _ranges(starts: Int[np.ndarray, " rows"], counts: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " numbers"]:
    """Return the indices start, start + 1, ... of every row, one row after the other."""
    if len(counts) and (counts == counts[0]).all():
        return (starts[:, None] + np.arange(counts[0])).reshape(-1)
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def binary_rows(body: memoryview, elements: Sequence[Element]) -> Iterator[tuple[Element, dict[str, Column]]]:
    """Yield each element with its columns, from rows one after the other. Raises Unreadable."""
    at = 0
    for element in elements:
        if not element.properties:
            continue
        columns, at = _equal_rows(body, at, element) or _unequal_rows(body, at, element)
        yield element, columns


def _equal_rows(body: memoryview, at: int, element: Element) -> tuple[dict[str, Column], int] | None:
    """Return the columns of rows that are all as long as the first, and where they end; None if they are not."""
    lengths = _first_lengths(body, at, element)
    if sum(lengths.values()) > MAX_EQUAL:
        return None
    fields: list[tuple] = []
    for each in element.properties:
        if each.length is None:
            fields.append((each.name, each.dtype))
        else:
            fields += [(f"length of {each.name}", each.length), (each.name, each.dtype, (lengths[each.name],))]
    dtype = np.dtype(fields)
    if element.rows * dtype.itemsize > len(body) - at:
        if element.lists:
            return None
        raise Unreadable(
            f"expected {element.rows} rows of {element.name} of {dtype.itemsize} bytes, as the .ply announces, got "
            f"{len(body) - at} bytes"
        )
    records = np.frombuffer(body, dtype, element.rows, at) if element.rows else np.empty(0, dtype)
    if any((records[f"length of {name}"] != lengths[name]).any() for name in element.lists):
        return None
    columns = {
        each.name: Column(records[each.name].reshape(-1), np.full(element.rows, lengths.get(each.name, 1)))
        for each in element.properties
    }
    return columns, at + element.rows * dtype.itemsize


def _first_lengths(body: memoryview, at: int, element: Element) -> dict[str, int]:
    """Return the lengths of the first row's lists by name; 0 for all if there is no row. Raises Unreadable."""
    if element.rows == 0 or not element.lists:
        return dict.fromkeys(element.lists, 0)
    columns, _ = _unequal_rows(body, at, Element(element.name, 1, element.properties))
    return {name: int(columns[name].counts[0]) for name in element.lists}


def _unequal_rows(body: memoryview, at: int, element: Element) -> tuple[dict[str, Column], int]:
    """Return the columns of rows that differ in length, and where they end; a loop over rows and properties."""
    readers = [_length_reader(each) for each in element.properties]
    contents = [bytearray() for _ in readers]
    counts: list[list[int]] = [[] for _ in readers]
    for row in range(element.rows):
        for (unpack, size, item), content, count in zip(readers, contents, counts, strict=True):
            length = 1
            if unpack is not None:
                if at + size > len(body):
                    raise _short_row(element, row)
                length = unpack(body, at)[0]
                at += size
                if not 0 <= length <= len(body) or length != int(length):
                    raise _short_row(element, row)
            end = at + int(length) * item
            if end > len(body):
                raise _short_row(element, row)
            content += body[at:end]
            if unpack is not None:
                count.append(int(length))
            at = end
    return {
        each.name: Column(
            np.frombuffer(content, each.dtype),
            np.ones(element.rows, np.int64) if each.length is None else np.array(count, np.int64),
        )
        for each, content, count in zip(element.properties, contents, counts, strict=True)
    }, at


def _length_reader(each: Property):
    """Return how to unpack a list's length, the size of the length, and the size of an item; None and 0 for a number."""
    if each.length is None:
        return None, 0, each.dtype.itemsize
    order = ">" if each.length.byteorder == ">" else "<"
    length = struct.Struct(order + each.length.char)
    return length.unpack_from, length.size, each.dtype.itemsize


def _short_row(element: Element, row: int) -> Unreadable:
    """Return the error for a row that does not have what its element declares."""
    return Unreadable(
        f"expected {', '.join(each.name for each in element.properties)[:80]} in row {row} of the {element.rows} of {element.name} in the "
        ".ply, got less; it is cut short or contradicts its header"
    )
