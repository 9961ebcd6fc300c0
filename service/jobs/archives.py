"""Untrusted archives: unpacks a .zip into a folder if it contains only plain files of bounded size.

No claim of the archive about itself is trusted: names are checked before a file is created, and sizes again while it is written. The loader
checks the contents of the files and unpickles nothing.
"""

import errno
import io
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

# The formats of the loaders, and text. Not .pkl: only Kinetics' labels are pickles, and that data set (30 GB) is registered as a folder.
SCANS = (".ply", ".obj", ".stl", ".off", ".glb", ".gltf", ".pcd", ".xyz", ".asc", ".pts")
SUFFIXES = (".npz", ".npy", ".json", ".jsonl", ".ndjson", ".csv", ".mat", ".bvh", ".c3d", *SCANS, ".txt", ".md")
MAX_FILES, MAX_DEPTH, MAX_NAME, MAX_RATIO = 10_000, 8, 200, 500
MAX_DIRECTORY_BYTES = MAX_FILES * 512  # an entry has 46 bytes, a name, and 20 to 60 bytes of extra fields
ENTRY = b"PK\x01\x02"
END = struct.Struct("<4s4H2LH")  # signature, 2 x disk, entries here, entries, bytes, offset, comment; APPNOTE 4.3.16
END64 = struct.Struct(
    "<4sQ2H2L4Q"
)  # signature, size, 2 x version, 2 x disk, entries here, entries, bytes, offset; APPNOTE 4.3.14
LOCATOR64_BYTES, MAX_COMMENT_BYTES = 20, 0xFFFF
CHUNK = 1 << 20
MALFORMED = (  # zipfile raises NotImplementedError for unsupported compression and RuntimeError for an encrypted entry
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, OverflowError, ValueError),
)


class ArchiveRefused(ValueError):
    """An archive that was not unpacked; the message gives the reason."""


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack `archive` into the new `folder`, completely or not at all. Raises ArchiveRefused."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _check_end(archive)
        with _LimitedFile(io.FileIO(archive)) as file, zipfile.ZipFile(file) as content:
            members = _checked(content.infolist(), max_bytes)
            for path, member in members.items():
                target = part / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(content, member, target)
        part.rename(folder)
    except ArchiveRefused:
        raise
    except MALFORMED as error:
        raise ArchiveRefused(f"not a complete .zip file: {str(error)[:200]}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # zipfile seeks to an impossible offset; other errors are the disk's
            raise
        raise ArchiveRefused("not a complete .zip file: an entry is outside it") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_end(archive: Path) -> None:
    """Refuse an archive whose end record states too many entries, before its directory is read."""
    with archive.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - END.size - MAX_COMMENT_BYTES - LOCATOR64_BYTES - END64.size))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + END.size > len(tail):
        return  # not a .zip, which zipfile reports
    _, _, _, _, entries, directory_bytes, _, _ = END.unpack_from(tail, at)
    at64 = at - LOCATOR64_BYTES - END64.size
    if at64 >= 0 and tail[at64 : at64 + 4] == b"PK\x06\x06":
        *_, entries, directory_bytes, _ = END64.unpack_from(tail, at64)
    if entries > MAX_FILES:
        raise ArchiveRefused(f"expected at most {MAX_FILES} entries, got {entries}")
    _check_directory_bytes(directory_bytes)


def _check_directory_bytes(size: int) -> None:
    if size > MAX_DIRECTORY_BYTES:
        raise ArchiveRefused(f"expected a directory of at most {MAX_DIRECTORY_BYTES} bytes, got {size}")


class _LimitedFile(io.BufferedReader):
    """An archive whose directory is refused if it has too many entries, whatever the end record states.

    zipfile reads the directory at once and makes an object of each entry; it reads files in small pieces.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        _check_directory_bytes(size or 0)
        content = super().read(size)
        if content.count(ENTRY) > MAX_FILES:
            raise ArchiveRefused(f"expected at most {MAX_FILES} entries, got more")
        return content


def _checked(members: list[zipfile.ZipInfo], max_bytes: int) -> dict[PurePosixPath, zipfile.ZipInfo]:
    if len(members) > MAX_FILES:
        raise ArchiveRefused(f"expected at most {MAX_FILES} entries, got {len(members)}")
    if (total := sum(member.file_size for member in members)) > max_bytes:
        raise ArchiveRefused(f"expected at most {max_bytes} bytes unpacked, got {total}")
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in members:
        name = member.filename
        path = PurePosixPath(name)
        shown = repr(name[:80])
        if (
            not name
            or not name.isprintable()
            or "\\" in name
            or ":" in name
            or path.is_absolute()
            or ".." in path.parts
        ):
            raise ArchiveRefused(f"{shown} is not a plain relative path")
        if len(name.encode()) > MAX_NAME or len(path.parts) > MAX_DEPTH:
            raise ArchiveRefused(f"{shown}: expected at most {MAX_NAME} bytes and {MAX_DEPTH} levels of folders")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveRefused(f"{shown} is a link or a device; send plain files")
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            raise ArchiveRefused(f"{shown} is encrypted; send it unencrypted")
        if path.suffix.lower() not in SUFFIXES:
            raise ArchiveRefused(f"{shown}: expected one of {', '.join(SUFFIXES)}; pickles are never accepted")
        if member.file_size > MAX_RATIO * max(member.compress_size, 1):
            packed = f"{member.compress_size} packed bytes"
            raise ArchiveRefused(f"{shown} expands {packed} to {member.file_size}; the limit is {MAX_RATIO} times")
        if path in files:
            raise ArchiveRefused(f"{shown} occurs twice")
        files[path] = member
    if inside := next((path for path in files if any(parent in files for parent in path.parents)), None):
        raise ArchiveRefused(f"{str(inside)[:80]!r} is inside another file of the archive")
    if not files:
        raise ArchiveRefused("expected at least one file, got none")
    return files


def _write(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    left = member.file_size
    with content.open(member) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ArchiveRefused(f"{member.filename[:80]!r} is larger than its entry states")
            file.write(chunk)
