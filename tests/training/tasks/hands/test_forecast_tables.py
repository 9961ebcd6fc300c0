"""Tests of the tables of the shipped hand forecaster: ratios to the best baseline of each row, and which rows count in the means."""

import pytest

from training.tasks.hands.forecast_tables import LEAST, RUN, early_table, errors_table
from training.tasks.hands.report import BASELINES, Report, Row


def row(source: str, model: str, mm: float, windows: int = LEAST) -> Row:
    at: dict[str, float] = dict.fromkeys(("33 ms", "67 ms", "100 ms"), mm / 10)
    return Row(source, 1, model, mm, at, [mm], 0.0, None, {}, windows, 2, {"100 ms": mm / 20})


def report(**own: float) -> Report:
    rows = [
        row(source, name, 10.0 + i, 5 if source == "leap_playground" else LEAST)
        for source in own
        for i, name in enumerate(BASELINES)
    ]
    rows += [row(source, RUN, mm, 5 if source == "leap_playground" else LEAST) for source, mm in own.items()]
    return Report("test", "30+30@30", 30.0, rows)


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {row[0]: row for row in rows}


def test_errors_are_a_mean_over_seeds_beside_the_best_baseline_and_few_windows_do_not_count():
    found = cells(errors_table([
        report(leap=9.0, leap_playground=1.0, manipnet=12.0),
        report(leap=8.0, leap_playground=1.0, manipnet=10.0),
    ]))  # fmt: skip
    assert found["leap"][-2:] == ["8.5 ± 0.5", "-15.0 %"]
    assert found["leap"][4] == "**10.0**"
    assert found["leap_playground"][-1] == "-90.0 %"
    assert found["mean, trained on"][-1] == "-15.0 %"
    assert found["mean, zero-shot"][-1] == "+10.0 %"


def test_a_table_of_some_sources_has_their_rows_alone():
    found = cells(errors_table([report(leap=9.0, manipnet=12.0)], ("manipnet",)))
    assert [name for name in found if not name.startswith("-")] == ["30+30@30, test, mm", "manipnet"]


def test_the_first_frames_are_compared_with_the_best_baseline_of_each():
    found = cells(early_table([report(leap=9.0, leap_playground=1.0), report(leap=7.0, leap_playground=1.0)]))
    assert found["leap"][2:] == [*["0.80 / 1.00 (hold)"] * 3, "0.5 / 0.6"]
    assert found["mean"][2:5] == ["-20.0 %"] * 3


@pytest.mark.parametrize("table", [errors_table, early_table])
def test_every_line_has_as_many_cells_as_the_header(table):
    assert len({len(row) for row in cells(table([report(leap=9.0, manipnet=11.0)])).values()}) == 1
