"""Tests of the command line: a small run is trained, evaluated and exported, and usage errors end with one line and status 2."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import training.tasks.hands.benchmark
from models.contract.bundle import read_bundle, repeat_example
from models.contract.task import HandForecast
from training.__main__ import main
from training.catalogue import all_runs
from training.engine.export import onnx_runner
from training.engine.folders import folder_of
from training.engine.run import Run
from training.studies import BENCHMARKS
from training.tasks.hands.benchmark import Suite
from training.tasks.hands.data import HandData
from training.tasks.hands.report import BASELINES, Report

pytestmark = pytest.mark.long(30)
HandRun = Run[HandForecast, HandData]


@pytest.fixture
def only_tiny(tiny: HandRun, monkeypatch: pytest.MonkeyPatch) -> HandRun:
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {tiny.name: tiny})
    monkeypatch.setattr("training.__main__.all_runs", lambda: {tiny.name: tiny})
    return tiny


@pytest.fixture
def usage_error(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a failing command, checks that its status is 2, and returns its only line."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert ended.value.code == 2
        out, error = capsys.readouterr()
        assert out == ""
        assert error.count("\n") == 1
        return error.rstrip("\n")

    return run


def test_list_prints_every_run_with_its_title(capsys: pytest.CaptureFixture[str]):
    main(["list"])
    listed = capsys.readouterr().out
    assert all(name in listed and run.title in listed for name, run in all_runs().items())


def test_every_table_has_a_name(capsys: pytest.CaptureFixture[str]):
    tables = {
        "hands",
        "hands-forecast",
        "hands-ladder",
        "hands-latency",
        "hands-trials",
        "faces",
        "faces-depth",
        "faces-seeds",
        "bodies",
        "bodies-none",
        "bodies-published",
        "bodies-seeds",
        "bodies-twins",
        "poses-lift",
    }
    assert tables == set(BENCHMARKS)
    with pytest.raises(SystemExit):
        main(["benchmark", "feet"])
    assert ", ".join(repr(table) for table in sorted(tables)) in capsys.readouterr().err


def test_options_of_a_benchmark_are_refused_where_there_are_none(usage_error, tmp_path: Path):
    common = ("--data", tmp_path, "--out", tmp_path, "benchmark")
    assert usage_error(*common, "faces", "--seeds", "2").endswith("this table has no option seeds")
    assert usage_error(*common, "hands", "--tables", "sources", "--no-train").endswith("this table has no option train")
    assert "no table 'costs'; there are comparison, " in usage_error(*common, "hands", "--tables", "costs")
    assert "no model 'GPT'; there are Temporal, " in usage_error(*common, "hands", "--models", "GPT")
    assert "no preset '1+1@1'; there are 10+10@30, " in usage_error(*common, "hands", "--preset", "1+1@1")


# --- usage errors ---


def test_the_error_for_an_unknown_run_lists_the_known_runs(usage_error):
    line = usage_error("run", "nobody")
    assert line.startswith("python -m training: no run 'nobody'; there are ")
    assert "hands-eqmotion, " in line


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "-1"), ("--seed", str(2**32)), ("--steps", "0"), ("--steps", "5,x"), ("--devices", "0")]
)  # fmt: skip
def test_a_number_out_of_range_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["run", "hands-eqmotion", option, value])
    assert ended.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_the_error_for_an_untrained_run_has_the_command_that_trains_it(
    only_tiny: HandRun, tmp_path: Path, synthetic_data: Path, usage_error, command: str
):
    line = usage_error("--data", synthetic_data, "--out", tmp_path, command, "tiny", "--seed", 2)
    assert line == (
        "python -m training: tiny, seed 2, is not trained yet; run first: "
        "python -m training run tiny --seed 2 --steps 12"
    )


def test_the_error_for_an_untrained_first_stage_has_the_command_that_trains_it(
    tiny: HandRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, synthetic_data: Path, usage_error
):
    second = replace(tiny, name="second", start=tiny)
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {"tiny": tiny, "second": second})
    line = usage_error(
        "--data", synthetic_data, "--out", tmp_path, "run", "second", "--steps", "5,3", "--validate-every", 2
    )
    assert line.endswith(
        "tiny, seed 0, is not trained yet; run first: python -m training run tiny --seed 0 --steps 5 --validate-every 2"
    )


def test_a_missing_data_folder_is_reported(only_tiny: HandRun, tmp_path: Path, usage_error, capsys):
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "run", "tiny"])
    assert "python -m training: no file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "evaluate", "export"])
def test_a_missing_device_is_reported(only_tiny: HandRun, tmp_path: Path, monkeypatch, usage_error, command: str):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = usage_error("--out", tmp_path, command, "tiny", "--device", "cuda")
    assert line.endswith("expected a CUDA device that torch can use, got none; --device cpu works without one")


def test_a_programming_error_is_not_reported_as_a_usage_error(only_tiny: HandRun, monkeypatch, tmp_path: Path):
    monkeypatch.setattr("training.__main__.train", lambda *_: [].no_such_attribute)  # pyright: ignore
    with pytest.raises(AttributeError):
        main(["--out", str(tmp_path), "run", "tiny"])


# --- a run from training to export ---


def test_a_run_is_trained_evaluated_and_exported(
    only_tiny: HandRun,
    synthetic_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    usage_error,
    monkeypatch: pytest.MonkeyPatch,
):
    common = ["--data", str(synthetic_data), "--out", str(tmp_path / "out")]
    folder = folder_of(tmp_path / "out", only_tiny, 0)

    main([*common, "run", "tiny", "--device", "cpu"])
    assert f"best weights: {folder / 'best.ckpt'}" in capsys.readouterr().out

    main([*common, "evaluate", "tiny", "--split", "validation"])
    main([*common, "evaluate", "tiny"])
    printed = capsys.readouterr().out
    assert "| 6+6@30, test | hands | windows | recordings | hold |" in printed
    report = Report.read(folder / "test-beside-baselines.json")
    assert {row.model for row in report.rows} >= {"hold", "ridge", "tiny"}
    pictures = {path.name for path in folder.glob("*.png")}
    assert {"test-horizon.png", "test-leap-2.png", "test-leap-1.png", "test-tzionas-2.png"} <= pictures
    assert {"validation-horizon.png", "validation-leap-2.png"} <= pictures

    target = tmp_path / "bundles" / "tiny"
    main([*common, "export", "tiny", "--bundle", str(target)])
    bundle = read_bundle(target)
    assert bundle.meta.task == only_tiny.task
    assert bundle.meta.command == (
        "python -m training run tiny --seed 0 --steps 12 && python -m training export tiny --seed 0 --steps 12"
    )
    assert [(source.name, source.recordings) for source in bundle.meta.trained_on] == [("leap", 2), ("tzionas", 1)]
    measured = [row.mpjpe_mm for row in report.rows if row.model == "tiny"]
    assert [m.value for m in bundle.meta.measurements] == pytest.approx(measured, abs=0.005)
    assert repeat_example(bundle, onnx_runner(bundle.model.read_bytes())) <= 1e-5

    line = usage_error(*common, "export", "tiny", "--bundle", target)
    assert line.endswith(f"{target} exists; --replace replaces the bundle there, --bundle FOLDER writes another")
    assert "expected a run on faces" in usage_error(*common, "remeasure", "tiny", "--bundle", target)
    (tmp_path / "precious").mkdir()
    assert "has no bundle.json" in usage_error(
        *common, "export", "tiny", "--bundle", tmp_path / "precious", "--replace"
    )
    assert (tmp_path / "precious").is_dir()

    graph = bundle.model.read_bytes()
    monkeypatch.setattr("training.engine.export.to_onnx", lambda *_: graph)  # the same network again
    main([*common, "export", "tiny", "--bundle", str(target), "--replace"])
    assert repeat_example(read_bundle(target), onnx_runner(bundle.model.read_bytes())) <= 1e-5
    assert [path.name for path in target.parent.iterdir()] == ["tiny"], "expected no temporary files"


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_network_is_evaluated_on_the_requested_device(
    only_tiny: HandRun, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    """The meta device stands in for a GPU: reading values from it raises an error."""
    common = ["--data", str(synthetic_data), "--out", str(tmp_path)]
    main([*common, "run", "tiny", "--device", "cpu"])
    monkeypatch.setattr("training.__main__.device_of", lambda _: torch.device("meta"))
    with pytest.raises(NotImplementedError, match="meta tensor"):
        main([*common, command, "tiny", "--device", "cuda"])


def test_a_benchmark_prints_its_table_and_does_not_train_again(
    only_tiny: HandRun,
    synthetic_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    suite = Suite("6+6@30", {"EqMotion": "tiny"}, ("leap",), seeds=(0, 1))
    monkeypatch.setattr(training.tasks.hands.benchmark, "SUITES", (suite,))
    arguments = ["--data", str(synthetic_data), "--out", str(tmp_path), "benchmark", "hands", "--tables", "sources"]
    main(arguments)
    first = capsys.readouterr().out
    lines = first.strip().splitlines()
    columns = ("hands", "windows", "recordings", *BASELINES, "EqMotion", "gain", "95 % interval")
    assert lines[0] == f"| 6+6@30, test | {' | '.join(columns)} |"
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[1:3] for line in lines[2:]] == [[" leap ", " 2 "], [" leap ", " 1 "]]
    monkeypatch.setattr("training.engine.loop.trained", lambda *_, **__: pytest.fail("trained again"))
    main(arguments)
    assert capsys.readouterr().out == first
