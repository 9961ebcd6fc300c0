"""Tests of the study of a network on bodies: its tables and pictures, and a bundle with its measurements and symmetry."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from body_runs import RUNS, FewLifted, variant_of
from drawings import colours_of, picture_at
from torch import nn

from models.contract.bundle import Bundle, read_bundle, repeat_example
from models.contract.symmetry import violation
from models.contract.task import check_inputs, moves
from models.motion.bodies import edge_padded
from training.engine.checkpoints import load_best
from training.engine.export import (
    BrokenSymmetry,
    Facts,
    export,
    onnx_runner,
)
from training.engine.loop import Training, train
from training.engine.run import Run
from training.engine.watch import Watch
from training.tasks.bodies.readers.npz import read_bodies
from training.tasks.bodies.report import AT_HEIGHT, Report, Row, measure
from training.tasks.bodies.sources import lift_clips
from training.tasks.bodies.study import (
    CLIP_FRAMES,
    best_floor,
    facts,
    floors,
    show,
)

pytestmark = pytest.mark.long(40)

every_kind = pytest.mark.parametrize("kind", RUNS)
INPUTS = {"lift": "keypoints", "forecast": "past", "actions": "clips"}


def exported(run: Run[Any, Any], network: nn.Module, measured: Facts, folder: Path) -> Bundle:
    options: dict[str, Any] = {
        "title": run.title,
        "licence": run.licence,
        "command": f"python -m training export {run.name}",
    }
    return export(network, folder, measured, name=run.name, **options)


@pytest.fixture(scope="module")
def networks(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, nn.Module]:
    """Train each kind for a few steps."""
    networks = {}
    for kind, run in RUNS.items():
        best = train(Training(run, 0, data_folder, tmp_path_factory.mktemp(kind), "cpu"), Watch(bar=False))
        networks[kind] = load_best(run, best)
    return networks


@pytest.fixture(scope="module")
def all_facts(networks: dict[str, nn.Module], data_folder: Path) -> dict[str, tuple[Facts, str]]:
    return {kind: facts(run, networks[kind], data_folder) for kind, run in RUNS.items()}


@every_kind
def test_a_bundle_is_read_back_repeats_its_example_and_is_equivariant(
    kind: str, networks: dict[str, nn.Module], all_facts: dict[str, tuple[Facts, str]], tmp_path: Path
):
    run, (measured, _) = RUNS[kind], all_facts[kind]
    exported(run, networks[kind], measured, tmp_path / run.name)
    bundle = read_bundle(tmp_path / run.name)
    assert (bundle.meta.task, bundle.meta.symmetries) == (run.task, ("chirality",))
    assert (bundle.meta.measurements, bundle.meta.trained_on) == (measured.measurements, measured.trained_on)
    assert bundle.meta.parameters == sum(p.numel() for p in networks[kind].parameters())
    graph = onnx_runner(bundle.model.read_bytes())
    assert repeat_example(bundle, graph) <= 1e-5
    inputs, _ = bundle.example()
    assert violation(graph, "chirality", inputs, moves=moves(run.task)) <= 1e-5
    card = (bundle.folder / "README.md").read_text()
    assert all(measurement.metric in card for measurement in measured.measurements)
    assert all(source.attribution in card for source in measured.trained_on)


def test_a_network_without_the_symmetry_that_it_claims_is_refused_and_nothing_is_written(
    all_facts: dict[str, tuple[Facts, str]], tmp_path: Path
):
    run = variant_of(RUNS["lift"], "plain", chiral=False)
    torch.manual_seed(0)
    plain: Any = run.build()
    with torch.no_grad():
        plain(torch.randn(8, 9, 17, 2))
        for parameter in plain.parameters():
            parameter += 0.03 * torch.randn(parameter.shape)
    assert plain.symmetries == ()
    plain.symmetries = ("chirality",)
    with pytest.raises(BrokenSymmetry, match="the ONNX graph of plain claims chirality and breaks it by"):
        exported(run, plain, all_facts["lift"][0], tmp_path / "plain")
    assert list(tmp_path.iterdir()) == []


@every_kind
def test_facts_are_the_figures_of_the_test_split_beside_those_of_the_baseline(
    kind: str, networks: dict[str, nn.Module], all_facts: dict[str, tuple[Facts, str]], data_folder: Path
):
    run, (measured, text) = RUNS[kind], all_facts[kind]
    batches = run.data.load(data_folder)
    report, without = measure(networks[kind], batches, "test"), floors(batches, "test")
    expected = [
        (row.source, row.samples, row.clips, round(value, 2), round(best_floor(without, row.source, name)[1], 2))
        for row in report.rows
        for name, value in row.figures.items()
        if "step" not in name
    ]
    assert expected == [(m.source, m.windows, m.recordings, m.value, m.baseline_value) for m in measured.measurements]
    assert {m.split for m in measured.measurements} == {"test"}
    forecasts = ["PCK@0.05, mean over the horizon", "mean distance", "distance at the first step"]
    names, units = {
        "lift": (["MPJPE", "P-MPJPE", "N-MPJPE", "velocity error, a frame", AT_HEIGHT], {"mm"}),
        "forecast": (forecasts, {"%", "% of half the box"}),
        "actions": (["top-1", "top-5"], {"%"}),
    }[kind]
    assert [m.metric for m in measured.measurements] == names * len(report.rows)
    assert {m.unit for m in measured.measurements} == units
    assert {m.baseline for m in measured.measurements} <= set(without)
    intervals = [m.interval for m in measured.measurements]
    assert intervals[0] == report.rows[0].interval
    assert not any(interval for i, interval in enumerate(intervals) if i % len(names))
    assert text.count("\n") == 1 + (1 + len(without)) * len(report.rows)


def test_the_best_floor_is_the_highest_share_and_the_least_distance():
    def report(share: float, distance: float) -> Report:
        return Report((Row("a", 10, 2, {"PCK@0.05": share, "distance": distance}),))

    both = {"zero velocity": report(50, 3), "ridge": report(40, 2)}
    assert best_floor(both, "a", "PCK@0.05") == ("zero velocity", 50)
    assert best_floor(both, "a", "distance") == ("ridge", 2)


@every_kind
def test_the_example_is_one_real_input_of_the_test_split(
    kind: str, all_facts: dict[str, tuple[Facts, str]], data_folder: Path
):
    run, example = RUNS[kind], all_facts[kind][0].example
    check_inputs(run.task, example, "the example")
    (name,) = example
    assert name == INPUTS[kind]
    assert len(example[name]) == 1
    batches = run.data.load(data_folder)
    if kind == "lift":
        windows = [edge_padded(clip.keypoints[:CLIP_FRAMES], 9) for clip in batches.clips("test")]
    elif kind == "forecast":
        frames = batches.frames("test")
        windows = list(batches.batch(frames, np.arange(len(frames.rows)))[0]["past"])
    else:
        windows = [clip for _, (inputs, _) in batches.batches("test") for clip in inputs["clips"]]
    assert any(x.shape == example[name][0].shape and np.array_equal(x, example[name][0]) for x in windows)


def test_training_sources_are_counted_in_recordings_rather_than_camera_views(
    all_facts: dict[str, tuple[Facts, str]], data_folder: Path
):
    def counted(kind: str) -> dict[str, int]:
        return {source.name: source.recordings for source in all_facts[kind][0].trained_on}

    lift = RUNS["lift"].data.load(data_folder)
    seen = [clip.name for clip in lift.clips("train")]
    assert counted("lift") == {"hdm05_11": 2}
    assert len(seen) == 8  # of four cameras each
    all_clips = [clip for clip in read_bodies(data_folder / "body", "hdm05_11") if clip.split == "train"]
    assert counted("actions") == {"hdm05_11": len(all_clips)}
    assert counted("forecast") == {
        "reactidle": 4,
        "cmu_9act": 4,
    }  # without hold_out, validation recordings are trained on
    assert {source.licence for source in all_facts["forecast"][0].trained_on} == {"MIT", "free for all uses, no resale"}


def test_a_turned_copy_of_a_recording_is_not_counted_again(
    networks: dict[str, nn.Module], data_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    run = RUNS["lift"]
    batches = run.data.load(data_folder)
    turned = lift_clips(
        *(data_folder / "body", "hdm05_11", batches.seen, batches.skeleton), keypoints="", fps=6, turns=(10.0, 20.0)
    )
    first = next(clip.name for clip in turned if clip.split == "train")
    copies = [clip for clip in turned if clip.split == "train" and clip.name.startswith(first)]
    assert len({clip.name for clip in copies}) == 3
    batches.recordings = [*copies, *batches.clips("test")]
    monkeypatch.setattr(FewLifted, "load", lambda *_: batches)
    assert [source.recordings for source in facts(run, networks["lift"], data_folder)[0].trained_on] == [1]


def test_a_source_without_a_recorded_licence_is_refused(networks: dict[str, nn.Module], data_folder: Path):
    """Weights that were trained on bandai_namco may not ship."""
    run = replace(RUNS["lift"], data=replace(RUNS["lift"].data, sources=("bandai_namco",), fps=2, turns=()))
    with pytest.raises(KeyError, match="bandai_namco"):
        facts(run, networks["lift"], data_folder)


@pytest.mark.parametrize(
    ("kind", "pictures"),
    [
        ("lift", ["test-hdm05_11.png"]),
        (
            "forecast",
            ["test-cmu_9act-pck.png", "test-cmu_9act.png", "test-reactidle-pck.png", "test-reactidle.png"],
        ),
        ("actions", ["test-classes.png"]),
    ],
)
def test_a_study_prints_a_table_and_writes_reports_and_pictures(
    kind: str, pictures: list[str], networks: dict[str, nn.Module], data_folder: Path, tmp_path: Path
):
    run = RUNS[kind]
    text = show(run, networks[kind], data_folder, tmp_path, "test")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == pictures
    for name in pictures:
        picture = picture_at(tmp_path / name)
        assert min(picture.shape[:2]) > 200
        assert colours_of(picture) > 10
    batches = run.data.load(data_folder)
    assert Report.read(tmp_path / "test-network.json") == measure(networks[kind], batches, "test")
    without = floors(batches, "test")
    for name, report in without.items():
        assert Report.read(tmp_path / f"test-{name.replace(' ', '-')}.json") == report
    lines = text.splitlines()
    assert lines[0].startswith("| source | network | samples | clips |")
    assert {line.split("|")[2].strip() for line in lines[2:]} == {*without, "network"}
