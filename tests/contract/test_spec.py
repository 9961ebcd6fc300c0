"""What a job is, as a value: defaults that run, and nothing that cannot."""

import pytest
from pydantic import ValidationError

from models.contract.spec import EvaluateSpec, TrainSpec


def test_a_name_is_enough():
    assert TrainSpec(run="hands-eqmotion").model_dump() == {
        "kind": "train",
        "run": "hands-eqmotion",
        "seed": 0,
        "device": "auto",
        "devices": 1,
        "precision": "32-true",
        "steps": None,
    }
    assert EvaluateSpec(run="hands-eqmotion").split == "test"


@pytest.mark.parametrize("spec", [TrainSpec(run="a", seed=7, steps=10), EvaluateSpec(run="a", split="validation")])
def test_a_spec_survives_json(spec: TrainSpec | EvaluateSpec):
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TrainSpec, {"run": ""}),
        (TrainSpec, {"run": "a" * 65}),
        (TrainSpec, {"seed": -1}),
        (TrainSpec, {"seed": 2**32}),
        (TrainSpec, {"device": "tpu"}),
        (TrainSpec, {"devices": 0}),
        (TrainSpec, {"precision": "16"}),
        (TrainSpec, {"steps": 0}),
        (TrainSpec, {"stpes": 10}),
        (EvaluateSpec, {"split": "train"}),
        (EvaluateSpec, {"steps": 10}),
    ],
)
def test_what_cannot_run_is_refused(kind: type[TrainSpec] | type[EvaluateSpec], wrong: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        kind.model_validate({"run": "a", **wrong})


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrainSpec(run="a").seed = 1  # pyright: ignore[reportAttributeAccessIssue]
