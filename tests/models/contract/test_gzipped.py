"""Tests of gzip from untrusted sources: valid files, damaged files, and files that inflate beyond the limit."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contract.gzipped import INPUT_PIECE, PIECE, BadGzip, InflatedTooLarge, Inflater, inflate, suffix_of

LARGE = bytes(range(256)) * (2 * PIECE // 256) + b"end"


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=3), st.integers(0, 3), st.integers(1, 40))
def test_members_are_one_file_whatever_the_sizes_of_the_parts(members: list[bytes], padding: int, size: int):
    data = b"".join(map(gzip.compress, members)) + bytes(padding)
    inflater = Inflater()
    parts = [piece for at in range(0, len(data), size) for piece in inflater.feed(data[at : at + size])]
    inflater.finish()
    assert b"".join(parts) == inflate(data, 200) == b"".join(members)


@pytest.mark.parametrize("content", [LARGE, bytes(3 * PIECE), bytes(PIECE), b""], ids=len)
def test_large_content_is_inflated_completely_in_small_pieces(content: bytes):
    inflater = Inflater()
    pieces = list(inflater.feed(gzip.compress(content, 9)))
    inflater.finish()
    assert b"".join(pieces) == content
    assert all(len(piece) <= PIECE for piece in pieces)


def test_a_gzip_bomb_is_refused_before_memory_is_allocated():
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(InflatedTooLarge, match=f"expected at most 1000000 bytes inflated from {len(bomb)} of gzip"):
        inflate(bomb, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 + 4 * PIECE


WHOLE = gzip.compress(b"1 2 3\n" * 100)
BAD = {
    "cut short": (WHOLE[:-1], "cut short"),
    "nothing": (b"", "cut short"),
    "a part of its header": (WHOLE[:5], "cut short"),
    "not gzip": (b"1 2 3", "cannot be inflated"),
    "a wrong checksum": (WHOLE[:-8] + bytes(4) + WHOLE[-4:], "cannot be inflated"),
    "another file after it": (WHOLE + b"1 2 3", "cannot be inflated"),
    "the beginning of another member": (WHOLE + bytes(INPUT_PIECE) + WHOLE[:1], "cut short"),
}


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_are_not_a_whole_gzip_file_are_refused(name: str):
    data, message = BAD[name]
    with pytest.raises(BadGzip, match=message):
        inflate(data, 10_000)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.ply", ".ply"), ("a.b.PLY.GZ", ".ply.gz"), ("C:\\x.y\\a.gz", ".gz"), ("a", ""), (".gz", ""), ("../..", "")],
)
def test_the_suffix_of_a_compressed_file_names_its_format(name: str, suffix: str):
    assert suffix_of(name) == suffix
