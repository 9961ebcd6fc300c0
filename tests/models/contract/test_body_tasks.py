"""Tests of the tasks on bodies: shapes, refusals, and the chirality transform of each tensor."""

from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from models.contract.symmetry import SYMMETRIES, Mirror, acted_on, violation
from models.contract.task import (
    MAX_FRAMES,
    ActionRecognition,
    FaceLandmarks,
    HandForecast,
    PoseForecast,
    PoseLift,
    Task,
    check_inputs,
    check_outputs,
    mirror_of,
    moves,
    tried_sizes,
)
from models.contract.tensor import WrongShape
from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES
from models.skeletons.skeleton import UnknownOrder

LIFT = PoseLift(receptive=27, seen_order="coco-17", confidence=True)
FORECAST = PoseForecast(order="penn-13", past=8, future=16, fps=15)
ACTION = ActionRecognition(
    order="bandai-21", classes=("bow", "wave left", "wave right"), dims=3, frames=24, persons=2, mirrored=(0, 2, 1)
)
TASKS = {"lifting": LIFT, "forecasting": FORECAST, "recognition": ACTION}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@every_task
def test_a_task_is_restored_from_json_as_its_own_kind(task: BaseModel):
    assert TypeAdapter(Task).validate_json(task.model_dump_json()) == task
    with pytest.raises(ValidationError, match="extra"):
        TypeAdapter(Task).validate_python(task.model_dump() | {"modes": 3})


@pytest.mark.parametrize(
    ("task", "shapes"),
    [
        (LIFT, {"keypoints": "(batch, frames, 17, 3)", "poses": "(batch, poses, 17, 3)"}),
        (PoseLift(order="hdm05-25"), {"keypoints": "(batch, frames, 17, 2)", "poses": "(batch, poses, 25, 3)"}),
        (FORECAST, {"past": "(batch, 8, 13, 2)", "future": "(batch, 16, 13, 2)"}),
        (
            FORECAST.model_copy(update={"confidence": True}),
            {"past": "(batch, 8, 13, 3)", "future": "(batch, 16, 13, 2)"},
        ),
        (ACTION, {"clips": "(batch, 2, 24, 21, 4)", "logits": "(batch, 3)"}),
        (ActionRecognition(order="penn-13", classes=("a", "b")), {"clips": "(batch, 1, 64, 13, 3)", "logits": "(batch, 2)"}),
    ],
)  # fmt: skip
def test_a_task_specifies_its_tensors(task: Any, shapes: dict[str, str]):
    assert {name: spec.describe() for name, spec in (task.inputs | task.outputs).items()} == shapes
    assert {spec.dtype for spec in (task.inputs | task.outputs).values()} == {"float32"}


