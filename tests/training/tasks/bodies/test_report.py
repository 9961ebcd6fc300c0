"""Tests of reports on bodies: they equal loops over frames, samples and clips, and a perfect network has no error."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from body_runs import ACTIONS, CLIPS, FORECAST, LIFT
from torch import Tensor, nn

from models.motion.bodies import edge_padded, shown
from training.engine.statistics import bootstrap_interval
from training.tasks.bodies import report as body_report
from training.tasks.bodies.action_data import ActionBatches
from training.tasks.bodies.clips import UnknownBodies
from training.tasks.bodies.floors import forecasting_floor
from training.tasks.bodies.forecast_data import PoseForecastBatches, PoseForecastData
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches, LiftData
from training.tasks.bodies.report import (
    AT_HEIGHT,
    Report,
    Row,
    answers,
    errors,
    forecasting,
    lifted,
    lifting,
    measure,
    recognition,
    scores,
    table,
    zero_velocity,
)


@pytest.fixture
def lift(data_folder: Path) -> LiftBatches:
    return LIFT.data.load(data_folder)


@pytest.fixture
def forecast(data_folder: Path) -> PoseForecastBatches:
    return FORECAST.data.load(data_folder)


@pytest.fixture
def actions(data_folder: Path) -> ActionBatches:
    return ACTIONS.data.load(data_folder)


class LookupNetwork(nn.Module):
    """A network that looks up the answer for each input in a table."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[bytes, np.ndarray] = {}

    def learn(self, x: np.ndarray, answer: np.ndarray) -> None:
        self.answers[x.astype(np.float32).tobytes()] = answer

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([self.answers[each.numpy().tobytes()] for each in x]))


def lookup_lifter(batches: LiftBatches, offset: Any = 0.0) -> LookupNetwork:
    """Return a lifter whose answers for all test clips are off by `offset(clip)` metres along x."""
    network = LookupNetwork()
    for clip in batches.clips("test"):
        answer = np.nan_to_num(clip.targets) + np.array([offset(clip) if callable(offset) else offset, 0, 0])
        channels = 3 if batches.data.with_confidence else 2
        x = edge_padded(shown(clip.keypoints, clip.confidence)[..., :channels], batches.data.receptive)
        network.learn(x, answer.astype(np.float32))
    return network


def tiny_lifter() -> nn.Module:
    torch.manual_seed(0)
    return LIFT.build().eval()


# --- lifting ---


def test_lifting_a_clip_equals_lifting_its_windows_one_by_one(lift: LiftBatches):
    network = tiny_lifter()
    for clip in lift.clips("test")[::3]:
        padded = edge_padded(clip.keypoints, 9)
        slow = [answers(network, padded[t : t + 9][None])[0, 0] for t in range(len(clip.targets))]
        np.testing.assert_allclose(lifted(network, lift, clip), np.stack(slow), atol=1e-6)


def test_a_missing_keypoint_and_its_confidence_are_0_for_the_network(data_folder: Path, lift: LiftBatches):
    data = replace(lift.data, with_confidence=True)
    batches = LiftData.load(data, data_folder)
    clip = lift.clips("test")[0]
    keypoints, confidence = clip.keypoints.copy(), clip.confidence.copy()
    keypoints[:, 4], confidence[:, 4] = np.nan, 0
    seen: list[np.ndarray] = []

    class Recorder(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.numpy())
            return torch.zeros(1, x.shape[1] - 8, 17, 3)

    lifted(Recorder(), batches, replace(clip, keypoints=keypoints, confidence=confidence))
    lifted(Recorder(), lift, replace(clip, keypoints=keypoints, confidence=confidence))
    (x,), (without,) = seen
    assert x.shape == (len(keypoints) + 8, 17, 3)
    assert not x[:, 4].any()
    assert (np.delete(x, 4, axis=1)[..., 2] == 1).all()
    np.testing.assert_array_equal(without, x[..., :2])


