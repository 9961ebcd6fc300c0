"""What jobs leave on disk: <root>/<job>/<attempt>/, a folder an attempt, so that no attempt writes into another's.

A new attempt begins with a copy of the one before: what that one may still be writing, if it is not as dead as it seems,
is then nobody's business any more.
"""

import shutil
from pathlib import Path

LINES = ".jsonl"
SKIPPED = "events.out.tfevents"  # what TensorBoard reads is drawn anew; the curve is in history.jsonl
FIRST = (
    "last.ckpt"  # copied before the others: a best.ckpt newer than it is reached again, an older one would be missed
)


def folder_of(root: Path, job: str, attempt: int) -> Path:
    return root / job / str(attempt)


def begin(root: Path, job: str, attempt: int) -> Path:
    """The folder of a new attempt, with what the last one before it left: there whole, or not at all."""
    folder = folder_of(root, job, attempt)
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    before = max((number for number in _attempts(root / job) if number < attempt), default=None)
    if before is not None:
        _copy(folder_of(root, job, before) / "runs", part / "runs")
    part.rename(folder)
    return folder


def forget_before(root: Path, job: str, attempt: int) -> None:
    """Remove what earlier attempts left."""
    for number in _attempts(root / job):
        if number < attempt:
            shutil.rmtree(folder_of(root, job, number), ignore_errors=True)


def files(root: Path, job: str, attempt: int) -> dict[str, Path]:
    """What an attempt has made, by name: files that are whole, inside its folder, and no links."""
    folder = folder_of(root, job, attempt)
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix != ".part":
            found[path.relative_to(folder).as_posix()] = path
    return found


def _attempts(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    wanted = [path for path in source.rglob("*") if path.is_file() and not path.name.startswith(SKIPPED)]
    for path in sorted(wanted, key=lambda path: (path.parent, path.name != FIRST, path.name)):
        if path.suffix != ".part":
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            if path.suffix == LINES:  # a full disk, or a writer that is not dead, may leave half a line at its end
                copy.write_text("".join(line for line in copy.read_text().splitlines(True) if line.endswith("\n")))
