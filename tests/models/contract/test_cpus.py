"""Tests of the CPUs that a process may use: its affinity mask, and the quota of its cgroup or of an enclosing one."""

import os
from pathlib import Path

import pytest

from models.contract.cpus import usable_cpus

V2 = "0::/docker/abc\n"
V1 = "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.fixture
def eight_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def usable(folder: Path, membership: str, files: dict[str, str]) -> int:
    (folder / "membership").write_text(membership)
    for name, content in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return usable_cpus(folder / "cgroup", folder / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V2, {"cpu.max": "200000 100000\n"}, 2),  # in a container, the root of the mount is the container's cgroup
        (V2, {"docker/abc/cpu.max": "150000 100000\n"}, 2),
        (V2, {"docker/abc/cpu.max": "50000 100000\n"}, 1),
        (V2, {"docker/abc/cpu.max": "max 100000\n", "docker/cpu.max": "300000 100000\n"}, 3),
        (V2, {"docker/abc/cpu.max": "max 100000\n"}, 8),
        (V2, {"docker/abc/cpu.max": "1600000 100000\n"}, 8),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (
            V1,
            {"cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "200000", "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000"},
            2,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        (V2, {"cpu.max": "nonsense\n"}, 8),
        ("", {}, 8),
    ],
)
def test_the_smallest_limit_applies(tmp_path: Path, eight_cpus, membership: str, files: dict[str, str], expected: int):
    assert usable(tmp_path, membership, files) == expected


def test_without_cgroups_the_affinity_mask_applies(tmp_path: Path, eight_cpus):
    assert usable_cpus(tmp_path / "none", tmp_path / "none") == 8