def test_a_row_of_lifting_equals_a_loop_over_frames(lift: LiftBatches):
    network = tiny_lifter()
    (row,) = lifting(network, lift, "test").rows
    distances, velocity_errors, recording = [], [], []
    for clip in lift.clips("test"):
        poses = lifted(network, lift, clip)
        for t, (pose, true) in enumerate(zip(poses, clip.targets, strict=True)):
            distances.append(np.mean([math.dist(a, b) for a, b in zip(pose.tolist(), true.tolist(), strict=True)]))
            recording.append(clip.name)
            if t:
                steps = (pose - poses[t - 1]) - (true - clip.targets[t - 1])
                velocity_errors.append(np.linalg.norm(steps, axis=-1).mean())
    assert (row.source, row.samples, row.clips) == ("hdm05_11", len(distances), CLIPS)
    assert row.figures["MPJPE"] == pytest.approx(1000 * np.mean(distances), rel=1e-5)
    assert row.figures["MPJVE"] == pytest.approx(1000 * np.mean(velocity_errors), rel=1e-5)
    assert list(row.figures) == ["MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE", AT_HEIGHT]
    assert row.figures["P-MPJPE"] < row.figures["N-MPJPE"] < row.figures["MPJPE"]
    numbers = np.unique(recording, return_inverse=True)[1]
    assert numbers.max() == 1  # four cameras see a recording; the bootstrap draws it with all of them
    assert row.interval == pytest.approx(bootstrap_interval(1000 * np.array(distances), numbers), rel=1e-5)


def test_a_perfect_lifter_has_no_error_even_with_unknown_joints(data_folder: Path, lift: LiftBatches):
    (row,) = lifting(lookup_lifter(lift), lift, "test").rows
    assert row.figures == pytest.approx(dict.fromkeys(row.figures, 0.0), abs=1e-3)
    idle = replace(LIFT.data, sources=("reactidle",), fps=2.0, turns=(), with_confidence=True).load(data_folder)
    assert np.isnan(idle.clips("test")[0].targets).any()
    (row,) = lifting(lookup_lifter(idle), idle, "test").rows
    assert row.figures == pytest.approx(dict.fromkeys(row.figures, 0.0), abs=1e-3)
    (row,) = lifting(lookup_lifter(idle, 0.05), idle, "test").rows  # the control
    assert row.figures["MPJPE"] == pytest.approx(50, abs=0.01)
    assert row.figures["P-MPJPE"] == pytest.approx(0, abs=1e-3)
    assert row.figures["MPJVE"] == pytest.approx(0, abs=1e-3)


def labelled(batches: LiftBatches, source: str, labels: list[str]) -> LiftBatches:
    """Return test clips of `source` with these labels and different lengths."""
    result = LiftBatches(replace(LiftData(()), **{**vars(batches.data), "sources": (source,)}), batches.folder)
    clips = [clip for clip in batches.clips("test") if len(clip.targets) > len(labels) + 3]
    result.recordings = [
        cut(replace(clip, source=source, label=label), len(labels) + 3 - i)
        for i, (label, clip) in enumerate(zip(labels, clips, strict=False))
    ]
    assert len(result.recordings) == len(labels)
    return result


def cut(clip: LiftClip, frames: int) -> LiftClip:
    arrays = {name: getattr(clip, name)[:frames] for name in ("keypoints", "confidence", "targets")}
    return replace(clip, **arrays)


def made_up(
    batches: LiftBatches, source: str, parts: list[tuple[str, str, float]]
) -> tuple[LiftBatches, LookupNetwork]:
    """Return test clips of these (label, subject, error in mm), the first the longest, and a lifter with these errors."""
    chosen = labelled(batches, source, [label for label, _, _ in parts])
    chosen.recordings = [
        replace(clip, subject=subject) for clip, (_, subject, _) in zip(chosen.recordings, parts, strict=True)
    ]
    off = {id(clip): mm / 1000 for clip, (_, _, mm) in zip(chosen.recordings, parts, strict=True)}
    return chosen, lookup_lifter(chosen, lambda clip: off[id(clip)])


def test_the_figure_of_human36m_is_the_mean_over_actions_and_elsewhere_over_frames(lift: LiftBatches):
    parts = [("Walking", "S9", 30.0), ("Walking", "S11", 60.0), ("Eating", "S9", 10.0)]  # of 6, 5 and 4 frames
    published, network = made_up(lift, "human36m", parts)
    assert [len(clip.targets) for clip in published.recordings] == [6, 5, 4]
    (row,) = lifting(network, published, "test").rows
    walking = (6 * 30 + 5 * 60) / 11  # both subjects together
    assert row.cells["Walking"]["MPJPE"] == pytest.approx(walking, rel=1e-4)
    assert row.cells["Eating"]["MPJPE"] == pytest.approx(10, rel=1e-4)
    assert row.figures["MPJPE"] == pytest.approx((walking + 10) / 2, rel=1e-4)
    assert (row.samples, row.clips, row.interval) == (15, 3, None)
    elsewhere, network = made_up(lift, "hdm05_11", parts)
    (row,) = lifting(network, elsewhere, "test").rows
    assert row.figures["MPJPE"] == pytest.approx((6 * 30 + 5 * 60 + 4 * 10) / 15, rel=1e-4)
    assert row.cells == {}