def test_a_task_specifies_its_units():
    assert {name: spec.unit for task in TASKS.values() for name, spec in (task.inputs | task.outputs).items()} == {
        **{"keypoints": "half widths", "poses": "m", "past": "half boxes", "future": "half boxes"},
        **{"clips": "m", "logits": ""},
    }
    flat = ActionRecognition(order="penn-13", classes=("a", "b"))
    assert flat.inputs["clips"].unit == "half boxes"


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (PoseLift, {"receptive": 26}, "an odd number of frames, .* got 26"),
        (PoseLift, {"receptive": 731}, "less than or equal to 729"),
        (PoseLift, {"fps": 0}, "greater than 0"),
        (PoseForecast, {"past": 0, "future": 1}, "greater than or equal to 1"),
        (PoseForecast, {"past": 1, "future": 1, "box": "nothing"}, "'clip' or 'past'"),
        (ActionRecognition, {"order": "penn-13", "classes": ("alone",)}, "at least 2 items"),
        (ActionRecognition, {"order": "penn-13", "classes": ("a", "b"), "turned": True}, "expected three dimensions for turned clips"),
        (
            ActionRecognition,
            {"order": "penn-13", "classes": ("a", "b", "c"), "mirrored": (1, 2, 0)},
            r"a permutation of 3 classes that is its own inverse, got \(1, 2, 0\)",
        ),
        (ActionRecognition, {"order": "penn-13", "classes": ("a", "b"), "mirrored": (0,)}, "of 2 classes"),
        (ActionRecognition, {"order": "penn-13", "classes": ("a", "b"), "mirrored": (0, 0)}, "its own inverse"),
    ],
)  # fmt: skip
def test_an_inconsistent_task_is_refused(kind: type[BaseModel], fields: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        kind(**fields)


@pytest.mark.parametrize("fields", [{"order": "mpii-99"}, {"seen_order": "mpii-99"}])
def test_the_error_for_an_unknown_order_lists_the_known_orders(fields: dict[str, Any]):
    with pytest.raises((ValidationError, UnknownOrder), match=r"one of h36m-17, coco-17.* got 'mpii-99'"):
        PoseLift(**fields)


def test_classes_are_their_own_mirror_images_by_default():
    plain = ACTION.model_copy(update={"mirrored": None})
    assert plain.class_mirror == (0, 1, 2)
    assert ACTION.class_mirror == (0, 2, 1)
    assert ACTION.outputs["logits"].moves == Mirror(mirror=(0, 2, 1), negated=False)


# --- shapes of tensors ---


def test_the_error_for_a_clip_shorter_than_the_receptive_field_states_the_allowed_range():
    for frames in (27, 28, 500):
        check_inputs(LIFT, {"keypoints": noise(1, frames, 17, 3)}, "poses-lift")
    message = (
        rf"poses-lift: expected keypoints of shape \(batch, frames, 17, 3\) with 27 to {MAX_FRAMES + 26} frames, got 26"
    )
    with pytest.raises(WrongShape, match=message):
        check_inputs(LIFT, {"keypoints": noise(1, 26, 17, 3)}, "poses-lift")
    longest = np.broadcast_to(np.zeros((), np.float32), (1, MAX_FRAMES + 26, 17, 3))
    check_inputs(LIFT, {"keypoints": longest}, "poses-lift")
    with pytest.raises(WrongShape, match=f"got {MAX_FRAMES + 27}$"):
        check_inputs(LIFT, {"keypoints": longest.repeat(2, axis=1)[:, : MAX_FRAMES + 27]}, "poses-lift")


def test_the_error_for_an_unlisted_size_lists_the_allowed_sizes():
    hands = HandForecast(past=10, future=5, fps=30)
    with pytest.raises(WrongShape, match="with 21 or 42 nodes, got 20"):
        check_inputs(hands, {"past": noise(1, 10, 20, 3)}, "it")


@pytest.mark.parametrize(
    ("task", "tensors", "message"),
    [
        (LIFT, {"keypoints": noise(1, 27, 17, 2)}, r"got \(1, 27, 17, 2\)"),
        (LIFT, {"keypoints": noise(27, 17, 3)}, r"got \(27, 17, 3\)"),
        (LIFT, {"poses": noise(1, 27, 17, 3)}, r"the input of it: expected tensors \['keypoints'\], got \['poses'\]"),
        (FORECAST, {"past": noise(1, 7, 13, 2)}, r"got \(1, 7, 13, 2\)"),
        (FORECAST, {"past": noise(1, 8, 13, 2).astype(np.float64)}, "in float32, got float64"),
        (ACTION, {"clips": noise(1, 1, 24, 21, 4)}, r"got \(1, 1, 24, 21, 4\)"),
    ],
)
def test_tensors_of_another_shape_are_refused(task: Any, tensors: dict[str, np.ndarray], message: str):
    with pytest.raises(WrongShape, match=message):
        check_inputs(task, tensors, "it")


def test_outputs_are_checked_like_inputs():
    check_outputs(LIFT, {"poses": noise(2, 4, 17, 3)}, "it")
    with pytest.raises(WrongShape, match=r"the output of it: expected logits of shape \(batch, 3\), got \(2, 4\)"):
        check_outputs(ACTION, {"logits": noise(2, 4)}, "it")


def test_tried_sizes_are_two_of_a_range_or_all_of_a_list():
    assert tried_sizes(LIFT) == {"frames": (27, 30)}
    assert tried_sizes(HandForecast(past=10, future=5, fps=30)) == {"nodes": (21, 42)}
    assert tried_sizes(FORECAST) == tried_sizes(ACTION) == {}


# --- symmetry actions on tensors ---


@pytest.mark.parametrize("order", BODIES)
@pytest.mark.parametrize("numbers", [2, 3, 4])
def test_the_mirror_is_the_chirality_transform_and_its_own_inverse(order: str, numbers: int):
    body, x = BODIES[order], noise(2, 5, len(BODIES[order].joints), numbers)
    mirror = mirror_of(order)
    original = x.copy()
    np.testing.assert_array_equal(mirror.of(x), mirrored(x, body))
    np.testing.assert_array_equal(mirror.of(mirror.of(x)), x)
    np.testing.assert_array_equal(x, original)
    assert not np.array_equal(mirror.of(x), x)


def test_the_mirror_of_classes_permutes_logits_without_negation():
    logits = noise(4, 3)
    mirror = Mirror(mirror=(0, 2, 1), negated=False)
    np.testing.assert_array_equal(mirror.of(logits), logits[:, [0, 2, 1]])
    np.testing.assert_array_equal(mirror.of(mirror.of(logits)), logits)


def test_a_missing_keypoint_is_missing_in_the_mirror_image():
    x = noise(1, 3, 17, 3)
    x[:, :, 5] = 0
    image = mirror_of("coco-17").of(x)
    assert not image[:, :, BODIES["coco-17"].mirror[5]].any()


def test_only_the_chirality_transform_acts_on_bodies():
    x, mirror, rng = noise(2, 13, 3), mirror_of("penn-13"), np.random.default_rng(0)
    for symmetry, make in SYMMETRIES.items():
        moved = acted_on(x, make(rng), symmetry, mirror)
        np.testing.assert_array_equal(moved, mirror.of(x) if symmetry == "chirality" else x)
    chirality = SYMMETRIES["chirality"](rng)
    for other in ("points", "vectors", "invariant", "indices"):
        np.testing.assert_array_equal(acted_on(x, chirality, "chirality", other), x)


def test_only_tensors_of_bodies_declare_a_mirror():
    for task in TASKS.values():
        assert all(isinstance(how, Mirror) for how in moves(task).values())
    for task in (HandForecast(past=10, future=5, fps=30), FaceLandmarks(levels=(100, 30), neighbours=8)):
        assert not any(isinstance(how, Mirror) for how in moves(task).values())
    assert moves(LIFT) == {"keypoints": mirror_of("coco-17"), "poses": mirror_of("h36m-17")}


def test_a_violation_of_the_chirality_transform_is_measured():
    inputs, how = {"past": noise(2, 8, 13, 2)}, moves(FORECAST)

    def last_pose(x):
        return {"future": x["past"][:, -1:].repeat(16, axis=1)}

    def drifting(x):
        return {"future": last_pose(x)["future"] + np.array([0.25, 0], np.float32)}  # sideways

    def sinking(x):
        return {"future": last_pose(x)["future"] + np.array([0, 0.25], np.float32)}

    def one_sided(x):
        future = last_pose(x)["future"]
        future[:, :, 1, 1] += 0.5  # one shoulder
        return {"future": future}

    assert violation(last_pose, "chirality", inputs, moves=how) == 0
    assert violation(sinking, "chirality", inputs, moves=how) == 0
    assert violation(drifting, "chirality", inputs, moves=how) == pytest.approx(0.5)
    assert violation(one_sided, "chirality", inputs, moves=how) == pytest.approx(0.5)
    assert violation(drifting, "chirality", inputs) == 0  # without `moves`, tensors are not treated as bodies


def test_a_task_without_declared_mirror_images_of_classes_is_violated_by_sided_logits():
    inputs = {"clips": noise(2, 2, 24, 21, 4)}
    hands = [BODIES["bandai-21"].joints.index(f"{side}_wrist") for side in ("left", "right")]

    def higher_hand(x):
        left, right = (x["clips"][..., hand, 1].mean(axis=(1, 2)) for hand in hands)
        return {"logits": np.stack([left + right, left, right], axis=1)}

    keeping = ACTION.model_copy(update={"mirrored": None})
    assert violation(higher_hand, "chirality", inputs, moves=moves(ACTION)) == 0
    assert violation(higher_hand, "chirality", inputs, moves=moves(keeping)) > 0.01


def test_the_chirality_transform_is_tried_once_because_it_is_not_random():
    calls = []

    def counted(x):
        calls.append(1)
        return {"future": x["past"]}

    violation(counted, "chirality", {"past": noise(1, 8, 13, 2)}, moves=moves(FORECAST))
    assert len(calls) == 2


@pytest.mark.parametrize("none", [False, True])
def test_probabilities_are_a_softmax_of_the_classes_and_a_zero_for_none(none: bool):
    task = ActionRecognition(order="penn-13", classes=("a", "b"), none=none)
    logits = np.array([[1.0, 2.0], [-3.0, -1.0]], np.float32)
    odds = np.concatenate([np.exp(logits), np.full((2, 1), float(none))], axis=1)
    probabilities = task.probabilities(logits)
    np.testing.assert_allclose(probabilities, odds / odds.sum(axis=1, keepdims=True), rtol=1e-6)
    assert task.recognises(probabilities).tolist() == [True, not none]


def test_a_class_is_recognised_from_its_least_probability_on():
    task = ActionRecognition(order="penn-13", classes=("a", "b"), least=0.6)
    assert task.recognises(np.array([[0.6, 0.4, 0.0], [0.59, 0.41, 0.0]])).tolist() == [True, False]
