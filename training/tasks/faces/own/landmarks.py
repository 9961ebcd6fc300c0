"""Landmarks beside a scan: 68 points in a table (.csv), or in a point list of 3D Slicer (.mrk.json).

A table has a landmark a line, as x, y and z, with or without a name or a number before them and a first line of column names. Names of
FACE68 or numbers, if every landmark has one, give the order; otherwise it is that of the file. Coordinates are in the frame and unit of the
scan. Slicer takes the numbers of a scan's file as its LPS system, so those of a list in RAS have other signs of x and y.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from models.skeletons.face import FACE68

TABLE, MARKUPS = ".csv", ".mrk.json"
SUFFIXES = (TABLE, MARKUPS)
MAX_BYTES = 1 << 20
NAMED, NUMBERED = ("name", "label", "landmark", "joint"), ("index", "id", "number")  # names of columns
SIGNS = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0)}  # to the scan's frame
COUNT = len(FACE68.joints)

Landmarks = Float[np.ndarray, "68 3"]


class MalformedLandmarks(ValueError):
    """A file that is no list of the 68 landmarks of a face."""


def read_landmarks(path: Path) -> Landmarks:
    """Return the landmarks in a file, in the order of FACE68, in the frame and unit of the scan. Raises MalformedLandmarks, OSError."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise MalformedLandmarks(f"expected at most {MAX_BYTES:,} bytes of landmarks, got {size:,}")
    content = path.read_bytes()
    return read_markups(content) if path.name.lower().endswith(MARKUPS) else read_table(content)


def read_table(content: bytes) -> Landmarks:
    """Return the landmarks in a .csv. Raises MalformedLandmarks."""
    try:
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip(" ,;\t")]
        lines = [line for line in lines if not line.startswith("#")]
        separator = max(",;\t", key=(lines[0] if lines else "").count)
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedLandmarks(f"expected a table in UTF-8, got {error}") from None
    rows = [[cell.strip() for cell in row] for row in rows]
    header = [cell.lower() for cell in rows[0]] if rows else []
    if {"x", "y", "z"} <= set(header):
        places, rows = [header.index(axis) for axis in "xyz"], rows[1:]
        label = next((header.index(name) for name in (*NAMED, *NUMBERED) if name in header), None)
    else:
        if len(header) not in (0, 3, 4):
            raise MalformedLandmarks(
                f"expected x, y and z, or a name and these, or a first line with these names, got {len(header)} columns"
            )
        places, label = list(range(len(header)))[-3:], 0 if len(header) == 4 else None
    width = max([*places, label or 0], default=0) + 1
    if short := next((number for number, row in enumerate(rows) if len(row) < width), None):
        raise MalformedLandmarks(f"landmark {short}: expected {width} columns, got {len(rows[short])}")
    labels = [row[label] if label is not None else "" for row in rows]
    return ordered(labels, [[row[place] for place in places] for row in rows])


def read_markups(content: bytes) -> Landmarks:
    """Return the landmarks in a markups file of 3D Slicer (schema 1.0), which has one list of points. Raises MalformedLandmarks."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedLandmarks(f"expected JSON, got {error}") from None
    every = value.get("markups") if isinstance(value, dict) else None
    lists = (
        [one for one in every if isinstance(one, dict) and one.get("controlPoints")] if isinstance(every, list) else []
    )
    if len(lists) != 1 or not isinstance(points := lists[0]["controlPoints"], list):
        raise MalformedLandmarks(f"expected markups with one list of control points, got {len(lists)} lists")
    system = str(lists[0].get("coordinateSystem", "LPS"))
    if system not in SIGNS:
        raise MalformedLandmarks(f"expected the coordinateSystem {' or '.join(SIGNS)}, got {system[:40]!r}")
    labels, positions = [], []
    for number, point in enumerate(points):
        label, position = _control_point(number, point)
        labels.append(label)
        positions.append(position)
    return ordered(labels, positions) * SIGNS[system]


def _control_point(number: int, point: Any) -> tuple[str, list[Any]]:
    """Return label and position of a control point. Raises MalformedLandmarks for one that was not placed."""
    position = point.get("position") if isinstance(point, dict) else None
    status = point.get("positionStatus", "defined") if isinstance(point, dict) else "undefined"
    if not isinstance(position, list) or len(position) != 3 or status != "defined":
        raise MalformedLandmarks(f"landmark {number}: expected a point that was placed, got none; place it in Slicer")
    return str(point.get("label", "")), position


def ordered(labels: Sequence[str], positions: Sequence[Sequence[Any]]) -> Landmarks:
    """Return 68 positions in the order of FACE68. Raises MalformedLandmarks."""
    if len(positions) != COUNT:
        raise MalformedLandmarks(f"expected {COUNT} landmarks, got {len(positions)}")
    points = np.array([[_number(x) for x in position] for position in positions])
    places = _places(labels)
    names = [FACE68.joints[place] for place in places]
    if (wrong := np.flatnonzero(~np.isfinite(points).all(axis=1))).size:
        first = wrong[0]
        got = ", ".join(str(x)[:20] or "nothing" for x in positions[first])
        raise MalformedLandmarks(f"expected finite x, y and z of {names[first]}, got {got}")
    result = np.empty_like(points)
    result[places] = points
    return result


def _places(labels: Sequence[str]) -> list[int]:
    """Return the landmark of each line: by name, by number, or by order. Raises MalformedLandmarks for some names, or one twice."""
    named = {name: place for place, name in enumerate(FACE68.joints)}
    known = [label for label in labels if label in named]
    if known:
        if unknown := [label for label in labels if label not in named]:
            raise MalformedLandmarks(f"expected the names of {FACE68.name}, got {unknown[0][:40]!r}")
        if len(set(known)) < COUNT:
            twice = next(label for label in known if known.count(label) > 1)
            raise MalformedLandmarks(f"expected each landmark once, got {twice} twice")
        return [named[label] for label in labels]
    if all(label.isdecimal() for label in labels):
        numbers = [int(label) for label in labels]
        for first in (0, 1):
            if sorted(numbers) == list(range(first, first + COUNT)):
                return [number - first for number in numbers]
        raise MalformedLandmarks(
            f"expected each number from 0 to {COUNT - 1}, or from 1 to {COUNT}, once before x, y and z"
        )
    return list(range(COUNT))


def _number(value: Any) -> float:
    """Return a coordinate, NaN for what is none."""
    try:
        return float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return float("nan")
