"""Tests of the task of landmark networks and of the symmetry actions on its tensors."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from models.contract.symmetry import acted_on, translation, violation
from models.contract.task import FaceLandmarks, HandForecast, Task, check_inputs, moves
from models.contract.tensor import WrongShape

TASK = FaceLandmarks(levels=(100, 30), neighbours=8)


def inputs(**changed: np.ndarray) -> dict[str, np.ndarray]:
    tensors = {
        "points": np.zeros((2, 100, 3)),
        "neighbours": np.zeros((2, 130, 8), np.int64),
        "parents": np.zeros((2, 100, 3), np.int64),
    }
    return tensors | changed


def test_a_task_is_restored_from_json_as_its_own_kind():
    for task in (TASK, HandForecast(past=10, future=5, fps=30)):
        assert TypeAdapter(Task).validate_json(task.model_dump_json()) == task
    with pytest.raises(ValidationError, match="kind"):
        TypeAdapter(Task).validate_python({"kind": "juggling"})


def test_a_task_specifies_its_tensors_and_their_symmetry_actions():
    assert {name: spec.describe() for name, spec in (TASK.inputs | TASK.outputs).items()} == {
        "points": "(batch, 100, 3)",
        "neighbours": "(batch, 130, 8)",
        "parents": "(batch, 100, 3)",
        "heatmaps": "(batch, 68, 100)",
        "landmarks": "(batch, 68, 3)",
        "confidence": "(batch, 68)",
    }
    assert moves(TASK) == {
        "points": "points",
        "neighbours": "indices",
        "parents": "indices",
        "heatmaps": "invariant",
        "landmarks": "points",
        "confidence": "invariant",
    }
    assert set(moves(HandForecast(past=10, future=5, fps=30)).values()) == {"points"}


def test_tensors_of_another_dtype_or_batch_size_are_refused():
    check_inputs(TASK, inputs(), "it")
    with pytest.raises(WrongShape, match=r"neighbours of shape \(batch, 130, 8\) in int64, got int32"):
        check_inputs(TASK, inputs(neighbours=np.zeros((2, 130, 8), np.int32)), "it")
    with pytest.raises(WrongShape, match=r"points of shape .* in float64, got float32"):
        check_inputs(TASK, inputs(points=np.zeros((2, 100, 3), np.float32)), "it")
    with pytest.raises(WrongShape, match="with one size of batch throughout, got 2 and 1"):
        check_inputs(TASK, inputs(parents=np.zeros((1, 100, 3), np.int64)), "it")


@pytest.mark.parametrize("levels", [(), (100,), (100, 100), (30, 100), (100, 8)])
def test_inconsistent_levels_are_refused(levels: tuple[int, ...]):
    with pytest.raises(ValidationError):
        FaceLandmarks(levels=levels, neighbours=8)


def test_translation_moves_points_only_and_rotation_also_vectors():
    act = translation(np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(2, 5, 3))
    assert np.array_equal(acted_on(x, act, "translation", "points"), act(x))
    for kind in ("vectors", "invariant", "indices"):
        assert np.array_equal(acted_on(x, act, "translation", kind), x)
    assert np.array_equal(acted_on(x, act, "rotation", "vectors"), act(x))
    assert np.array_equal(acted_on(x, act, "rotation", "invariant"), x)


def test_a_violation_depends_on_the_action_on_each_tensor():
    def offsets(tensors):
        return {"offsets": tensors["points"][:, 1:] - tensors["points"][:, :-1]}

    tensors = {"points": np.random.default_rng(0).normal(size=(1, 9, 3))}
    assert violation(offsets, "translation", tensors, moves={"offsets": "vectors"}) < 1e-12
    assert violation(offsets, "translation", tensors) > 1
    assert violation(offsets, "rotation", tensors, moves={"offsets": "invariant"}) > 0.1
