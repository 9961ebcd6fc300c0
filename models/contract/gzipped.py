"""Gzip (RFC 1952) from untrusted bytes, inflated in small pieces, so that the limit is checked before memory is allocated."""

import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

SUFFIX = ".gz"
MAGIC = b"\x1f\x8b\x08"  # the first bytes of every gzip file
INPUT_PIECE = 1 << 13  # bytes that are inflated at a time, which takes at most a millisecond
PIECE = 1 << 18  # bytes of output at a time
_WINDOW = zlib.MAX_WBITS | 16  # the gzip format


class BadGzip(ValueError):
    """Bytes that are not gzip, or that are cut short."""


class InflatedTooLarge(BadGzip):
    """A gzip file that inflates to more bytes than the limit."""


class Inflater:
    """An inflater of gzip that arrives in parts; members that follow each other are one file, as RFC 1952, 2.2 says."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_WINDOW)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` inflates to, in pieces of at most PIECE bytes. Raises BadGzip."""
        for start in range(
            0, len(data), INPUT_PIECE
        ):  # zlib copies the rest of its input on every call, so its input is small
            yield from self._feed(data[start : start + INPUT_PIECE])

    def _feed(self, data: bytes) -> Iterator[bytes]:
        full = False  # more output may follow without more input
        while data or full:
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding
                if not data:
                    return
                self._member = zlib.decompressobj(_WINDOW)
            try:
                piece = self._member.decompress(data, PIECE)
            except zlib.error as error:
                raise BadGzip(f"expected gzip, got bytes that cannot be inflated: {str(error)[:80]}") from None
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            full = len(piece) == PIECE and not self._member.eof
            if piece:
                yield piece

    def finish(self) -> None:
        """Raise BadGzip if the last member is not complete."""
        if not self._member.eof:
            raise BadGzip("expected gzip up to its end, got a part of it; it is cut short")


def inflate(data: bytes, limit: int) -> bytes:
    """Return what gzip inflates to, at most `limit` bytes. Raises BadGzip, and InflatedTooLarge once the limit is passed."""
    inflater, pieces, size = Inflater(), [], 0
    for piece in inflater.feed(data):
        if (size := size + len(piece)) > limit:
            raise InflatedTooLarge(f"expected at most {limit} bytes inflated from {len(data)} of gzip, got more")
        pieces.append(piece)
    inflater.finish()
    return b"".join(pieces)


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case; of a compressed file with the one before it, such as ".ply.gz"."""
    path = PurePosixPath(name.replace("\\", "/"))
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() + suffix if suffix == SUFFIX else suffix
