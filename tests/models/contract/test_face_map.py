"""Tests of the task of landmarks on a depth map, and of the actions of turns and mirrors on its tensors."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from models.contract.face_map import FaceMap
from models.contract.symmetry import SYMMETRIES, OnMap, Tensors, acted_on, violation
from models.contract.task import Task, moves
from models.skeletons.face import FACE68

TASK = FaceMap(size=17)


def test_a_task_is_restored_from_json_and_specifies_its_tensors():
    assert TypeAdapter(Task).validate_json(TASK.model_dump_json()) == TASK
    assert {name: spec.describe() for name, spec in (TASK.inputs | TASK.outputs).items()} == {
        "depth": "(batch, 17, 17)",
        "seen": "(batch, 17, 17)",
        "heatmaps": "(batch, 68, 9, 9)",
        "landmarks": "(batch, 68, 3)",
        "confidence": "(batch, 68)",
    }


@pytest.mark.parametrize("size", [16, 19, 8])
def test_a_map_whose_halves_are_even_is_refused(size: int):
    with pytest.raises(ValidationError, match="size"):
        FaceMap(size=size)


@pytest.mark.parametrize("symmetry", ["quarter-turn", "map-mirror"])
def test_a_field_moves_as_the_points_of_its_pixels_do(symmetry: str):
    """The value of each pixel is found at the place to which its point moves."""
    rng = np.random.default_rng(0)
    field, half = rng.normal(size=(2, 17, 17)), 8
    for _ in range(5):
        act = SYMMETRIES[symmetry](rng)
        moved = acted_on(field, act, symmetry, OnMap(form="fields"))
        for row, column in rng.integers(0, 17, (20, 2)):
            x, y, _ = act(np.array([[column - half, row - half, 0]]))[0]
            np.testing.assert_array_equal(moved[:, y + half, x + half], field[:, row, column])


def test_only_the_mirror_exchanges_left_and_right():
    numbers, rng = np.arange(68)[None], np.random.default_rng(0)
    sided = OnMap(form="numbers", mirror=FACE68.mirror)
    for symmetry, expected in (("map-mirror", numbers[:, list(FACE68.mirror)]), ("quarter-turn", numbers)):
        np.testing.assert_array_equal(acted_on(numbers, SYMMETRIES[symmetry](rng), symmetry, sided), expected)
    np.testing.assert_array_equal(acted_on(numbers, SYMMETRIES["rotation"](rng), "rotation", sided), numbers)


def highest(inputs: Tensors, *, sides: bool = True) -> dict[str, np.ndarray]:
    """Return an answer that keeps both laws: every landmark at the highest pixel, lifted by its number if it is the same on both sides."""
    depth, half = inputs["depth"], TASK.size // 2
    at = np.array([np.unravel_index(one.argmax(), one.shape) for one in depth])
    point = np.column_stack([at[:, 1] - half, at[:, 0] - half, depth.max((1, 2))]).astype(float)
    landmarks = np.repeat(point[:, None], 68, axis=1)
    landmarks[..., 2] += np.minimum(range(68), FACE68.mirror) if sides else np.arange(68)
    heatmaps = np.repeat(depth[:, None, ::2, ::2], 68, axis=1)
    return {"heatmaps": heatmaps, "landmarks": landmarks, "confidence": np.zeros((len(depth), 68))}


def test_the_checker_accepts_an_equivariant_function_and_detects_others():
    rng = np.random.default_rng(0)
    inputs = {"depth": rng.normal(size=(2, 17, 17)), "seen": np.ones((2, 17, 17))}
    for symmetry in ("quarter-turn", "map-mirror"):
        assert violation(highest, symmetry, inputs, moves=moves(TASK)) == 0
    assert violation(lambda x: highest(x, sides=False), "map-mirror", inputs, moves=moves(TASK)) >= 1
    shifted = {**inputs, "depth": inputs["depth"] + np.linspace(0, 10, 17)}  # the same slope after a turn of the input

    def sloped(x: Tensors) -> Tensors:
        return highest({**x, "depth": x["depth"] + np.linspace(0, 10, 17)})

    assert violation(sloped, "quarter-turn", shifted, moves=moves(TASK)) > 1
