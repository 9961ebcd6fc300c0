"""Tests of the cost of faults: faults make a forecast worse, a filled past serves a forecaster that must see everything."""

from pathlib import Path

import numpy as np
import pytest
import torch
from laws import hand_motion
from synthetic_hands import LONG, write_hands

from models.contract.task import HandForecast
from models.forecast.linear import LinearForecast, constant_velocity
from training.tasks.hands.data import HandBatches, HandData
from training.tasks.hands.robustness import FAULTS, PASTS, Cost, Filled, costs, table
from training.tasks.hands.windows import Window

TASK = HandForecast(past=12, future=4, fps=30)


def constant() -> Filled:
    return Filled(LinearForecast(TASK, constant_velocity(TASK)), TASK.past)


def test_a_forecaster_that_must_see_everything_gets_what_it_did_not_see_filled():
    past = torch.from_numpy(hand_motion(12, 21).astype(np.float32))
    seen = torch.ones(2, 12, 21)
    with torch.no_grad():
        whole = constant()(past, seen)
        torch.testing.assert_close(whole, LinearForecast(TASK, constant_velocity(TASK))(past))
        seen[:, 4:7] = 0
        torch.testing.assert_close(constant()(past, seen), whole)
        seen[:, -2:] = 0
        assert (constant()(past, seen) - whole).abs().max() > 1e-3


def test_every_fault_and_short_past_is_measured_and_jitter_costs(tmp_path: Path):
    data = HandData(("leap", "tzionas"), Window(12, 4, 30), masked=True)
    batches = HandBatches(data, write_hands(tmp_path, LONG) / "hands")
    found = costs({"constant": constant()}, batches, data.sources, "test", 5)
    of = {(cost.source, cost.hands, cost.fault): cost.error_mm["constant"] for cost in found}
    pairs = {(cost.source, cost.hands) for cost in found}
    assert pairs == {("leap", 2), ("leap", 1), ("tzionas", 2)}
    assert len(found) == 3 * (len(FAULTS) + len(PASTS)) - 1  # one hand alone is not lost
    for source, hands in pairs:
        errors = [of[source, hands, fault] for fault in ("nothing", "1 mm of jitter", "2 mm of jitter")]
        assert errors == sorted(errors)
        assert of[source, hands, "the last 2 frames alone"] == pytest.approx(errors[0])
    assert all(np.isfinite(error) for error in of.values())


def test_the_table_divides_by_the_first_models_error_without_faults():
    found = [
        Cost("leap", 1, "nothing", {"a": 10.0, "b": 12.0}),
        Cost("leap", 2, "nothing", {"a": 5.0, "b": 5.0}),
        Cost("leap", 1, "jitter", {"a": 15.0, "b": 20.0}),
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(found).splitlines()]
    assert rows[2:] == [["nothing", "2", "1.00", "1.10"], ["jitter", "1", "1.50", "2.00"]]
