"""Tests of the benchmark tables of bodies: no network is trained twice, the best cell is bold, and every line has its runs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from body_runs import ACTIONS, LIFT, variant_of
from drawings import colours_of, picture_at
from torch import Tensor, nn

from models.contract.symmetry import Mirror
from models.contract.task import ActionRecognition, PoseForecast
from training.__main__ import main
from training.catalogue import all_runs, get_run
from training.engine.benchmark import REPORT, measured
from training.engine.checkpoints import BEST, load_best
from training.engine.folders import folder_of
from training.engine.run import Run
from training.engine.watch import Watch
from training.tasks.bodies import benchmark as body_benchmark
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.benchmark import KINDS, SUITES, Line, Suite, measure_alone, measure_averaged
from training.tasks.bodies.floors import lifting_floor
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.report import Report, Row, measure

PLAIN = variant_of(LIFT, "few-lifted-plain", chiral=False)


class FlipAverage(nn.Module):
    """The reference implementation of averaging over the flip."""

    def __init__(self, network: nn.Module, task: Any) -> None:
        super().__init__()
        self.network = network
        self.input_moves, self.output_moves = (
            next(iter(specs.values())).moves for specs in (task.inputs, task.outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.network(x) + mirrored(self.network(mirrored(x, self.input_moves)), self.output_moves)) / 2


def mirrored(x: Tensor, mirror: Mirror) -> Tensor:
    return torch.from_numpy(mirror.of(x.numpy()))


@pytest.fixture(scope="module")
def plain(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """Train a plain lifter; return its folder of runs and its report."""
    out = tmp_path_factory.mktemp("out")
    return out, measured(PLAIN, 0, data_folder, out, Report, measure_alone, Watch(bar=False))


def test_a_run_is_trained_once_and_its_report_is_read_later(plain, data_folder: Path, monkeypatch: pytest.MonkeyPatch):
    out, report = plain
    folder = folder_of(out, PLAIN, 0)
    assert (folder / BEST).is_file()
    assert Report.read(folder / REPORT) == report
    assert report == measure(load_best(PLAIN, folder / BEST), PLAIN.data.load(data_folder), "test")
    monkeypatch.setattr("training.engine.loop.trained", lambda *_, **__: pytest.fail("trained again"))

    def again(*_: Any) -> Report:
        pytest.fail("measured again")

    assert measured(PLAIN, 0, data_folder, out, Report, again) == report
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        measured(PLAIN, 1, data_folder, out, Report, again)  # another seed is another network


def test_averaging_over_flips_evaluates_the_mean_of_both_answers(plain, data_folder: Path, tmp_path: Path):
    out, report = plain
    best, batches = folder_of(out, PLAIN, 0) / BEST, PLAIN.data.load(data_folder)
    averaged = measured(PLAIN, 0, data_folder, tmp_path, Report, measure_averaged, Watch(bar=False))
    slow = measure(FlipAverage(load_best(PLAIN, best), PLAIN.task), batches, "test")
    (row,), (twin,), (alone,) = averaged.rows, slow.rows, report.rows
    assert row.figures == pytest.approx(twin.figures, rel=1e-4)
    assert abs(row.figures["MPJPE"] - alone.figures["MPJPE"]) > 0.1


def few_runs(chiral: Run[Any, Any], stem: str) -> dict[str, Run[Any, Any]]:
    kinds = {"plain": (False, 0.0), "flips": (False, 0.5), "chiral": (True, 0.0)}
    return {
        f"{stem}-{kind}": variant_of(chiral, f"{stem}-{kind}", chiral=c, mirror=mirror)
        for kind, (c, mirror) in kinds.items()
    }


def test_the_tables_are_printed_with_a_picture_and_nothing_is_trained_twice(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    less = replace(LIFT, data=replace(LIFT.data, share=0.5), optimisation=replace(LIFT.optimisation, steps=2))
    runs = few_runs(less, "lift-some") | few_runs(LIFT, "lift-all")
    suite = Suite(
        "Lifting",
        (
            Line("MPJPE", "lift-all", "hdm05_11", "MPJPE", (0,)),
            Line("velocity", "lift-all", "hdm05_11", "MPJVE", (0,)),
        ),
        min,
        lambda batches, source: lifting_floor(batches, "test", source),
        "something else",
    )
    monkeypatch.setattr("training.catalogue.all_runs", lambda: runs)
    monkeypatch.setattr(body_benchmark, "SUITES", (suite,))
    monkeypatch.setattr(body_benchmark, "SHARES", {"50 %": "some", "100 %": "all"})
    monkeypatch.setattr(body_benchmark, "FEWER", (0,))
    arguments = ["--data", str(data_folder), "--out", str(tmp_path), "benchmark", "bodies"]
    main(arguments)
    shown = capsys.readouterr().out
    head, rule, first, second, _, published = shown.strip().splitlines()
    assert head == f"| Lifting | {' | '.join(KINDS.values())} | without a network | samples |"
    assert len({line.count("|") for line in (head, rule, first, second)}) == 1
    assert published == "Published: something else."
    floor = lifting_floor(LIFT.data.load(data_folder), "test", "hdm05_11")
    for line, figure in ((first, "MPJPE"), (second, "MPJVE")):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        reports = [Report.read(folder_of(tmp_path, runs[f"lift-all-{kind}"], 0) / REPORT) for kind in KINDS]
        values = [report.row("hdm05_11").figures[figure] for report in reports]
        assert [cell.strip("*") for cell in cells[1:4]] == [f"{value:.1f} ± 0.0" for value in values]
        assert cells[1 + int(np.argmin(values))].startswith("**")
        assert cells[4:] == [f"{floor.figures[figure]:.1f}", str(floor.samples)]
    assert colours_of(picture_at(tmp_path / "bodies-limited-data.png")) > 10
    monkeypatch.setattr("training.engine.loop.trained", lambda *_, **__: pytest.fail("trained again"))
    main(arguments)
    assert capsys.readouterr().out == shown


VALUES = {  # of each kind of network and seed
    "plain": (50.0, 60.0, 70.0),
    "flips": (52.0, 55.0, 55.0),
    "chiral": (52.0, 54.0, 53.0),
}


@pytest.mark.parametrize(("better", "bold"), [(min, "chiral"), (max, "plain")])
def test_a_cell_is_the_mean_and_spread_over_seeds_and_the_best_cell_is_bold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, better: Any, bold: str
):
    requested = []

    def answer(run: Any, seed: int, data_folder: Path, out: Path, report: Any, how: Any, watch: Any) -> Report:
        requested.append((run.name, seed, how))
        kind = run.name.removeprefix("made-up-")
        return Report((Row("other", 1, 1, {"figure": 0.0}), Row("ours", 7, 2, {"figure": VALUES[kind][seed]})))

    floors = []

    def floor(_: Any, source: str) -> Row:
        floors.append(source)
        return Row(source, 7, 2, {"figure": 99.94})

    suite = Suite("Made up", (Line("a", "made-up", "ours", "figure"),) * 2, better, floor, "nothing")
    data = SimpleNamespace(load=lambda folder: None)
    monkeypatch.setattr(body_benchmark, "SUITES", (suite,))
    monkeypatch.setattr(body_benchmark, "get_run", lambda name: SimpleNamespace(name=name, data=data))
    monkeypatch.setattr(body_benchmark, "measured", answer)
    monkeypatch.setattr(body_benchmark, "draw_limited_data", lambda *_: None)
    lines = body_benchmark.tables(tmp_path, tmp_path).splitlines()
    cells = {"plain": "60.0 ± 8.2", "flips": "54.0 ± 1.4", "chiral": "53.0 ± 0.8"}
    cells[bold] = f"**{cells[bold]}**"
    assert lines[2] == lines[3] == f"| a | {' | '.join(cells.values())} | 99.9 | 7 |"
    assert floors == ["ours"]  # fitted once a data set
    assert sorted(requested, key=lambda r: r[:2]) == [  # once each, though two lines and a picture show them
        (f"made-up-{kind}", seed, measure_averaged if kind == "flips" else measure_alone)
        for kind in sorted(KINDS)
        for seed in (0, 1, 2)
    ]


def test_the_picture_has_a_line_for_each_network_over_the_shares_of_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    drawn: list[Any] = []

    def report(stem: str, kind: str, seed: int) -> Report:
        place = list(body_benchmark.SHARES.values()).index(stem.removeprefix("lift-"))
        return Report((Row("hdm05_11", 1, 1, {"MPJPE": 100.0 * list(KINDS).index(kind) + 10 * seed + place}),))

    monkeypatch.setattr(body_benchmark, "curves", lambda *arguments, **options: drawn.append((arguments, options)))
    body_benchmark.draw_limited_data(report, tmp_path / "picture.png")
    (((lines, at, path), options),) = drawn
    assert list(lines) == list(KINDS.values())
    assert at == [0.5, 2, 10, 100]
    assert path == tmp_path / "picture.png"
    assert options["logarithmic"]
    for kind, values in enumerate(lines.values()):
        np.testing.assert_array_equal(values, 100 * kind + 10 * np.arange(2)[:, None] + np.arange(4))


# --- the real tables ---


def test_every_line_has_three_runs_that_differ_only_in_the_symmetry():
    runs: dict[str, Any] = {**all_runs()}
    for line in (line for suite in SUITES for line in suite.lines):
        plain, flips, chiral = (runs[f"{line.stem}-{kind}"] for kind in KINDS)
        assert (plain.network.chiral, flips.network.chiral, chiral.network.chiral) == (False, False, True)
        mirrors = [run.data.augmentation.mirror for run in (plain, flips, chiral)]
        assert mirrors == [0.0, 0.5, 0.0]
        assert replace(plain.network, chiral=True) == chiral.network
        assert (
            replace(flips.data, augmentation=replace(flips.data.augmentation, mirror=0.0)) == plain.data == chiral.data
        )
        assert plain.task == flips.task == chiral.task
        assert plain.optimisation == flips.optimisation == chiral.optimisation
        assert line.source in getattr(plain.data, "sources", (getattr(plain.data, "source", None),))


def test_the_figure_of_every_line_is_in_the_reports():
    for suite in SUITES:
        for line in suite.lines:
            task = get_run(f"{line.stem}-chiral").task
            if isinstance(task, PoseForecast):
                names = {"PCK@0.05", *(f"PCK@0.05, step {step}" for step in range(1, task.future + 1))}
            else:
                names = {"top-1"} if isinstance(task, ActionRecognition) else {"MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE"}
            assert line.figure in names
            assert suite.better is (min if "mm" in suite.title.split(", ")[-1] else max)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, run in all_runs().items()
        if isinstance(run.data, ActionData) and run.data.source != "kinetics" and "flips" not in name
    ],
)
def test_a_recogniser_has_the_classes_of_its_data_in_their_order(data_folder: Path, name: str):
    """In another order every label would mean another class, and no other test would fail."""
    run = get_run(name)
    clips = run.data.load(data_folder).clips
    assert run.task.classes == clips.classes
    assert (run.task.order, run.task.dims, run.task.persons) == (clips.skeleton.name, clips.dims, clips.persons)
    assert run.task.class_mirror == clips.class_mirror
    assert ACTIONS.task.classes == ACTIONS.data.load(data_folder).clips.classes


def test_the_licence_of_runs_with_boxes_of_whole_clips_forbids_distribution():
    runs = [run for run in all_runs().values() if isinstance(run.data, PoseForecastData)]
    clipped = {run.name for run in runs if run.task.box == "clip"}
    assert clipped
    assert all("not for distribution" in get_run(name).licence for name in clipped)
