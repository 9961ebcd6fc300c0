"""Tests of docs/symmetry.md: it lists every network with symmetries that a law holds, and its tables are those that were measured."""

import re
from collections import defaultdict
from pathlib import Path

from laws import TABLES, networks

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/symmetry.md").read_text()
MEASURED = (ROOT / "benchmarks/results/symmetry.md").read_text()
ROW = r"^\| `(\w+)` \| (.+?) \| .+? \| .+? \| `(\S+)` \|$"


def listed(page: str) -> dict[str, set[str]]:
    """Return the symmetries of each network on the page."""
    return {name: set(symmetries.split(", ")) for name, symmetries, _ in re.findall(ROW, page, re.MULTILINE)}


def wrong(page: str) -> set[str]:
    """Return the networks that are not on the page, are there and do not exist, or have symmetries there that no law of theirs has."""
    held = defaultdict(list)
    for table in TABLES:
        for law in table.values():
            held[type(law.build()).__name__].append(set(law.keeps))
    exist, printed = {cls.__name__ for cls in networks()}, listed(page)
    return exist ^ set(printed) | {name for name in exist & set(printed) if printed[name] not in held[name]}


def test_the_page_lists_every_network_with_symmetries_of_the_table_of_laws():
    assert wrong(PAGE) == set()


def test_a_network_that_is_missing_or_claims_too_much_is_detected():
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `SE3UNet` |"))
    more = row.replace("rotation", "rotation, mirror-swap")
    assert wrong(PAGE.replace(row + "\n", "")) == {"SE3UNet"}
    assert wrong(PAGE.replace(row, more)) == {"SE3UNet"}
    assert wrong(PAGE.replace(row, row.replace("SE3UNet", "SE4UNet"))) == {"SE3UNet", "SE4UNet"}


def test_the_tests_that_hold_the_symmetries_exist():
    tests = {test for _, _, test in re.findall(ROW, PAGE, re.MULTILINE)}
    assert tests
    assert {test for test in tests if not (ROOT / test).is_file()} == set()


def test_the_tables_of_the_page_are_those_that_were_measured():
    for table in MEASURED.strip().split("\n\n"):
        assert table in PAGE


def test_the_pictures_of_the_page_are_small():
    pictures = list(ROOT.glob("docs/symmetry*.png"))
    assert len(pictures) == 4
    assert {path.name for path in pictures if path.stat().st_size >= 150 * 1024} == set()
