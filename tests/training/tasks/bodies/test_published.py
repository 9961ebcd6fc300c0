"""Tests of the published experiments: files as published give the figures of a hand calculation, and every run trains and exports."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from body_releases import FRAMES, RIGID_FRAMES, write_release
from torch import Tensor, nn

from models.contract.bundle import read_bundle, repeat_example
from models.layers.chiral_spec import Spec
from models.motion.bodies import edge_padded, shown
from models.pose.recogniser import RecogniserConfig
from models.skeletons.body import mirrored
from training.__main__ import main
from training.catalogue import get_run
from training.engine.benchmark import REPORT, Choice, NoOptions
from training.engine.checkpoints import load_best
from training.engine.export import export, onnx_runner
from training.engine.folders import HISTORY, folder_of
from training.engine.loop import Training, in_steps, train
from training.engine.run import Run
from training.engine.watch import UNWATCHED, Watch
from training.tasks.bodies import published
from training.tasks.bodies.benchmark import measure_alone, measure_averaged
from training.tasks.bodies.cells import HUMAN36M, HUMANEVA
from training.tasks.bodies.floors import forecasting_floor
from training.tasks.bodies.lift_clips import LiftClip
from training.tasks.bodies.lift_data import LiftBatches
from training.tasks.bodies.published import TABLES, UnknownTable, tables
from training.tasks.bodies.report import Report, Row
from training.tasks.bodies.runs.published import RUNS, SUBSETS
from training.tasks.bodies.study import facts

pytestmark = pytest.mark.long(40)
SMALL = Spec(ln=2, lp=4, cn=1, cp=2)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """Write small copies of the published data sets; return the data folder."""
    return write_release(tmp_path_factory.mktemp("release") / "body", data_folder)


class Oracle(nn.Module):
    """A network that knows the answer to each input, and to its mirror image: the true poses, changed as `change` says."""

    def __init__(self, batches: LiftBatches, change: Callable[[LiftClip, np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.answers: dict[bytes, np.ndarray] = {}
        for clip in batches.clips("test"):
            keypoints = shown(clip.keypoints, clip.confidence)[..., :2]
            for image in (False, True):
                seen = mirrored(keypoints, clip.seen) if image else keypoints
                true = mirrored(clip.targets, clip.skeleton) if image else clip.targets
                answer = change(clip, true).astype(np.float32)
                self.answers[edge_padded(seen, batches.data.receptive).tobytes()] = answer

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([self.answers[each.numpy().tobytes()] for each in x]))


def oracle(run: Run[Any, Any], release: Path, change: Callable[[LiftClip, np.ndarray], np.ndarray]) -> Oracle:
    network = Oracle(run.data.load(release), change)
    network.task = run.task  # pyright: ignore[reportAttributeAccessIssue] - as networks have it
    return network


# --- the figures ---


def test_table_1_is_the_mean_over_fifteen_actions_of_both_test_subjects(release: Path):
    run = get_run("lift-human36m-single-chiral")

    def off(clip: LiftClip, true: np.ndarray) -> np.ndarray:
        place = HUMAN36M.index(clip.label)
        return true + np.array([0, (10 * place if clip.subject == "S9" else 20 * place) / 1000, 0])

    (row,) = measure_alone(run, oracle(run, release, off), release).rows
    missing = HUMAN36M.index("Directions")  # that of S11 is left out as corrupt
    expected = {action: 10.0 * i if i == missing else 15.0 * i for i, action in enumerate(HUMAN36M)}
    assert {action: cell["MPJPE"] for action, cell in row.cells.items()} == pytest.approx(expected, abs=1e-3)
    assert row.figures["MPJPE"] == pytest.approx(15 * 7)  # the mean of 0 to 14
    assert row.figures["P-MPJPE"] == pytest.approx(0, abs=1e-2)  # protocol 2 removes an offset
    assert row.clips == 4 * (15 + 14)


def test_protocol_2_removes_a_scale_and_protocol_1_does_not(release: Path):
    run = get_run("lift-human36m-single-chiral")
    (row,) = measure_alone(run, oracle(run, release, lambda _, true: 1.1 * true), release).rows
    lengths = {
        label: np.mean(np.concatenate([np.linalg.norm(clip.targets, axis=-1).mean(-1) for clip in clips]))
        for label, clips in by_label(run.data.load(release)).items()
    }
    assert row.figures["MPJPE"] == pytest.approx(100 * np.mean(list(lengths.values())), rel=1e-4)
    assert row.figures["P-MPJPE"] == pytest.approx(0, abs=1e-2)


def by_label(batches: LiftBatches) -> dict[str, list[LiftClip]]:
    clips = batches.clips("test")
    return {label: [clip for clip in clips if clip.label == label] for label in HUMAN36M}


def test_averaging_over_the_flip_removes_an_error_along_x_alone(release: Path):
    run = get_run("lift-human36m-single-flips")
    network = oracle(run, release, lambda _, true: true + np.array([0.03, 0.004, 0]))
    (alone,), (averaged,) = (one(run, network, release).rows for one in (measure_alone, measure_averaged))
    assert alone.figures["MPJPE"] == pytest.approx(np.hypot(30, 4), rel=1e-4)
    assert averaged.figures["MPJPE"] == pytest.approx(4, rel=1e-3)


def test_humaneva_is_the_mean_over_nine_cells_and_leaves_gestures_out(release: Path):
    run = get_run("lift-humaneva-chiral")
    mm = {"Walking": 1, "Jog": 2, "Box": 5, "Gestures": 40}

    def off(clip: LiftClip, true: np.ndarray) -> np.ndarray:
        return true + np.array([0, 0, mm[clip.label] * int(clip.subject[1]) / 1000])

    (row,) = measure_alone(run, oracle(run, release, off), release).rows
    cells = {
        "Walk S1": 1,
        "Walk S2": 2,
        "Walk S3": 3,
        "Jog S1": 2,
        "Jog S2": 4,
        "Jog S3": 6,
        "Box S1": 5,
        "Box S2": 10,
        "Box S3": 15,
    }
    assert {cell: one["MPJPE"] for cell, one in row.cells.items()} == pytest.approx(cells, abs=1e-3)
    assert tuple(cells) == HUMANEVA
    assert row.figures["MPJPE"] == pytest.approx(48 / 9, rel=1e-4)
    assert row.samples == 3 * 3 * 4 * FRAMES  # three cameras, three subjects, four chunks without the gestures
    assert {clip.label for clip in run.data.load(release).clips("train")} == {"Walking", "Jog", "Box"}


def test_penn_from_two_frames_repeats_the_second_and_a_constant_velocity_is_seen(release: Path):
    run = get_run("forecast-penn-velocity-chiral")
    batches = run.data.load(release)
    (row,) = forecasting_floor(batches, "test").rows
    # one of 13 joints moves by 0.03 half boxes a frame until the last frame: it is within 0.1 for three steps
    starts = np.arange(RIGID_FRAMES)
    for step in (1, 3, 4, 16):
        moved = np.minimum(starts + 1 + step, 18) - np.minimum(starts + 1, 18)
        assert row.figures[f"PCK@0.05, step {step}"] == pytest.approx(100 * (1 - np.mean(moved > 3) / 13))
    assert row.figures["PCK@0.05, step 16"] == pytest.approx(100 * (1 - 14 / 19 / 13))
    inputs, future = batches.batch(batches.frames("test"), np.array([0]))
    past = inputs["past"][0]
    assert past.shape == (2, 13, 2)
    extrapolated = past[1] + np.arange(1, 17)[:, None, None] * (past[1] - past[0])
    np.testing.assert_allclose(future[0, ..., :2], extrapolated, atol=1e-5)
    forced, _ = batches.training_batch(0, 0)
    assert (forced["teacher"][..., 2] == 1).all()  # every true pose is fed back


def test_less_labelled_data_are_pieces_of_the_recordings_of_the_subjects(release: Path):
    loaded = {subset: get_run(f"lift-human36m-{subset}-chiral").data.load(release) for subset in SUBSETS}
    frames = {subset: len(batches.training.start) for subset, batches in loaded.items()}
    clips = 15 * 4  # of a subject
    pieces = {"s1-per-1000": 1, "s1-per-100": 1, "s1-per-20": 1, "s1-per-10": 1, "s1-per-2": 6, "s1": 12}
    assert frames == {name: clips * n for name, n in pieces.items()} | {
        "s1-s5": 2 * clips * 12,
        "s1-s5-s6": 3 * clips * 12,
    }
    half = loaded["s1-per-2"]
    assert {clip.subject for clip in half.clips("train")} == {"S1"}
    assert {clip.subject for clip in half.clips("test")} == {"S9", "S11"}
    inputs, _ = half.batch(half.training, np.array([0]))
    seen = half.training.keypoints[half.training.start[0] : half.training.start[0] + 6]
    np.testing.assert_array_equal(inputs["keypoints"][0], edge_padded(seen, 27)[:27])  # what is cut off is not seen


# --- the networks ---


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lift-human36m-flips", 16_952_371),  # Pavllo's
        ("lift-human36m-chiral", 8_103_688),
        ("lift-human36m-full", 8_492_488),
        # expansion, six maps, shrinking, its bias, and seven normalisations of 660 scales and 560 shifts
        ("lift-human36m-single-chiral", 16_140 + 6 * 501_200 + 25_060 + 28 + 7 * (660 + 560)),
        ("forecast-penn-velocity-chiral", 2 * 6_349_200 + 13_293),
        ("forecast-penn-velocity-full", 2 * 6_552_480 + 13_533),
        ("forecast-penn-velocity-plain", 2 * 13_104_000 + 27_066),
    ],
)
def test_networks_have_the_papers_numbers_of_parameters(name: str, parameters: int):
    with torch.device("meta"):
        assert sum(p.numel() for p in get_run(name).build().parameters()) == parameters


def test_blocks_of_kinetics_negate_a_third_a_sixth_a_twelfth_and_none_of_their_numbers():
    with torch.device("meta"):
        network: Any = get_run("actions-kinetics-chiral").build()
    specs = [network.blocks[0].space.spec, *(block.space.out for block in network.blocks[:3])]
    assert [(2 * spec.ln + spec.cn) / spec.width for spec in specs] == pytest.approx([1 / 3, 1 / 6, 1 / 12, 0])
    fourth = network.blocks[3].space
    assert (fourth.spec, fourth.out) == (specs[3], Spec(cp=specs[3].width))
    with pytest.raises(ValueError, match="expected specs of the first 3 blocks, got 1"):
        RecogniserConfig(narrowing=(SMALL,))


def test_optimisers_are_the_papers():
    lift, penn, kinetics = (
        get_run(name).optimisation
        for name in ("lift-human36m-chiral", "forecast-penn-velocity-chiral", "actions-kinetics-chiral")
    )
    assert (lift.algorithm, lift.beta2, lift.learning_rate, lift.norm_momentum) == (
        "amsgrad",
        0.9999,
        1e-3,
        (0.1, 0.001),
    )
    assert (lift.epochs, lift.decay.factor, lift.decay.every) == (160, 0.95, 2)  # pyright: ignore - there is one
    assert (penn.algorithm, penn.learning_rate, penn.clip, penn.epochs) == ("amsgrad", 5e-3, 5.0, 30)
    assert (kinetics.algorithm, kinetics.learning_rate, kinetics.weight_decay, kinetics.epochs) == (
        "sgd",
        0.1,
        1e-4,
        90,
    )
    assert {run.optimisation.keep for run in RUNS} == {"last"}


# --- training ---


def small(run: Run[Any, Any], *, short: bool = False) -> Run[Any, Any]:
    """Return the run with a small network, two steps and, for a forecaster, a short future, which exports in seconds."""
    config: Any = run.network
    network = replace(config, hidden=SMALL)
    if getattr(network, "narrowing", None):
        network = replace(network, narrowing=(SMALL, Spec(lp=5, cp=2), Spec(lp=5, cp=2)))
    data, task = replace(run.data, batch=8), run.task
    if run.task.kind == "pose-forecast" and short:
        data, task = replace(data, future=2), task.model_copy(update={"future": 2})
    return replace(run, task=task, network=network, data=data).with_options(2, validate_every=2, checkpoint_every=2)


@pytest.mark.parametrize(
    "name",
    [
        "lift-human36m-chiral", "lift-human36m-single-flips", "lift-human36m-s1-per-1000-chiral", "lift-humaneva-full",
        "forecast-penn-velocity-chiral", "actions-kinetics-chiral",
    ],
)  # fmt: skip
def test_a_run_trains_and_exports(release: Path, tmp_path: Path, name: str):
    run = small(get_run(name), short=True)
    best = train(Training(run, 0, release, tmp_path, "cpu"), Watch(bar=False))
    network = load_best(run, best)
    measured, _ = facts(run, network, release)
    bundle = export(
        network, tmp_path / "bundle", measured, name=run.name, title=run.title, licence=run.licence, command="none"
    )
    repeat_example(read_bundle(bundle.folder), onnx_runner((bundle.folder / "model.onnx").read_bytes()))
    assert (bundle.meta.symmetries == ("chirality",)) == ("flips" not in name)
    assert bundle.meta.trained_on[0].recordings > 0
    assert "research" in bundle.meta.trained_on[0].licence


def test_a_run_of_epochs_trains_for_as_many_steps_as_its_data_have(release: Path, tmp_path: Path):
    run = small(get_run("forecast-penn-velocity-flips")).with_options(0, epochs=2, validate_every=1)
    batches = run.data.load(release)
    samples = 2 * RIGID_FRAMES  # of two training clips
    assert in_steps(run.optimisation, batches).steps == 2 * (samples // 8)
    best = train(Training(run, 0, release, tmp_path, "cpu"), Watch(bar=False))
    events = [json.loads(line) for line in (best.parent / HISTORY).read_text().splitlines()]
    assert [event["step"] for event in events] == list(range(1, 9))


# --- the tables ---


def written(out: Path, name: str, row: Row, file: str = REPORT) -> None:
    Report((row,)).write(folder_of(out, get_run(name), 0) / file)


def test_a_table_has_the_papers_columns_and_sets_published_means_beside_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cells = {cell: {"MPJPE": 10.0 + i, "P-MPJPE": 5.0} for i, cell in enumerate(HUMANEVA)}
    figures = {"MPJPE": 14.0, "P-MPJPE": 5.0}
    written(tmp_path, "lift-humaneva-chiral", Row("humaneva", 9, 9, figures, cells=cells))
    half = {cell: {"MPJPE": 2.0} for cell in HUMANEVA[:4]}
    written(tmp_path, "lift-humaneva-flips", Row("humaneva", 9, 9, {"MPJPE": 2.0}, cells=half), published.AVERAGED)
    main(["--out", str(tmp_path), "benchmark", "bodies-published", "--tables", "humaneva", "--no-train"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| HumanEva-I, protocol 1 (MPJPE), mm | {' | '.join(HUMANEVA)} | mean | published |"
    none = " | ".join(["-"] * 10)
    assert lines[2:7] == [
        f"| plain | {none} |  |",
        f"| plain, shown flips | {none} | 33.3 |",
        f"| plain, shown flips and averaged over them | 2.0 | 2.0 | 2.0 | 2.0 | {' | '.join(['-'] * 5)} | 2.0 | 33.0 |",
        "| chiral, the paper's map | 10.0 | 11.0 | 12.0 | 13.0 | 14.0 | 15.0 | 16.0 | 17.0 | 18.0 | 14.0 | 32.2 |",
        f"| chiral, full map | {none} |  |",
    ]
    assert lines[-1] == "The data have 4 of the 9 columns, over which the means are taken."


def test_a_table_trains_and_measures_what_it_lacks(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(published, "get_run", lambda name: small(get_run(name)))
    choice = Choice(tables=("penn", "penn-legacy"), results=tmp_path / "tables")
    text = tables(release, tmp_path, Watch(bar=False), choice)
    assert text == tables(release, tmp_path, Watch(bar=False), choice)
    assert text.startswith("| Penn Action from two frames, PCK@0.05, % | PCK@0.05, step 1 |")
    floor, plain, shown_flips, averaged, chiral, full = (line.split(" | ") for line in text.splitlines()[2:8])
    assert floor[0] == "| without a network"
    assert [line[-1] for line in (floor, plain, shown_flips, averaged, chiral, full)] == [
        " |",
        "60.4 |",
        "59.9 |",
        "60.5 |",
        "60.6 |",
        " |",
    ]
    assert floor[1] == "100.0"  # one step moves a joint by less than the limit
    assert (tmp_path / "tables/bodies-penn.md").read_text() == text[: text.index("\n\n")] + "\n"


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        (Choice(tables=("coco",)), UnknownTable, "no table 'coco'; there are human36m, human36m-aligned, "),
        (Choice(epochs=3), NoOptions, "no option epochs"),
    ],
)
def test_an_unknown_table_or_option_is_refused(tmp_path: Path, choice: Choice, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        tables(tmp_path, tmp_path, UNWATCHED, choice)


def test_every_line_has_a_run_on_the_source_of_its_table():
    for table in TABLES.values():
        for line in table.lines:
            run: Any = get_run(line.run)
            assert table.source in getattr(run.data, "sources", (getattr(run.data, "source", None),))
            assert not (line.averaged and run.network.chiral)
