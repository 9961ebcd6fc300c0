"""Tests of .pcd clouds."""

import struct
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import assert_refused
from variants import FEW, SEEDS, some_points, sometimes, written

from benchmarks.fuzz.scans import POINTS, lzf, pcd
from models.scans.cloud import BadCloud, TooBig, Unreadable
from models.scans.files import read_scan
from models.scans.lzf import decompress

SOA = b"".join(POINTS[:, i].astype(kind).tobytes() for i, kind in enumerate(("<f4", "<f4", "<f8")))  # field after field


def compressed(content: bytes, size: int | None = None) -> bytes:
    """Write a compressed .pcd of the fields of POINTS."""
    head = pcd("binary").partition(b"DATA binary\n")[0] + b"DATA binary_compressed\n"
    return head + struct.pack("<2I", len(content), len(SOA) if size is None else size) + content


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
    "pcd packed otherwise": (
        ".pcd",
        pcd("binary").replace(b"DATA binary", b"DATA binary_zipped"),
        Unreadable,
        "got binary_zipped",
    ),
    "compressed pcd without sizes": (".pcd", compressed(b"")[:-8], Unreadable, "two sizes"),
    "compressed pcd cut short": (".pcd", compressed(lzf(SOA))[:-1], Unreadable, "cut short"),
    "compressed pcd of another size": (".pcd", compressed(lzf(SOA[:-1]), len(SOA) - 1), Unreadable, "got 383"),
    "compressed pcd that holds less": (".pcd", compressed(lzf(SOA[:-1])), Unreadable, "expected 384 bytes, got 383"),
    "compressed pcd that holds more": (".pcd", compressed(lzf(SOA + b"0")), Unreadable, "expected 384 bytes, got more"),
    "compressed pcd that refers back too far": (
        ".pcd",
        compressed(b"\x00A\x3f\xff"),
        Unreadable,
        "before the beginning",
    ),
    "compressed pcd with half a reference": (".pcd", compressed(lzf(SOA[:-3]) + b"\x20"), Unreadable, "a part of one"),
    "compressed pcd with half a literal": (".pcd", compressed(b"\x1f" + bytes(31)), Unreadable, "got fewer"),
    "compressed pcd that is a bomb": (
        ".pcd",
        compressed(b"\x00\0" + b"\xe0\xff\x00" * 60_000, 16 * 1_000_000).replace(b"POINTS 24", b"POINTS 1000000"),
        TooBig,
        "inflated from",
    ),
    "pcd of strange fields": (".pcd", pcd("binary").replace(b"TYPE F F F", b"TYPE F F Q"), Unreadable, "fields of"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_for_a_bad_file_states_expected_and_actual_content(name: str):
    assert_refused(*BAD[name])


def test_a_compressed_pcd_is_read_like_a_binary_one():
    np.testing.assert_array_equal(read_scan(compressed(lzf(SOA)), ".pcd").points, POINTS)


@given(
    st.lists(
        st.one_of(st.binary(min_size=1, max_size=40), st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 900)))
    )
)
def test_lzf_decoding_inverts_a_reference_encoder(parts: list[bytes | tuple[bytes, int]]):
    data = b"".join(part if isinstance(part, bytes) else part[0] * part[1] for part in parts)
    assert decompress(lzf(data), len(data)) == data


def test_a_back_reference_may_overlap_its_output():
    assert decompress(b"\x01ab\xe0\x00\x01", 11) == b"ab" + (b"ab" * 5)[:9]


OTHERS = (
    ("rgb", "U4", 1),
    ("intensity", "F4", 1),
    ("normal", "F4", 3),
    ("_", "U1", 4),
    ("label", "I2", 1),
    ("ring", "F8", 2),
)


@FEW
@given(SEEDS)
def test_every_way_to_write_a_pcd_gives_the_same_scan(seed: int):
    rng = Random(seed)
    points, form = some_points(rng), rng.choice(("ascii", "binary", "binary_compressed"))
    xyz = [(axis, rng.choice(("F4", "F8")), 1) for axis in "xyz"]
    fields = rng.sample([*xyz, *rng.sample(OTHERS, 2), ("_", "U1", 1)], 6)
    columns = [
        np.repeat(points[:, ["xyz".index(name)]] if name in "xyz" else np.full((len(points), 1), 7.0), count, axis=1)
        for name, _, count in fields
    ]
    header = ["# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7"]
    header.append(f"FIELDS {' '.join(name for name, _, _ in fields)}")
    header.append(f"SIZE {' '.join(kind[1] for _, kind, _ in fields)}")
    header.append(f"TYPE {' '.join(kind[0] for _, kind, _ in fields)}")
    header.append(f"COUNT {' '.join(str(count) for _, _, count in fields)}")
    header += [f"WIDTH {len(points)}", "HEIGHT 1", *sometimes(rng, "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(points)}")]
    arrays = [column.astype("<" + kind.lower()) for column, (_, kind, _) in zip(columns, fields, strict=True)]
    end = rng.choice(("\n", "\r\n"))
    if form == "ascii":
        table = np.hstack(columns).tolist()
        body = "".join(" ".join(written(rng, x) for x in row) + end for row in table).encode()
    elif form == "binary":
        body = b"".join(array[i].tobytes() for i in range(len(points)) for array in arrays)
    else:
        content = b"".join(array.tobytes() for array in arrays)
        body = struct.pack("<2I", len(lzf(content)), len(content)) + lzf(content)
    scan = read_scan(end.join([*header, f"DATA {form}", ""]).encode() + body, ".pcd")
    np.testing.assert_array_equal(scan.points, points)
    assert scan.triangles is None
