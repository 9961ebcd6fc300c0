"""Tests of the export to MLflow: what a training is in a tracking store. The store's own test needs MLflow."""

import sys
from pathlib import Path
from typing import Any

import pytest

from models.contract.task import HandForecast
from training.__main__ import main
from training.engine.checkpoints import NotTrained
from training.engine.loop import Training, train
from training.engine.run import Run
from training.engine.tracking import NoMlflow, log, record_of
from training.tasks.hands.data import HandData

HandRun = Run[HandForecast, HandData]


@pytest.fixture(scope="module")
def trained(tiny: HandRun, synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    training = Training(tiny, 3, synthetic_data, tmp_path_factory.mktemp("runs"))
    train(training)
    return training


def test_a_record_has_settings_curve_and_files_of_a_training(trained: Training):
    record = record_of(trained, "the command")
    assert record.tags["chiron.fingerprint"] == trained.run.fingerprint
    assert record.tags["chiron.command"] == "the command"
    assert record.parameters["seed"] == "3"
    assert record.parameters["network.layers"] == "1"
    assert record.parameters["optimisation.steps"] == "12"
    assert record.parameters["data.sources"] == "leap,tzionas"
    assert record.parameters["data.window.fps"] == str(trained.run.task.fps)
    assert [step for name, _, step in record.curve if name == "score"] == [4, 8, 12]
    scores = [value for name, value, _ in record.curve if name == "score"]
    assert [value for name, value, _ in record.curve if name == "best_score"] == [min(scores)]
    assert {path.name for path in record.files} == {"best.ckpt", "history.jsonl"}


def test_a_run_that_is_not_trained_is_refused_with_the_command_that_trains_it(tiny: HandRun, tmp_path: Path):
    with pytest.raises(NotTrained, match="run first: the command"):
        record_of(Training(tiny, 0, tmp_path, tmp_path), "the command")


def test_without_mlflow_the_error_says_how_to_install_it(trained: Training, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(NoMlflow, match=r"pip install 'chiron\[mlflow\]'"):
        log(record_of(trained, "c"), str(tmp_path))


@pytest.mark.filterwarnings("default")  # MLflow's own
def test_a_training_is_in_the_store_once(trained: Training, tmp_path: Path, monkeypatch, capsys):
    mlflow: Any = pytest.importorskip("mlflow", reason="the extra `mlflow` is not among those of the tests")
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {trained.run.name: trained.run})
    store = tmp_path / "store"
    options = ["--data", str(trained.data), "--out", str(trained.out), "mlflow", "tiny", "--seed", "3"]
    for _ in range(2):
        main([*options, "--to", str(store), "--experiment", "hands"])
    identifier = capsys.readouterr().out.split()[-1]
    client = mlflow.MlflowClient(tracking_uri=store.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("hands").experiment_id])
    assert run.info.run_id == identifier
    assert run.data.params["network.layers"] == "1"
    assert "--seed 3 --steps 12" in run.data.tags["chiron.command"]
    assert [one.step for one in client.get_metric_history(identifier, "score")] == [4, 8, 12]
    assert {file.path for file in client.list_artifacts(identifier)} == {"best.ckpt", "history.jsonl"}


def test_a_store_that_does_not_answer_is_one_line(trained: Training, monkeypatch, capsys):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not among those of the tests")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {trained.run.name: trained.run})
    options = ["--data", str(trained.data), "--out", str(trained.out), "mlflow", "tiny", "--seed", "3"]
    with pytest.raises(SystemExit):
        main([*options, "--to", "http://127.0.0.1:1"])
    assert "the tracking store http://127.0.0.1:1 failed" in capsys.readouterr().err
