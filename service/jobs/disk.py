"""The disk of the state folder: what is on it, and whether new work still fits."""

import os
import shutil
from pathlib import Path

from service.settings import Settings


class DiskLow(Exception):
    """A disk with less free space than the operator wants; new jobs and uploads are refused."""


def free_bytes(settings: Settings) -> int:
    """Return the free bytes on the disk of the state folder, which need not exist yet."""
    folder = settings.state.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(settings: Settings) -> None:
    """Raise DiskLow if the disk of the state folder has less free space than CHIRON_MIN_FREE_BYTES."""
    free = free_bytes(settings)
    if free < settings.min_free_bytes:
        advice = "`chiron prune` lists what can be removed; CHIRON_MIN_FREE_BYTES sets the limit"
        raise DiskLow(f"expected {settings.min_free_bytes} free bytes on the server's disk, got {free}; {advice}")


def usage(settings: Settings) -> dict[str, int]:
    """Return the bytes of jobs, data sets, versions, and copies of versions. This reads every folder."""
    folders = {
        "jobs": settings.jobs,
        "datasets": settings.datasets,
        "models": settings.versions,
        "cache": settings.versions_cache,
    }
    return {name: size_of(folder) for name, folder in folders.items()}


def size_of(path: Path) -> int:
    """Return the bytes of all files in a folder, or of a file; 0 if there is nothing."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # removed meanwhile
                continue
    return total
