"""Tests of reports of hand forecasters: the figures of a row, its windows, and baselines that never read the test split."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.contract.task import HandForecast
from models.forecast.filters import double_exponential, kalman
from models.forecast.linear import LinearForecast, damped_velocity, hold
from training.engine.run import Run
from training.engine.statistics import bootstrap_interval
from training.tasks.hands.data import HandBatches, HandData
from training.tasks.hands.metrics import distances_mm, squares_dm2
from training.tasks.hands.report import (
    WITHOUT_WEIGHTS,
    Report,
    baselines,
    detail,
    evaluate,
    forecast,
    steadiness,
    table,
    unused,
)

SOURCES = ("leap", "tzionas")


@pytest.fixture
def batches(tiny: Run[HandForecast, HandData], synthetic_data: Path) -> HandBatches:
    return tiny.data.load(synthetic_data)


@pytest.fixture
def models(tiny_task: HandForecast) -> dict[str, nn.Module]:
    task = tiny_task
    return {
        "hold": LinearForecast(task, hold(task)),
        "constant velocity": LinearForecast(task, damped_velocity(task, 1.0)),
        "damped velocity": LinearForecast(task, damped_velocity(task, 0.7)),
    }


@pytest.fixture
def report(batches: HandBatches, models: dict[str, nn.Module]) -> Report:
    return evaluate(models, batches, SOURCES, "test")


def test_a_report_has_a_row_for_every_source_number_of_hands_and_model(report: Report, models):
    assert report.groups() == [("leap", 2), ("leap", 1), ("tzionas", 2)]  # tzionas shows no lone hand in its test split
    assert [(r.source, r.hands, r.model) for r in report.rows] == [
        (*group, m) for group in report.groups() for m in models
    ]
    assert (report.split, report.window, report.fps) == ("test", "6+6@30", 30)


def test_a_row_equals_a_loop_over_windows(report: Report, batches: HandBatches, models):
    windows = batches.windows("test", 2, ("leap",), phases="first")
    past, true = windows.past_future(np.arange(len(windows)))
    answer = past[:, -1:].repeat(6, axis=1)
    errors = distances_mm(answer, true)
    row = report.row("leap", 2, "hold")
    assert row.windows == len(windows) == (25 - 11) + (20 - 11) + (30 - 11)
    assert row.mpjpe_mm == pytest.approx(errors.mean(), rel=1e-5)
    assert row.mse_dm2 == pytest.approx(squares_dm2(answer, true).mean(), rel=1e-5)
    assert row.by_frame_mm == pytest.approx(errors.mean(axis=0).tolist(), rel=1e-5)
    assert row.at_mm == pytest.approx(dict(zip(("33 ms", "67 ms", "100 ms"), row.by_frame_mm, strict=False)))
    meeting = [windows.recordings[i][2] == "meeting" for i in windows.recording_of]
    assert set(row.by_action_mm) == {"meeting", "parting"}
    assert row.by_action_mm["meeting"] == pytest.approx(errors[meeting].mean(), rel=1e-5)


def test_a_row_says_how_steady_its_forecasts_are(report: Report, batches: HandBatches):
    windows = batches.windows("test", 2, ("leap",), phases="first")
    past, _ = windows.past_future(np.arange(len(windows)))
    last = past[:, -1]
    change = 1000 * np.linalg.norm(last[2:] - 2 * last[1:-1] + last[:-2], axis=-1).mean(axis=1)
    within = windows.recording_of[2:] == windows.recording_of[:-2]
    row, constant = (report.row("leap", 2, name) for name in ("hold", "constant velocity"))
    assert row.jitter_at_mm == pytest.approx(
        dict.fromkeys(("33 ms", "67 ms", "100 ms"), change[within].mean()), rel=1e-4
    )
    assert constant.jitter_at_mm["100 ms"] > constant.jitter_at_mm["33 ms"] > row.jitter_at_mm["33 ms"]
    assert constant.seam_mm == pytest.approx(0, abs=1e-4)
    assert row.seam_mm == pytest.approx(1000 * np.linalg.norm(past[:, -1] - past[:, -2], axis=-1).mean(), rel=1e-4)
    lines = steadiness(report, ["hold", "constant velocity"]).splitlines()
    assert lines[0] == "| jitter at 100 ms / jump at the seam | hands | hold | constant velocity |"
    assert lines[2] == (
        f"| leap | 2 | {row.jitter_at_mm['100 ms']:.1f} / {row.seam_mm:.1f} | {constant.jitter_at_mm['100 ms']:.1f} / 0.0 |"
    )


def test_recordings_that_no_row_measures_are_counted_and_named(report: Report, tiny, synthetic_data: Path):
    assert {source: counts.used for source, counts in report.usage.items()} == {"leap": 4, "tzionas": 1}
    assert unused(report) == ""
    long = replace(tiny.data, window=replace(tiny.data.window, past=20)).load(synthetic_data)
    task = tiny.task.model_copy(update={"past": 20})
    longer = evaluate({"hold": LinearForecast(task, hold(task))}, long, SOURCES, "test")
    assert unused(longer).splitlines() == [
        "leap: 2 of 4 recordings measured; 2 are shorter than a window, 0 too slow, 0 have gaps too close together",
        "tzionas: 0 of 1 recordings measured; 1 are shorter than a window, 0 too slow, 0 have gaps too close together",
    ]


def test_the_bootstrap_resamples_the_parts_of_a_recording_together(report: Report, batches: HandBatches):
    windows = batches.windows("test", 2, ("leap",), phases="first")
    assert [name for _, name, _ in windows.recordings] == ["meet", "meet", "part", "alone"]
    row = report.row("leap", 2, "hold")
    assert row.recordings == 2
    past, true = windows.past_future(np.arange(len(windows)))
    errors = distances_mm(past[:, -1:].repeat(6, axis=1), true).mean(axis=1)
    recording_numbers = np.array([0, 0, 1, 2])[windows.recording_of]
    assert row.interval_mm == pytest.approx(bootstrap_interval(errors, recording_numbers), rel=1e-5)
    assert row.interval_mm != pytest.approx(bootstrap_interval(errors, windows.recording_of), rel=1e-5)
    assert report.row("tzionas", 2, "hold").interval_mm is None


def test_a_stride_of_5_evaluates_every_fifth_window(batches: HandBatches, models):
    report = evaluate(models, batches, ("leap",), "test", stride=5)
    assert report.row("leap", 2, "hold").windows == -(-42 // 5)
    assert report.row("leap", 2, "hold").recordings == 2


def test_a_forecast_is_mode_0_for_every_batch_size(tiny: Run[HandForecast, HandData]):
    class Modes(nn.Module):
        def forward(self, past: Tensor) -> Tensor:
            return torch.stack([past, past + 1], dim=1)

    past = np.random.default_rng(0).normal(size=(7, 6, 21, 3)).astype(np.float32)
    assert np.array_equal(forecast(Modes(), past, batch=3), past)


def test_a_model_of_a_masked_task_with_spread_is_told_that_everything_was_seen(tiny_task: HandForecast):
    class Masked(nn.Module):
        task = tiny_task.model_copy(update={"masked": True, "spread": True})

        def forward(self, past: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
            assert seen.shape == past.shape[:-1]
            return (past * seen.unsqueeze(-1)).unsqueeze(1), seen

    past = np.random.default_rng(0).normal(size=(3, 6, 21, 3)).astype(np.float32)
    assert np.array_equal(forecast(Masked(), past), past)


def test_a_report_of_training_recordings_is_not_for_a_bundle(batches: HandBatches, models):
    with pytest.raises(ValueError, match="expected the validation or the test split for a bundle"):
        evaluate(models, batches, ("tzionas",), "train").measurements("hold")


def test_a_report_is_read_back_as_it_was_written(report: Report, tmp_path: Path):
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == report
    assert json.loads((tmp_path / "report.json").read_text())["split"] == "test"


def test_the_best_row_without_weights_has_the_least_error_of_its_group(report: Report):
    for group in report.groups():
        best = report.best_without_weights(*group)
        assert best.mpjpe_mm == min(r.mpjpe_mm for r in report.rows if (r.source, r.hands) == group)


def test_a_report_without_any_forecast_without_weights_has_no_row_to_beat(report: Report):
    alone = replace(report, rows=[replace(row, model="mine") for row in report.rows])
    with pytest.raises(ValueError, match="empty"):
        alone.best_without_weights("leap", 2)


def test_a_bundle_states_the_rows_of_its_model_beside_the_best_baseline(report: Report):
    first, *others = report.measurements("constant velocity")
    assert len(others) == 2
    row, best = report.row("leap", 2, "constant velocity"), report.best_without_weights("leap", 2)
    assert (first.metric, first.unit, first.split) == ("MPJPE over 6+6@30, two hands", "mm", "test")
    assert (first.windows, first.recordings, first.baseline) == (42, 2, best.model)
    measured = [first.value, first.baseline_value, *(first.interval or ())]
    assert measured == [round(mm, 2) for mm in (row.mpjpe_mm, best.mpjpe_mm, *(row.interval_mm or ()))]


def test_the_table_has_a_line_for_each_group_and_a_column_for_each_model(report: Report):
    lines = table(report, ["hold", "damped velocity"]).splitlines()
    assert lines[0] == "| 6+6@30, test | hands | windows | recordings | hold | damped velocity |"
    assert lines[1].count("|") == lines[0].count("|")
    errors = [report.row("leap", 2, model).mpjpe_mm for model in ("hold", "damped velocity")]
    assert lines[2] == f"| leap | 2 | 42 | 2 | {errors[0]:.1f} | {errors[1]:.1f} |"
    assert len(lines) == 2 + 3


def test_the_detail_of_a_model_has_its_horizons_and_its_interval(report: Report):
    lines = detail(report, "hold").splitlines()
    assert lines[0] == "| hold | hands | mean | 95 % interval | 33 ms | 67 ms | 100 ms | MSE, dm² |"
    row = report.row("leap", 2, "hold")
    assert row.interval_mm is not None
    low, high = row.interval_mm
    horizons = " | ".join(f"{row.at_mm[at]:.1f}" for at in ("33 ms", "67 ms", "100 ms"))
    assert lines[2] == (f"| leap | 2 | {row.mpjpe_mm:.1f} | {low:.1f} to {high:.1f} | {horizons} | {row.mse_dm2:.3f} |")
    assert "one recording" in lines[4]


class WithoutTest(HandBatches):
    """Batches that fail when the test split is requested."""

    def windows(self, split, *arguments, **options):
        assert split != "test", "a baseline has read the test split"
        return super().windows(split, *arguments, **options)


def test_baselines_never_read_the_test_split(tiny: Run[HandForecast, HandData], synthetic_data: Path):
    fitted = baselines(tiny.task, WithoutTest(tiny.data, synthetic_data / "hands"), every=2)
    assert list(fitted) == [*WITHOUT_WEIGHTS, "ridge"]
    with pytest.raises(AssertionError, match="read the test split"):
        evaluate(fitted, WithoutTest(tiny.data, synthetic_data / "hands"), ("leap",), "test")


def test_the_fitted_baselines_are_the_best_of_their_kind_on_training_windows(
    tiny_task: HandForecast, batches: HandBatches
):
    fitted = baselines(tiny_task, batches, every=1)

    def error(model: nn.Module) -> float:
        pairs = [w.past_future(np.arange(len(w))) for w in batches.training]
        return float(np.mean([distances_mm(forecast(model, past), true).mean() for past, true in pairs]))

    errors = {name: error(model) for name, model in fitted.items()}
    assert errors["damped velocity"] <= min(errors["hold"], errors["constant velocity"]) + 1e-6
    assert errors["ridge"] < errors["damped velocity"]
    others = [LinearForecast(tiny_task, damped_velocity(tiny_task, decay)) for decay in (0.0, 0.25, 0.5, 0.75)]
    assert errors["damped velocity"] <= min(map(error, others)) + 1e-6
    others = [LinearForecast(tiny_task, kalman(tiny_task, ratio)) for ratio in (1e-3, 1e-2, 0.1, 1.0, 10.0)]
    assert errors["kalman"] <= min(map(error, others)) + 1e-6
    others = [LinearForecast(tiny_task, double_exponential(tiny_task, alpha)) for alpha in (0.3, 0.5, 0.7, 0.9)]
    assert errors["double exponential"] <= min(map(error, others)) + 1e-6


def test_a_source_without_windows_has_no_row(
    tiny: Run[HandForecast, HandData], tiny_task: HandForecast, synthetic_data: Path
):
    long = replace(tiny.data, window=replace(tiny.data.window, past=20))
    task = tiny_task.model_copy(update={"past": 20})
    longer: dict[str, nn.Module] = {"hold": LinearForecast(task, hold(task))}
    assert evaluate(longer, long.load(synthetic_data), ("tzionas",), "test").rows == []
