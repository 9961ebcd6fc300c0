"""Tests of untrusted .zip files: false sizes, large directories, and damage."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from service.jobs import archives
from service.jobs.archives import END, END64, ENTRY, MAX_FILES, ArchiveRefused, unpack

EMPTY_ENTRY = ENTRY + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"


def zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def directory_alone(entries: int, stated: int) -> bytes:
    """Return an archive of `entries` entries without files, whose end record states another number."""
    end = END.pack(b"PK\x05\x06", 0, 0, min(stated, 0xFFFF), min(stated, 0xFFFF), entries * len(EMPTY_ENTRY), 0, 0)
    return EMPTY_ENTRY * entries + end


def test_a_file_larger_than_its_entry_states_is_refused(tmp_path):
    packed = bytearray(zipped({"a.txt": b"0123456789" * 20}))
    for at in (packed.index(b"PK\x01\x02") + 24, packed.index(b"PK\x03\x04") + 22):
        packed[at : at + 4] = (50).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(packed)
    with pytest.raises(archives.ArchiveRefused):
        archives.unpack(tmp_path / "a.zip", tmp_path / "out", 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    ("entries", "stated", "message"),
    [
        (MAX_FILES + 1, MAX_FILES + 1, f"expected at most {MAX_FILES} entries, got {MAX_FILES + 1}"),
        (MAX_FILES + 1, 3, f"expected at most {MAX_FILES} entries, got more"),
        (300_000, 3, "expected a directory of at most"),
    ],
    ids=["too many are stated", "fewer are stated", "far fewer are stated"],
)
def test_a_directory_of_too_many_entries_is_refused_before_it_is_read(tmp_path, entries, stated, message):
    (tmp_path / "a.zip").write_bytes(directory_alone(entries, stated))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveRefused, match=message):
            unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 3e6, (
            "expected no object for each entry, which would take more than 4 MB"
        )
    finally:
        tracemalloc.stop()


def test_the_zip64_record_of_a_large_archive_is_read(tmp_path):
    end = END64.pack(b"PK\x06\x06", END64.size - 12, 45, 45, 0, 0, 10**6, 10**6, 47 * 10**6, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    last = END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "a.zip").write_bytes(end + locator + last)
    with pytest.raises(ArchiveRefused, match="got 1000000"):
        unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 30)


def test_an_archive_at_its_limits_is_unpacked(tmp_path: Path, monkeypatch):
    content = {f"{'n' * 190}{number:04}.txt": b"" for number in range(1000)}
    monkeypatch.setattr(archives, "MAX_FILES", 1000)
    (tmp_path / "a.zip").write_bytes(zipped(content))
    unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 30)
    assert len(list((tmp_path / "out").iterdir())) == 1000


def overwritten(at: int, new: bytes) -> bytes:
    """Return an archive of one file with some of its bytes overwritten."""
    packed = zipped({"a.txt": b"0123456789" * 20})
    return packed[:at] + new + packed[at + len(new) :]


ENTRY_AT = zipped({"a.txt": b"0123456789" * 20}).index(ENTRY)
DAMAGED = {
    "no name": overwritten(ENTRY_AT + 28, bytes(2)),
    "contents that cannot be inflated": overwritten(35, b"\xff" * 4),
    "a file before the archive": overwritten(ENTRY_AT + 42, b"\xf0\xff\xff\x7f"),
    "a name longer than a file system takes": zipped({f"{'é' * 150}.txt": b"0"}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_refused_completely(tmp_path: Path, name: str):
    (tmp_path / "a.zip").write_bytes(DAMAGED[name])
    with pytest.raises(ArchiveRefused):
        unpack(tmp_path / "a.zip", tmp_path / "out", 1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
