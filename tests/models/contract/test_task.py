"""Tests of the task of hand forecasters, and of the check of tensors against a task."""

import numpy as np
import pytest
from pydantic import ValidationError

from models.contract.task import HandForecast, check_inputs, check_outputs, moves
from models.contract.tensor import WrongShape

TASK = HandForecast(past=10, future=5, fps=30, modes=2)


def past(*shape: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    return {"past": np.zeros(shape, dtype)}


def test_a_task_specifies_its_tensors_and_its_horizon():
    assert TASK.inputs["past"].describe() == "(batch, 10, nodes, 3)"
    assert TASK.outputs["future"].describe() == "(batch, 2, 5, nodes, 3)"
    assert {spec.unit for spec in (*TASK.inputs.values(), *TASK.outputs.values())} == {"m"}
    assert TASK.axes == {"nodes": (21, 42)}
    assert TASK.horizon_s == pytest.approx(5 / 30)


def test_a_masked_task_with_spread_takes_what_was_seen_and_gives_deviations_and_probabilities():
    task = TASK.model_copy(update={"masked": True, "spread": True})
    assert {name: spec.describe() for name, spec in (task.inputs | task.outputs).items()} == {
        "past": "(batch, 10, nodes, 3)",
        "seen": "(batch, 10, nodes)",
        "future": "(batch, 2, 5, nodes, 3)",
        "std": "(batch, 5, nodes)",
        "weights": "(batch, 2)",
    }
    assert moves(task) == {
        "past": "points",
        "seen": "nodes",
        "future": "points",
        "std": "nodes",
        "weights": "invariant",
    }
    assert list(TASK.inputs) == ["past"]
    assert list(TASK.outputs) == ["future"]


@pytest.mark.parametrize("batch", [0, 1, 7])
@pytest.mark.parametrize("nodes", [21, 42])
def test_one_hand_and_two_are_accepted_in_any_batch(batch: int, nodes: int):
    check_inputs(TASK, past(batch, 10, nodes, 3), "it")
    check_outputs(TASK, {"future": np.zeros((batch, 2, 5, nodes, 3), np.float32)}, "it")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (past(1, 9, 42, 3), r"the input of it: expected past of shape \(batch, 10, nodes, 3\), got \(1, 9, 42, 3\)"),
        (past(1, 10, 42, 2), r"got \(1, 10, 42, 2\)"),
        (past(10, 42, 3), r"\(batch, 10, nodes, 3\), got \(10, 42, 3\)"),
        (past(1, 10, 26, 3), "with 21 or 42 nodes, got 26"),
        (past(1, 10, 42, 3, dtype=np.float64), "in float32, got float64"),
        ({"present": np.zeros(1, np.float32)}, r"expected tensors \['past'\], got \['present'\]"),
        ({}, r"expected tensors \['past'\], got \[\]"),
        (past(1, 10, 42, 3) | {"more": np.zeros(1, np.float32)}, r"got \['more', 'past'\]"),
    ],
)
def test_the_error_for_wrong_tensors_states_expected_and_actual_ones(tensors: dict[str, np.ndarray], message: str):
    with pytest.raises(WrongShape, match=message):
        check_inputs(TASK, tensors, "it")


def test_outputs_are_checked_against_their_own_shapes():
    with pytest.raises(
        WrongShape,
        match=r"the output of it: expected future of shape \(batch, 2, 5, nodes, 3\), got \(1, 1, 5, 42, 3\)",
    ):
        check_outputs(TASK, {"future": np.zeros((1, 1, 5, 42, 3), np.float32)}, "it")


@pytest.mark.parametrize(
    "wrong",
    [{"past": 1}, {"future": 0}, {"fps": 0}, {"modes": 0}, {"order": "mano"}, {"colour": "red"}, {"kind": "pose"}],
)
def test_an_inconsistent_task_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        HandForecast(**{"past": 10, "future": 5, "fps": 30, **wrong})


def test_a_task_is_immutable_and_compared_by_value():
    assert HandForecast.model_validate_json(TASK.model_dump_json()) == TASK
    with pytest.raises(ValidationError, match="frozen"):
        TASK.past = 3  # pyright: ignore[reportAttributeAccessIssue]
