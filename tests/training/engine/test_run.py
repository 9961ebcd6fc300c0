"""Tests of runs: stages, and options that apply to all stages."""

from dataclasses import replace

import pytest

from models.contract.task import HandForecast
from training.engine.run import Run
from training.tasks.hands.data import HandData

HandRun = Run[HandForecast, HandData]


@pytest.fixture
def staged(tiny: HandRun) -> HandRun:
    return replace(tiny, name="second", start=replace(tiny, name="first"))


def test_stages_are_in_the_order_of_training(staged: HandRun):
    assert [stage.name for stage in staged.stages] == ["first", "second"]
    assert staged.start is not None
    assert staged.fingerprint != replace(staged, start=None).fingerprint


def test_one_step_count_applies_to_every_stage(staged: HandRun):
    assert [stage.optimisation.steps for stage in staged.with_options(7).stages] == [7, 7]


def test_several_step_counts_apply_to_the_stages_in_order(staged: HandRun):
    assert [stage.optimisation.steps for stage in staged.with_options((14, 3)).stages] == [14, 3]
    with pytest.raises(
        ValueError, match=r"expected one step count, or one for each of the stages first, second; got 3"
    ):
        staged.with_options((1, 2, 3))


def test_other_options_apply_to_every_stage_unless_they_are_none(staged: HandRun):
    changed = staged.with_options(precision="bf16-mixed", validate_every=None)
    assert [stage.optimisation.precision for stage in changed.stages] == ["bf16-mixed"] * 2
    assert [stage.optimisation.validate_every for stage in changed.stages] == [4, 4]
    assert staged.with_options() == staged


def test_a_run_reads_the_parts_of_all_its_stages(staged: HandRun):
    assert staged.parts == ("hands",)
