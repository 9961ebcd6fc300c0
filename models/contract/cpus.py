"""The number of CPUs that this process may use: its affinity mask and its cgroup's quota, not the machine's cores."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cpus(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the CPUs that the affinity mask and every enclosing cgroup (v1 or v2) allow, rounded up, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _folders(cgroups, membership) if (quota := _quota(folder)) is not None]
    return max(1, min([allowed, *map(math.ceil, quotas)]))


def _folders(cgroups: Path, membership: Path) -> list[Path]:
    """List the folders of this process's cgroup and of its ancestors; in a container the mount's root is its own cgroup."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = [cgroups] if not controllers else [cgroups / "cpu", cgroups / controllers]
        inner = Path(path.lstrip("/"))
        folders += [root / ancestor for root in roots for ancestor in (inner, *inner.parents)]
    return folders


def _quota(folder: Path) -> float | None:
    """Read a cgroup's quota in CPUs; None if it has none."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
