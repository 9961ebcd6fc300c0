"""Fixtures of all tests: the folder of real data and fixed random numbers; and an order that keeps all processes busy."""

import os
import sys
from pathlib import Path

import pytest

from models.contract.cpus import usable_cpus

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: on a busy machine two threads are slower

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are processors: a test that runs a server waits more than it computes."""
    return usable_cpus() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each process its share of the modules marked `long(seconds)`, at its beginning: none begins when the others have finished.

    pytest-xdist hands each process an equal part of the list, in order; one that has finished takes from the end of another's part.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    shares: list[list[pytest.Item]] = [[] for _ in range(count)]
    seconds = [0.0] * count
    modules: dict[Path, list[pytest.Item]] = {}
    short: list[pytest.Item] = []
    for item in items:
        (modules.setdefault(item.path, []) if item.get_closest_marker("long") else short).append(item)
    for module in sorted(modules.values(), key=_seconds, reverse=True):
        least = seconds.index(min(seconds))
        shares[least] += module
        seconds[least] += _seconds(module)
    left = len(items)
    for number, share in enumerate(shares):
        size = left // (
            count - number
        )  # as pytest-xdist rounds: or a share's first test would be the last of the one before
        left -= size
        missing = max(0, size - len(share))
        share += short[:missing]
        del short[:missing]
    items[:] = [item for share in shares for item in share] + short


def _seconds(module: list[pytest.Item]) -> float:
    marker = module[0].get_closest_marker("long")
    assert marker is not None
    return marker.args[0]


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Seed torch, so that a test's random numbers do not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real recordings: CHIRON_DATA, or ../shared/data beside the checkout.

    A test that needs it is skipped, with the reason, if the folder is missing. With CHIRON_REQUIRE_DATA=1 it fails instead, so that an
    integration run cannot pass by skipping.
    """
    folder = Path(os.environ.get("CHIRON_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (folder / "hands" / "splits.json").is_file():
        reason = f"no real data: {folder} has no hands/splits.json; set CHIRON_DATA to the folder that has it"
        if os.environ.get("CHIRON_REQUIRE_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