def test_the_figure_of_humaneva_is_the_mean_over_subjects_and_actions_without_gestures(lift: LiftBatches):
    parts = [
        ("Walking", "S1", 1.0), ("Walking", "S1", 2.0), ("Jog", "S1", 4.0), ("Walking", "S2", 3.0), ("Gestures", "S1", 40.0)
    ]  # fmt: skip
    published, network = made_up(lift, "humaneva", parts)
    frames = [len(clip.targets) for clip in published.recordings]
    (row,) = lifting(network, published, "test").rows
    chunks = (frames[0] * 1 + frames[1] * 2) / (frames[0] + frames[1])  # of one walk
    assert {cell: one["MPJPE"] for cell, one in row.cells.items()} == pytest.approx(
        {"Walk S1": chunks, "Jog S1": 4, "Walk S2": 3}, rel=1e-4
    )
    # 2.8; the mean over actions, gestures among them, would be 15.3
    assert row.figures["MPJPE"] == pytest.approx((chunks + 4 + 3) / 3, rel=1e-4)
    assert (row.samples, row.clips) == (sum(frames[:4]), 4)
    gestures, network = made_up(lift, "humaneva", [("Gestures", "S1", 40.0)])
    with pytest.raises(UnknownBodies, match="clips of humaneva that its protocol counts, got none"):
        lifting(network, gestures, "test")


def test_every_source_has_a_row_and_splits_have_different_clips(data_folder: Path, lift: LiftBatches):
    both = replace(LIFT.data, sources=("hdm05_11", "cmu_9act"), turns=()).load(data_folder)
    report = measure(tiny_lifter(), both, "test")
    assert [row.source for row in report.rows] == ["hdm05_11", "cmu_9act"]
    (alone,) = lifting(tiny_lifter(), lift, "test").rows
    assert report.row("hdm05_11") == alone
    (other,) = lifting(tiny_lifter(), lift, "validation").rows
    assert other.figures["MPJPE"] != alone.figures["MPJPE"]


def test_a_clip_has_one_error_a_frame(lift: LiftBatches):
    clip = lift.clips("test")[0]
    by_figure = errors(clip, clip.targets + np.float32(0.01))
    assert {name: len(x) for name, x in by_figure.items()} == {
        **dict.fromkeys(("MPJPE", "P-MPJPE", "N-MPJPE", AT_HEIGHT), len(clip.targets)),
        "MPJVE": len(clip.targets) - 1,
    }
    np.testing.assert_allclose(by_figure["MPJPE"], 10 * math.sqrt(3), rtol=1e-3)


# --- forecasting ---


def test_a_row_of_forecasting_equals_a_loop_over_samples(forecast: PoseForecastBatches):
    report = forecasting(zero_velocity(4), forecast, "test")
    assert [row.source for row in report.rows] == ["reactidle", "cmu_9act"]
    for row in report.rows:
        near: list[list[bool]] = [[], [], [], []]
        distances = []
        frames = forecast.frames("test", row.source)
        for i in range(len(frames.rows)):
            inputs, true = forecast.batch(frames, np.array([i]))
            for step in range(4):
                off = np.linalg.norm(inputs["past"][0, -1, :, :2] - true[0, step, :, :2], axis=-1)
                seen = true[0, step, :, 2] == 1
                near[step] += (off[seen] <= 0.1).tolist()
                distances += off[seen].tolist()
        assert (row.samples, row.clips) == (len(frames.rows), CLIPS)
        shares = [100 * np.mean(step) for step in near]
        for step, share in enumerate(shares, 1):
            assert row.figures[f"PCK@0.05, step {step}"] == pytest.approx(share)
        assert row.figures["PCK@0.05"] == pytest.approx(np.mean(shares))
        assert row.figures["distance"] == pytest.approx(100 * np.mean(distances), rel=1e-5)
        assert shares[0] > shares[-1]


def test_the_batch_size_does_not_change_the_report(forecast: PoseForecastBatches, monkeypatch: pytest.MonkeyPatch):
    expected = forecasting(zero_velocity(4), forecast, "test")
    monkeypatch.setattr(body_report, "BATCH", 7)
    assert forecasting(zero_velocity(4), forecast, "test") == expected


def test_a_perfect_forecaster_has_no_error(forecast: PoseForecastBatches):
    network = LookupNetwork()
    for source in forecast.data.sources:
        frames = forecast.frames("test", source)
        inputs, future = forecast.batch(frames, np.arange(len(frames.rows)))
        for past, true in zip(inputs["past"], future, strict=True):
            network.learn(past, true[..., :2])
    for row in measure(network, forecast, "test").rows:
        assert row.figures["PCK@0.05"] > 99.9  # a few samples have equal pasts and different futures
        assert row.figures["distance"] < 0.1


