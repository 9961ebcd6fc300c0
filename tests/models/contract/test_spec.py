"""Tests of job specifications: their defaults, and errors for invalid fields."""

import pytest
from pydantic import ValidationError

from models.contract.spec import JOB_SPEC, BenchmarkSpec, EvaluateSpec, TrainSpec


def test_every_field_but_the_name_has_a_default():
    assert TrainSpec(run="hands-eqmotion").model_dump() == {
        "kind": "train",
        "run": "hands-eqmotion",
        "seeds": (0,),
        "device": "auto",
        "dataset": None,
        "devices": 1,
        "precision": "32-true",
        "steps": None,
        "validate_every": None,
        "checkpoint_every": None,
        "epochs": None,
        "network": {},
        "learning_rate": None,
        "preset": None,
        "sources": (),
        "actions": (),
        "architecture": None,
        "name": None,
        "base": None,
        "publish": True,
    }
    assert EvaluateSpec(run="hands-eqmotion").split == "test"


@pytest.mark.parametrize(
    "spec",
    [
        TrainSpec(run="a", seeds=(7, 9), steps=10),
        TrainSpec(run="a", epochs=2, network={"layers": 3, "dct": True, "temperature": 0.5, "tokens": "node"}),
        TrainSpec(run="a", preset="60+60@60", sources=("leap", "thai_sign_leap"), actions=("pick up",)),
        TrainSpec(
            run="hands-own",
            dataset="mine",
            architecture="EqMotion",
            name="hands-mine",
            base="hands-forecast@79a4867c6abd",
        ),
        BenchmarkSpec(
            table="hands", tables=("comparison",), models=("LSTM (GMN)",), preset="30+30@30", seeds=1, epochs=5
        ),
        EvaluateSpec(run="a", split="validation", job="b"),
        BenchmarkSpec(table="hands", dataset="own"),
    ],
)
def test_a_specification_is_restored_from_json_as_its_own_kind(spec: TrainSpec | EvaluateSpec | BenchmarkSpec):
    assert JOB_SPEC.validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("wrong", [{}, {"kind": "dance"}, {"kind": "benchmark", "run": "a"}, {"run": "a"}])
def test_an_unknown_kind_of_job_is_refused(wrong: dict[str, str]):
    with pytest.raises(ValidationError):
        JOB_SPEC.validate_python(wrong)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TrainSpec, {"run": ""}),
        (TrainSpec, {"run": "a" * 65}),
        (TrainSpec, {"seeds": (-1,)}),
        (TrainSpec, {"seeds": (0, 2**32)}),
        (TrainSpec, {"seeds": ()}),
        (TrainSpec, {"seeds": (1, 1)}),
        (TrainSpec, {"seeds": tuple(range(17))}),
        (TrainSpec, {"device": "tpu"}),
        (TrainSpec, {"devices": 0}),
        (TrainSpec, {"devices": 17}),
        (TrainSpec, {"precision": "16"}),
        (TrainSpec, {"steps": 0}),
        (TrainSpec, {"checkpoint_every": 0}),
        (TrainSpec, {"dataset": "../secrets"}),
        (TrainSpec, {"stpes": 10}),
        (TrainSpec, {"epochs": 0}),
        (TrainSpec, {"network": {"Layers": 3}}),
        (TrainSpec, {"network": {"layers": [3]}}),
        (TrainSpec, {"network": {f"a{i}": 1 for i in range(33)}}),
        (TrainSpec, {"preset": ""}),
        (TrainSpec, {"sources": ("../secrets",)}),
        (TrainSpec, {"actions": ("a" * 65,)}),
        (EvaluateSpec, {"split": "train"}),
        (EvaluateSpec, {"steps": 10}),
    ],
)
def test_an_invalid_specification_is_refused(kind: type[TrainSpec] | type[EvaluateSpec], wrong: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        kind.model_validate({"run": "a", **wrong})


def test_a_training_has_steps_or_epochs():
    with pytest.raises(ValidationError, match="expected steps or epochs, got both"):
        TrainSpec(run="a", steps=1, epochs=1)


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"epochs": 1001}, {"models": ("a" * 65,)}, {"tables": ("a",) * 9}])
def test_an_invalid_benchmark_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        BenchmarkSpec.model_validate({"table": "hands", **wrong})


def test_a_specification_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrainSpec(run="a").seeds = (1,)  # pyright: ignore[reportAttributeAccessIssue] - must fail
