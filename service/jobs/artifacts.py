"""Artifacts of jobs: one folder an attempt, <root>/<job>/<attempt>/, so that no attempt writes into another's.

A new attempt starts from a copy of the previous one's checkpoints, so a previous attempt that is still writing cannot disturb it.
"""

import shutil
from pathlib import Path

LINES = ".jsonl"
SKIPPED = "events.out.tfevents"  # TensorBoard's files; the same values are in history.jsonl
# Copied before the others: training reaches a best.ckpt that is newer than last.ckpt again, but never one that is older.
FIRST = "last.ckpt"


def folder_of(root: Path, job: str, attempt: int) -> Path:
    """Return the folder of an attempt, which may not exist."""
    return root / job / str(attempt)


def begin(root: Path, job: str, attempt: int) -> Path:
    """Create the folder of a new attempt with a copy of the previous attempt's runs, completely or not at all."""
    folder = folder_of(root, job, attempt)
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    previous = max((number for number in _attempts(root / job) if number < attempt), default=None)
    if previous is not None:
        _copy(folder_of(root, job, previous) / "runs", part / "runs")
    part.rename(folder)
    return folder


def remove_before(root: Path, job: str, attempt: int) -> None:
    """Delete the folders of earlier attempts."""
    for number in _attempts(root / job):
        if number < attempt:
            shutil.rmtree(folder_of(root, job, number), ignore_errors=True)


def mark_released(root: Path, job: str, attempt: int, released: bool = True) -> None:
    """Leave a note that an attempt's worker is not lost, for when the job table cannot be told, or remove the note."""
    (root / job).mkdir(parents=True, exist_ok=True)
    if released:
        _released(root, job, attempt).touch()
    else:
        _released(root, job, attempt).unlink(missing_ok=True)


def was_released(root: Path, job: str, attempt: int) -> bool:
    """Return whether `mark_released` has left a note about an attempt."""
    return _released(root, job, attempt).is_file()


def files(root: Path, job: str, attempt: int) -> dict[str, Path]:
    """Return the complete files of an attempt by their relative path, without links and files that are being written."""
    folder = folder_of(root, job, attempt)
    files_by_name = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix != ".part":
            files_by_name[path.relative_to(folder).as_posix()] = path
    return files_by_name


def _released(root: Path, job: str, attempt: int) -> Path:
    return root / job / f"{attempt}.released"


def _attempts(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    paths = [path for path in source.rglob("*") if path.is_file() and not path.name.startswith(SKIPPED)]
    for path in sorted(paths, key=lambda path: (path.parent, path.name != FIRST, path.name)):
        if path.suffix != ".part":
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            if path.suffix == LINES:  # a full disk or a concurrent writer may leave an incomplete last line
                copy.write_text("".join(line for line in copy.read_text().splitlines(True) if line.endswith("\n")))