def test_the_floor_of_forecasting_repeats_the_last_pose(forecast: PoseForecastBatches):
    past = np.random.default_rng(0).normal(size=(5, 3, 13, 3)).astype(np.float32)
    future = zero_velocity(4)(past)
    assert future.shape == (5, 4, 13, 2)
    for step in range(4):
        np.testing.assert_array_equal(future[:, step], past[:, 2, :, :2])
    assert forecasting_floor(forecast, "test") == forecasting(zero_velocity(4), forecast, "test")


def test_the_row_of_penn_action_has_the_legacy_pairing_too(data_folder: Path):
    batches = PoseForecastData().load(data_folder)
    batches.recordings = [clip for clip in batches.recordings if clip.split == "test"][:6]
    (row,) = forecasting(zero_velocity(16), batches, "test").rows
    legacy = [row.figures[f"legacy pairing, step {step}"] for step in range(1, 17)]
    correct = [row.figures[f"PCK@0.05, step {step}"] for step in range(1, 17)]
    assert row.samples == sum(len(clip.points) for clip in batches.recordings)
    assert row.clips == 6
    assert legacy != correct
    assert "legacy" not in table({"zero velocity": Report((row,))})


# --- recognition ---


def test_a_row_of_recognition_equals_a_loop_over_clips(actions: ActionBatches):
    torch.manual_seed(0)
    network = ACTIONS.build().eval()
    logits, labels = scores(network, actions, "test")
    clips = [clip for _, (inputs, _) in actions.batches("test") for clip in inputs["clips"]]
    slow = np.stack([answers(network, clip[None])[0] for clip in clips])
    np.testing.assert_allclose(logits, slow, atol=1e-5)
    np.testing.assert_array_equal(labels, actions.clips.labels[actions.chosen("test")])
    (row,) = recognition(network, actions, "test").rows
    places = [sorted(range(11), key=lambda k: -x[k]).index(label) for x, label in zip(slow, labels, strict=True)]
    assert row.figures["top-1"] == pytest.approx(100 * np.mean([place < 1 for place in places]))
    assert row.figures["top-5"] == pytest.approx(100 * np.mean([place < 5 for place in places]))
    assert (row.source, row.samples, row.clips) == ("hdm05_11", len(clips), len(clips))
    right = 100.0 * np.array([place < 1 for place in places])
    assert row.interval == bootstrap_interval(right, np.arange(len(right)))


@pytest.mark.parametrize(("shift", "top"), [(0, 100.0), (1, 0.0)])
def test_top_1_is_100_for_a_perfect_recogniser_and_0_for_one_that_is_off_by_a_class(
    actions: ActionBatches, shift: int, top: float
):
    network = LookupNetwork()
    for _, (inputs, labels) in actions.batches("test"):
        for clip, label in zip(inputs["clips"], labels, strict=True):
            network.learn(clip, np.eye(11, dtype=np.float32)[(label + shift) % 11])
    (row,) = measure(network, actions, "test").rows
    assert row.figures["top-1"] == top
    assert row.interval == (top, top)


# --- shared by all ---


def test_a_network_runs_in_evaluation_mode():
    network = LIFT.build().train()
    x = np.random.default_rng(0).normal(size=(2, 12, 17, 2)).astype(np.float32)
    np.testing.assert_array_equal(answers(network, x), answers(network, x))
    assert not network.training


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path):
    rows = (
        Row("hdm05_11", 10, 2, {"MPJPE": 70.25, "MPJVE": 1 / 3}, (60.5, 80.125)),
        Row("human36m", 9, 3, {"MPJPE": 50.0, "MPJVE": 2.0}, cells={"Walking": {"MPJPE": 50.0, "MPJVE": 2.0}}),
    )
    path = tmp_path / "deep" / "test.json"
    Report(rows).write(path)
    assert Report.read(path) == Report(rows)
    assert Report.read(path).row("human36m").interval is None


def test_an_unknown_source_has_no_row():
    with pytest.raises(StopIteration):
        Report(()).row("hdm05_11")


def test_the_table_has_a_line_for_each_source_and_network():
    def report(mm: float) -> Report:
        return Report(tuple(Row(source, 10, 2, {"MPJPE": mm, "legacy": 3.0}) for source in ("a", "b")))

    lines = table({"without": report(90.04), "network": report(70.0)}).splitlines()
    assert lines == [
        "| source | network | samples | clips | MPJPE |",
        "|---|---|---|---|---|",
        "| a | without | 10 | 2 | 90.0 |",
        "| a | network | 10 | 2 | 70.0 |",
        "| b | without | 10 | 2 | 90.0 |",
        "| b | network | 10 | 2 | 70.0 |",
    ]
