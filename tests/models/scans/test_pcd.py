"""Tests of .pcd clouds."""

import pytest
from refusals import assert_refused

from benchmarks.fuzz.scans import pcd
from models.scans.cloud import BadCloud, TooBig, Unreadable

BAD: dict[str, tuple[str, bytes, type[BadCloud], str]] = {
    "pcd cut short": (".pcd", pcd("binary")[:-1], Unreadable, "expected 24 points of 16 bytes, .* got 383 bytes"),
    "text pcd cut short": (
        ".pcd",
        pcd("ascii")[:-70],
        Unreadable,
        "expected 24 points of 3 numbers|expected 3 numbers",
    ),
    "pcd that announces many": (
        ".pcd",
        pcd("binary").replace(b"POINTS 24", b"POINTS 99999999999"),
        TooBig,
        "announces",
    ),
    "pcd without z": (".pcd", pcd("ascii").replace(b"FIELDS x y z", b"FIELDS x y w"), Unreadable, "x, y and z"),
    "pcd, compressed": (
        ".pcd",
        pcd("binary").replace(b"DATA binary", b"DATA binary_compressed"),
        Unreadable,
        "compressed",
    ),
    "pcd of strange fields": (".pcd", pcd("binary").replace(b"TYPE F F F", b"TYPE F F Q"), Unreadable, "fields of"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_the_expected_and_the_actual_content(name: str):
    assert_refused(*BAD[name])
