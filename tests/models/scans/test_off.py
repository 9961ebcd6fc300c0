"""Tests of .off meshes."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from refusals import assert_refused
from variants import (
    FEW,
    SEEDS,
    some_points,
    some_polygons,
    some_text,
    sometimes,
    sorted_triangles,
    triangles_in,
    written,
)

from benchmarks.fuzz.scans import GOOD, POINTS, TRIANGLES, lines
from models.scans.cloud import BadCloud, Degenerate, TooBig, Unreadable
from models.scans.files import read_scan

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "off without a face": (
        ".off",
        f"OFF\n24 0 0\n{lines(POINTS.tolist())}".encode(),
        Degenerate,
        "with faces, got none",
    ),
    "off that is binary": (".off", b"OFF BINARY\n" + bytes(40), Unreadable, "text that begins with OFF"),
    "off cut short": (".off", GOOD["off"][1][:-8], Unreadable, "24 vertices and 30 faces|number of corners"),
    "off that announces more": (".off", GOOD["off"][1].replace(b"24 30", b"90 30"), Unreadable, "90 vertices"),
    "off that announces far more": (
        ".off",
        GOOD["off"][1].replace(b"24 30", b"9e15 3"),
        TooBig,
        "announces 9000000000000000",
    ),
    "off with a longer face": (
        ".off",
        GOOD["off"][1][: -len(lines([[3, *TRIANGLES[-1]]]))] + b"4 1 2 3\n",
        Unreadable,
        "corners",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


@FEW
@given(SEEDS)
def test_every_way_to_write_an_off_gives_the_same_scan(seed: int):
    rng = Random(seed)
    points = some_points(rng)
    polygons = some_polygons(rng, len(points))
    word, extra = rng.choice((("OFF", 0), ("COFF", 4), ("NOFF", 3), ("CNOFF", 7)))
    counts = f"{len(points)} {len(polygons)}{rng.choice((' 0', ''))}"
    text = [f"{word} {counts}"] if rng.random() < 0.3 else [word, *sometimes(rng, "# counts", ""), counts]
    for point in points.tolist():
        text += [" ".join(written(rng, x) for x in (*point, *[0.5] * extra)), *sometimes(rng, "# next")]
    for polygon in polygons:
        text.append(" ".join(map(str, (len(polygon), *polygon))) + rng.choice(("", " 0.5 0.5 0.5", " # face")))
    scan = read_scan(some_text(rng, text), ".off")
    np.testing.assert_array_equal(scan.points, points)
    assert sorted_triangles(scan.triangles) == triangles_in(polygons)
