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
    """Sort the modules marked `long` to the front, so that none of them begins when the other processes have finished."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


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
