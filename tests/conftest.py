"""Where the tests find real data."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: on a busy machine two threads are slower

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def same_noise() -> None:
    """What torch draws in a test does not depend on the tests before it. Where torch is not imported yet nothing was drawn."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real recordings: CHIRON_DATA, or ../shared/data beside the checkout.

    Without it a test skips and says why; with CHIRON_REQUIRE_DATA=1 it fails, so that an integration run cannot pass by
    skipping.
    """
    folder = Path(os.environ.get("CHIRON_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (folder / "hands" / "splits.json").is_file():
        reason = f"no real data: {folder} has no hands/splits.json; set CHIRON_DATA to the folder that holds it"
        if os.environ.get("CHIRON_REQUIRE_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
