"""LZF decompression (liblzf by Marc Lehmann), as .pcd files need it.

A control byte below 32 is followed by that many literal bytes, plus one. Any other one refers to bytes that are already there: its upper
three bits, and another byte if they are 7, are the length less 2; its lower five bits and one more byte are the distance less 1.
"""


class BadLzf(ValueError):
    """Bytes that are not LZF, or that decompress to another size than announced."""


def decompress(data: bytes, size: int) -> bytes:
    """Return the `size` bytes that `data` holds. Raises BadLzf. Takes about 0.3 us for each control byte."""
    out, at, end = bytearray(), 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                literal = data[at : at + control + 1]
                if len(literal) <= control:
                    raise BadLzf("expected literal bytes at the end, got fewer")
                out += literal
                at += control + 1
            else:
                length = control >> 5
                if length == 7:
                    length += data[at]
                    at += 1
                start = len(out) - ((control & 31) << 8) - data[at] - 1
                at += 1
                if start < 0:
                    raise BadLzf("expected a reference to earlier bytes, got one before the beginning")
                known = out[start : start + length + 2]
                out += (known * (length // len(known) + 3))[: length + 2]  # a reference may overlap what it makes
            if len(out) > size:
                raise BadLzf(f"expected {size} bytes, got more")
    except IndexError:
        raise BadLzf("expected a whole reference at the end, got a part of one") from None
    if len(out) != size:
        raise BadLzf(f"expected {size} bytes, got {len(out)}")
    return bytes(out)
