"""The command line: train, measure and export a very small run, and sentences for what a user can mend."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import training.tasks.hands.benchmark
from models.contract.bundle import read_bundle, repeat_example
from models.contract.task import FaceLandmarks, HandForecast, PoseForecast, PoseLift
from models.forecast.eqmotion import EqMotionConfig
from training.__main__ import main
from training.catalogue import UnknownRun, all_runs, get_run
from training.engine.export import onnx_runner
from training.engine.folders import folder_of
from training.engine.run import Run
from training.studies import BENCHMARKS, STUDIES
from training.tasks.hands.benchmark import Suite
from training.tasks.hands.data import HandData
from training.tasks.hands.report import BASELINES, Report

pytestmark = pytest.mark.long


@pytest.fixture
def only_tiny(tiny: Run[HandForecast, HandData], monkeypatch: pytest.MonkeyPatch) -> Run[HandForecast, HandData]:
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {tiny.name: tiny})
    monkeypatch.setattr("training.__main__.all_runs", lambda: {tiny.name: tiny})
    return tiny


def test_the_list_has_every_run_with_its_title(capsys: pytest.CaptureFixture[str]):
    main(["list"])
    shown = capsys.readouterr().out
    assert all(name in shown and run.title in shown for name, run in all_runs().items())


def test_the_runs_have_the_names_they_are_found_by_and_fingerprints_of_their_own():
    runs = all_runs()
    assert {"hands-eqmotion", "hands-reference-10-10", "hands-eqmotion-30-30", "face-se3unet", "poses-lift"} <= set(
        runs
    )
    assert len({run.fingerprint for run in runs.values()}) == len(runs)
    assert all(get_run(name) == run and run.name == name for name, run in runs.items())
    for run in runs.values():
        if isinstance(run.task, HandForecast):
            window = run.data.window
            assert (run.task.past, run.task.future, run.task.fps) == (window.past, window.future, window.fps)
        elif isinstance(run.task, FaceLandmarks):
            assert run.data.task == run.task
        else:
            must_be_of_one_kind(run)


def must_be_of_one_kind(run: Run[Any, Any]) -> None:
    """Data that give what the task of bodies asks for."""
    task, data = run.task, run.data
    if isinstance(task, PoseLift):
        said = (task.receptive, task.order, task.seen_order, task.confidence)
        assert said == (data.receptive, data.order, data.seen_order, data.with_confidence)
        assert data.fps in (None, task.fps)  # None: filmed at the rate that the task says
    elif isinstance(task, PoseForecast):
        said = (task.past, task.future, task.fps, task.box, task.order, task.confidence)
        assert said == (data.past, data.future, data.fps, data.box, data.order, data.with_confidence)
    else:
        measured = data.test_frames or data.frames  # of a model that runs on more frames than it was trained on
        assert (task.frames, task.tempo, task.turned) == (measured, data.tempo, data.turned)
        assert data.order in (None, task.order)


def test_the_check_of_runs_on_bodies_finds_data_that_do_not_fit():
    for name, changed in (
        ("poses-lift", {"receptive": 9}),
        ("poses-forecast", {"fps": 30.0}),
        ("actions-hdm05", {"frames": 16}),
    ):
        run = get_run(name)
        with pytest.raises(AssertionError):
            must_be_of_one_kind(replace(run, data=replace(run.data, **changed)))


def test_every_table_can_be_asked_for_by_name(capsys: pytest.CaptureFixture[str]):
    assert {"hands", "faces", "bodies"} == set(BENCHMARKS)
    with pytest.raises(SystemExit):
        main(["benchmark", "feet"])
    assert "'bodies', 'faces', 'hands'" in capsys.readouterr().err
    assert set(STUDIES) == {run.task.kind for run in all_runs().values()}


def test_a_fingerprint_changes_with_whatever_decides_the_weights_and_with_nothing_else(
    tiny: Run[HandForecast, HandData],
):
    others = (
        replace(tiny, task=tiny.task.model_copy(update={"modes": 2})),
        replace(tiny, network=EqMotionConfig(channels=5, hidden=4, layers=1, categories=3, experts=1)),
        replace(tiny, data=replace(tiny.data, sources=("leap",))),
        replace(tiny, data=replace(tiny.data, augmentation=replace(tiny.data.augmentation, one_hand=0.3))),
        tiny.with_steps(13),
    )
    assert len({tiny.fingerprint, *(run.fingerprint for run in others)}) == 1 + len(others)
    assert replace(tiny, name="other", title="Other", licence="MIT").fingerprint == tiny.fingerprint
    assert tiny.with_steps(None) is tiny


def test_an_unknown_run_says_the_names_there_are():
    with pytest.raises(SystemExit, match=r"no run 'nobody'; there are .*hands-eqmotion, "):
        main(["run", "nobody"])
    with pytest.raises(UnknownRun, match="no run 'nobody'"):
        get_run("nobody")


def test_a_seed_that_is_none_and_a_run_not_trained_yet_end_in_a_sentence(
    only_tiny: Run[HandForecast, HandData], tmp_path: Path, made_data: Path
):
    with pytest.raises(SystemExit, match="seed"):
        main(["run", "tiny", "--seed", "-1"])
    with pytest.raises(SystemExit, match="FileNotFoundError"):
        main(["--data", str(made_data), "--out", str(tmp_path), "evaluate", "tiny"])


def test_a_data_folder_that_is_not_there_ends_in_a_sentence(only_tiny: Run[HandForecast, HandData], tmp_path: Path):
    with pytest.raises(SystemExit, match="UnknownSource: no file"):
        main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "run", "tiny"])


def test_a_run_is_trained_measured_and_exported(
    only_tiny: Run[HandForecast, HandData], made_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--data", str(made_data), "--out", str(tmp_path / "out")]
    folder = folder_of(tmp_path / "out", only_tiny, 0)

    main([*common, "run", "tiny", "--device", "cpu"])
    assert f"best weights: {folder / 'best.ckpt'}" in capsys.readouterr().out

    main([*common, "evaluate", "tiny", "--split", "validation"])
    main([*common, "evaluate", "tiny"])
    shown = capsys.readouterr().out
    assert "| 6+6@30, test | hands | windows | recordings | hold |" in shown
    report = Report.read(folder / "test-beside-baselines.json")
    assert {row.model for row in report.rows} >= {"hold", "ridge", "tiny"}
    pictures = {path.name for path in folder.glob("*.png")}
    assert {"test-horizon.png", "test-leap-2.png", "test-leap-1.png", "test-tzionas-2.png"} <= pictures
    assert {"validation-horizon.png", "validation-leap-2.png"} <= pictures

    target = tmp_path / "bundles" / "tiny"
    main([*common, "export", "tiny", "--bundle", str(target)])
    bundle = read_bundle(target)
    assert bundle.meta.task == only_tiny.task
    assert [(source.name, source.recordings) for source in bundle.meta.trained_on] == [("leap", 2), ("tzionas", 1)]
    wanted = [row.mpjpe_mm for row in report.rows if row.model == "tiny"]
    assert [m.value for m in bundle.meta.measurements] == pytest.approx(wanted, abs=0.005)
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5

    with pytest.raises(SystemExit, match="FileExistsError: there is a bundle"):
        main([*common, "export", "tiny", "--bundle", str(target)])
    (tmp_path / "precious").mkdir()
    with pytest.raises(SystemExit, match="BadBundle"):
        main([*common, "export", "tiny", "--bundle", str(tmp_path / "precious"), "--replace"])
    assert (tmp_path / "precious").is_dir()


def test_a_benchmark_prints_its_table_and_trains_nothing_twice(
    only_tiny: Run[HandForecast, HandData],
    made_data: Path,
    tmp_path: Path,
    monkeypatch,
    capsys: pytest.CaptureFixture[str],
):
    suite = Suite("6+6@30", {"EqMotion": "tiny"}, ("leap",), seeds=(0, 1))
    monkeypatch.setattr(training.tasks.hands.benchmark, "SUITES", (suite,))
    arguments = ["--data", str(made_data), "--out", str(tmp_path), "benchmark", "hands"]
    main(arguments)
    first = capsys.readouterr().out
    lines = first.strip().splitlines()
    columns = ("hands", "windows", "recordings", *BASELINES, "EqMotion", "gain", "95 % interval")
    assert lines[0] == f"| 6+6@30, test | {' | '.join(columns)} |"
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[1:3] for line in lines[2:]] == [[" leap ", " 2 "], [" leap ", " 1 "]]
    monkeypatch.setattr("training.engine.benchmark.trained", lambda *_, **__: pytest.fail("trained again"))
    main(arguments)
    assert capsys.readouterr().out == first
