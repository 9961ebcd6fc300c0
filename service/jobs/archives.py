"""Archives from strangers: a .zip unpacked into a folder, if it is nothing but plain files of a decent size.

Nothing that an archive says of itself is believed: names are checked before a file is made, sizes again while it is
written. What the files hold is for the loader to say, and it unpickles nothing.
"""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

# What the loaders read, and words. No .pkl: the one loader that reads any, Kinetics' labels', does so with arrays of 30 GB beside it, which
# come as a folder.
SUFFIXES = (".npz", ".npy", ".json", ".csv", ".mat", ".ply", ".obj", ".txt", ".md")
MAX_FILES, MAX_DEPTH, MAX_NAME, MAX_RATIO = 10_000, 8, 200, 500
CHUNK = 1 << 20


class ArchiveRefused(ValueError):
    """An archive that is not unpacked; the message says why."""


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack `archive` into the new `folder`, whole or not at all. Raises ArchiveRefused."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as content:
            members = _checked(content.infolist(), max_bytes)
            for path, member in members.items():
                target = part / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(content, member, target)
        part.rename(folder)
    # zipfile's NotImplementedError: a compression that it has not; its RuntimeError: an encrypted entry
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ArchiveRefused(f"it is no whole .zip: {str(error)[:200]}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _checked(members: list[zipfile.ZipInfo], max_bytes: int) -> dict[PurePosixPath, zipfile.ZipInfo]:
    if len(members) > MAX_FILES:
        raise ArchiveRefused(f"it has {len(members)} entries; at most {MAX_FILES} are taken")
    if (total := sum(member.file_size for member in members)) > max_bytes:
        raise ArchiveRefused(f"it unpacks to {total} bytes; at most {max_bytes} are taken")
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in members:
        name = member.filename
        path = PurePosixPath(name)
        shown = repr(name[:80])
        if not name.isprintable() or "\\" in name or ":" in name or path.is_absolute() or ".." in path.parts:
            raise ArchiveRefused(f"{shown} is no plain path inside it")
        if len(name) > MAX_NAME or len(path.parts) > MAX_DEPTH:
            raise ArchiveRefused(f"{shown} is too long, or too deep")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveRefused(f"{shown} is a link or a device; files are taken")
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            raise ArchiveRefused(f"{shown} is encrypted")
        if path.suffix.lower() not in SUFFIXES:
            raise ArchiveRefused(f"{shown} is none of {', '.join(SUFFIXES)}; pickles least of all")
        if member.file_size > MAX_RATIO * max(member.compress_size, 1):
            raise ArchiveRefused(f"{shown} unpacks to {member.file_size} bytes out of {member.compress_size}")
        if path in files:
            raise ArchiveRefused(f"{shown} is in it twice")
        files[path] = member
    if inside := next((path for path in files if any(parent in files for parent in path.parents)), None):
        raise ArchiveRefused(f"{str(inside)[:80]!r} is inside what is a file")
    if not files:
        raise ArchiveRefused("it has no files")
    return files


def _write(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    left = member.file_size
    with content.open(member) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ArchiveRefused(f"{member.filename[:80]!r} is larger than it says")
            file.write(chunk)
