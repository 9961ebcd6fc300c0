"""Tests of the tables of the first 100 ms: every figure stands beside the best baseline of its row, and few frames do not count."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.tasks.hands.forecast_tables import EARLY
from training.tasks.hands.latency_tables import LEAST, RUN, SHIPPED, Shipped, model_table, source_table
from training.tasks.hands.report import BASELINES, Report, Row

BUNDLE = Path(__file__).resolve().parents[4] / "bundles" / SHIPPED


def row(source: str, model: str, mm: float, windows: int) -> Row:
    at: dict[str, float] = {name: mm * (i + 1) for i, name in enumerate(EARLY)}
    return Row(source, 1, model, mm, at, [mm], 0.0, None, {}, windows, 2, {"100 ms": mm / 2})


def report(**own: float) -> Report:
    models = {**{name: 10.0 + i for i, name in enumerate(BASELINES)}, SHIPPED: 12.0}
    rows: list[Row] = []
    for source, mm in own.items():
        windows = 5 if source == "leap_playground" else LEAST
        rows += [row(source, name, value, windows) for name, value in {**models, RUN: mm}.items()]
    return Report("test", "24+6@60", 60.0, rows)


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert len({len(cells) for cells in rows}) == 1
    return {row[0]: row for row in rows}


def test_each_horizon_has_the_mean_over_seeds_beside_the_shipped_model_and_the_best_baseline():
    found = cells(source_table("60 Hz", [report(leap=9.0), report(leap=7.0)]))["leap"]
    assert found[4:7] == ["8.00 / 12.00 / 10.00 (hold)", "16.00 / 24.00 / 20.00 (hold)", "24.00 / 36.00 / 30.00 (hold)"]
    assert found[7] == "4.5 / 6.0 / 5.5"


def test_means_are_over_rows_with_enough_frames_and_apart_for_sources_not_trained_on():
    reports = [report(leap=9.0, manipnet=11.0, leap_playground=1.0), report(leap=7.0, manipnet=9.0, leap_playground=1)]
    found = cells(model_table("60 Hz", reports))
    assert found[RUN][1:] == ["-10.0 %", "-10.0 %", "-10.0 %", "-20.0 %", "+0.0 %", "82 %"]
    assert found["hold"][1:] == [*["+0.0 %"] * 5, "91 %"]
    assert found[SHIPPED][1] == "+20.0 %"


@pytest.mark.parametrize("table", [source_table, model_table])
def test_every_line_has_as_many_cells_as_the_header(table):
    assert len(cells(table("60 Hz", [report(leap=9.0)]))) > 1


def test_a_shipped_forecaster_repeats_the_example_of_its_bundle():
    example = {name: torch.from_numpy(x) for name, x in np.load(BUNDLE / "example.npz").items()}
    answer = Shipped(BUNDLE)(example["in_past"], example["in_seen"])
    torch.testing.assert_close(answer, example["out_future"], atol=1e-5, rtol=0.0)
