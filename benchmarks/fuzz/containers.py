"""Mutations inside containers, with checksums and lengths corrected afterwards."""

import gzip
import io
import json
import struct
import zipfile
from random import Random
from typing import Any

from benchmarks.fuzz.mutation import mutate

MAX_NAME = 10_000  # of a damaged member; a .zip holds 65535 bytes of UTF-8
STRANGE: tuple[Any, ...] = (None, True, -1, 0, 1, 2**31, 2**63, 1e308, "", "a", [], {}, [[]], [0], {"a": 1})


def members(rng: Random, data: bytes) -> bytes:
    """Damage one member of a .zip or its name, and pack it again."""
    contents = unzipped(data)
    name = rng.choice(list(contents))
    if rng.random() < 0.2:
        contents[mutate(rng, name.encode()).decode("latin-1")[:MAX_NAME]] = contents.pop(name)
    else:
        contents[name] = mutate(rng, contents[name])
    return zipped(contents, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def unzipped(data: bytes) -> dict[str, bytes]:
    """Return the members of a .zip by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Write a .zip."""
    with zipfile.ZipFile(file := io.BytesIO(), "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def inside_gzip(rng: Random, data: bytes) -> bytes:
    """Damage what a gzip file holds, and compress it again."""
    return gzip.compress(mutate(rng, gzip.decompress(data)), mtime=0)


def values(rng: Random, data: bytes) -> bytes:
    """Change one to three values of a JSON document, remove them, or repeat them."""
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        document = _changed(rng, document)
    return json.dumps(document).encode()


def _changed(rng: Random, value: Any) -> Any:
    """Return the value with a random change in it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.1:
            return [*value[:at], *value[at + 1 :]]
        if rng.random() < 0.1:
            return [*value[:at], *[value[at]] * rng.choice((2, 10, 100)), *value[at + 1 :]]
        return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    return rng.choice(STRANGE)


def gltf_chunks(rng: Random, data: bytes) -> bytes:
    """Damage the document or the buffer of a .glb; write it with correct lengths."""
    (size,) = struct.unpack_from("<I", data, 12)
    text, buffer = data[20 : 20 + size], data[28 + size :]
    text, buffer = (values(rng, text), buffer) if rng.random() < 0.8 else (text, mutate(rng, buffer))
    text += b" " * (-len(text) % 4)
    body = struct.pack("<2I", len(text), 0x4E4F534A) + text + struct.pack("<2I", len(buffer), 0x004E4942) + buffer
    return b"glTF" + struct.pack("<2I", 2, 12 + len(body)) + body
