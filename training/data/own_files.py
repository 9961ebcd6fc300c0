"""The files of a data set of one's own: which they are, and the digest of them all."""

import hashlib
from pathlib import Path

from training.data.declaration import FILE
from training.data.reading import MalformedData

MAX_FILES = 100_000


def recording_files(folder: Path, suffixes: tuple[str, ...], apart: tuple[str, ...] = ()) -> list[Path]:
    """Return the files of a set that end in one of `suffixes`, sorted, without its declaration and what is `apart`.

    Raises MalformedData for none, and for too many.
    """
    others = [folder / name for name in (FILE, *apart)]
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes and path.is_file() and path not in others
    ]
    if not found or len(found) > MAX_FILES:
        raise MalformedData(
            f"{folder}: expected 1 to {MAX_FILES:,} recordings ({', '.join(suffixes)}) beside {FILE}, got {len(found)}"
        )
    return found


def name_in(folder: Path, path: Path) -> str:
    """Return the name of a recording: its place in the folder."""
    return path.relative_to(folder).as_posix()


def digest_of(folder: Path, deciding: str, files: list[Path]) -> str:
    """Return the SHA-256 over what a declaration decides, and over the names and contents of files."""
    total = hashlib.sha256(deciding.encode())
    for path in files:
        with path.open("rb") as content:
            total.update(f"\n{name_in(folder, path)}:{hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    return total.hexdigest()
