"""Retention: which jobs, versions and copies of versions the settings no longer keep, and their removal.

A job goes with its artifacts. Two kinds of jobs are always kept: unfinished ones, and those that a data set or another job depends on. The
current version of a model is always kept, and so is its predecessor, to which a rollback returns.
"""

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.jobs.disk import size_of
from service.jobs.records import UnknownJob, WrongState
from service.jobs.table import JobTable
from service.registry.versions import Version, Versions
from service.settings import Settings

DAY_S = 24 * 3600.0
ABANDONED_AFTER_S = (
    3600.0  # a folder of artifacts without a job is a leftover of a removal if it has not been modified for this long
)
JOB_FOLDER = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Removal:
    """An item that the settings no longer keep."""

    kind: Literal["job", "version", "copy", "leftover"]
    name: str
    bytes: int
    reason: str


class Retention:
    """The removals that the settings ask for. Methods raise StoreUnavailable, and StoreAway of the versions' store."""

    def __init__(self, settings: Settings, table: JobTable, versions: Versions) -> None:
        self._settings, self._table, self._versions = settings, table, versions

    def plan(self) -> list[Removal]:
        """Return everything that can be removed now."""
        return [*self._jobs(), *self._leftovers(), *self._published(), *self._copies()]

    def remove(self, removal: Removal) -> bool:
        """Remove one item; return False if it is in use by now, or gone."""
        if removal.kind == "leftover":
            shutil.rmtree(self._settings.jobs / removal.name, ignore_errors=True)
            return True
        if removal.kind == "job":
            try:
                remove_job(self._settings, self._table, removal.name)
            except (UnknownJob, WrongState):
                return False
            return True
        name, _, version = removal.name.partition("/")
        if removal.kind == "copy":
            return self._versions.remove_copy(name, version)
        return self._versions.remove(name, version)

    def _jobs(self) -> Iterator[Removal]:
        keep_days, keep, keep_bytes = (
            self._settings.keep_jobs_days,
            self._settings.keep_jobs,
            self._settings.keep_jobs_bytes,
        )
        total = 0
        for number, job in enumerate(self._table.removable(), start=1):  # the newest first
            size = size_of(self._settings.jobs / job.id)
            total += size
            age_days = (time.time() - (job.finished_at or job.created_at)) / DAY_S
            if keep_days is not None and age_days > keep_days:
                yield Removal("job", job.id, size, f"it finished {age_days:.0f} days ago, and {keep_days:g} are kept")
            elif keep is not None and number > keep:
                yield Removal("job", job.id, size, f"there are more than {keep} finished jobs")
            elif keep_bytes is not None and total > keep_bytes:
                yield Removal("job", job.id, size, f"newer jobs have more than {keep_bytes} bytes of artifacts")

    def _leftovers(self) -> Iterator[Removal]:
        """Yield the artifacts of jobs whose row was removed before a crash."""
        for folder in self._settings.jobs.glob("*"):
            if not JOB_FOLDER.fullmatch(folder.name) or time.time() - folder.stat().st_mtime < ABANDONED_AFTER_S:
                continue
            try:
                self._table.get(folder.name)
            except UnknownJob:
                yield Removal("leftover", folder.name, size_of(folder), "its job was removed")

    def _published(self) -> Iterator[Removal]:
        keep_days, keep = self._settings.keep_versions_days, self._settings.keep_versions
        if keep_days is None and keep is None:
            return
        for name, versions in self._versions.published().items():
            in_use = self._versions.in_use(name)
            for number, version in enumerate(versions, start=1):  # the newest first
                age_days = _age_days(version)
                full_name = f"{name}/{version.version}"
                if version.version in in_use:
                    continue
                if keep_days is not None and age_days is not None and age_days > keep_days:
                    reason = f"it is {age_days:.0f} days old, and {keep_days:g} are kept"
                    yield Removal("version", full_name, _bundle_bytes(version), reason)
                elif keep is not None and number > keep:
                    yield Removal("version", full_name, _bundle_bytes(version), f"{name} has more than {keep} versions")

    def _copies(self) -> Iterator[Removal]:
        keep_bytes, total = self._settings.keep_cache_bytes, 0
        copies = sorted(self._versions.copies(), key=lambda copy: _modified_at(copy[2]), reverse=True)
        for name, version, folder in copies:  # those fetched last first
            total += (size := size_of(folder))
            if keep_bytes is not None and total > keep_bytes and version not in self._versions.in_use(name):
                yield Removal("copy", f"{name}/{version}", size, f"newer copies have more than {keep_bytes} bytes")


def remove_job(settings: Settings, table: JobTable, job: str) -> None:
    """Remove a finished job and its children with their events and artifacts. Raises UnknownJob, WrongState."""
    for removed in table.remove(job):
        shutil.rmtree(settings.jobs / removed, ignore_errors=True)  # `_leftovers` finds what a crash or an error leaves


def total_bytes(removals: Iterable[Removal]) -> int:
    """Return the bytes that removals free."""
    return sum(removal.bytes for removal in removals)


def _modified_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _age_days(version: Version) -> float | None:
    return (time.time() - version.lineage.created_at) / DAY_S if version.lineage else None


def _bundle_bytes(version: Version) -> int:
    return sum(file.bytes for file in version.meta.files.values()) if version.meta else 0
