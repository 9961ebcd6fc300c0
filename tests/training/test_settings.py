"""Tests of settings of a run that come from a command or a job: their types, their limits, and the command that repeats them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.contract.spec import TrainSpec
from models.contract.task import HandForecast
from service.jobs.worker.kinds import configured
from training.__main__ import main
from training.catalogue import command_of, get_run
from training.engine.folders import folder_of
from training.engine.run import Run
from training.engine.settings import MOST_PARAMETERS, Settings, WrongSetting, with_network
from training.settings import with_settings
from training.tasks.hands.data import HandBatches, HandData
from training.tasks.hands.settings import window_of
from training.tasks.hands.windows import Window

HandRun = Run[HandForecast, HandData]
NOWHERE = Path("/nonexistent")


def test_fields_of_the_network_are_parsed_as_their_types(tiny: HandRun):
    text = with_network(tiny, {"layers": "2", "dct": "true", "tokens": "node", "temperature": "0.5", "experts": "none"})
    typed = with_network(tiny, {"layers": 2, "dct": True, "tokens": "node", "temperature": 0.5, "experts": "none"})
    assert text == typed
    assert text.network == replace(tiny.network, layers=2, dct=True, tokens="node", temperature=0.5, experts=None)  # pyright: ignore - EqMotion's
    assert text.fingerprint != tiny.fingerprint
    assert with_network(tiny, {}) is tiny


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "3"}, "EqMotionConfig has no field 'layer'; it has .*categories.*, layers, "),
        ({"layers": "many"}, "layers: expected a valid integer.*got 'many'"),
        ({"layers": 2.5}, "layers: expected a valid integer, got 2.5"),
        ({"layers": True}, "layers: expected a valid integer, got true"),
        ({"dct": 1}, "dct: expected a valid boolean, got 1"),
        ({"tokens": "finger"}, "tokens: expected 'none', 'node' or 'joint', got 'finger'"),
        ({"channels": 5000}, "channels: expected a number of at most 4096"),
        ({"temperature": "inf"}, "temperature: expected a number of at most 4096"),
        ({"temperature": "nan"}, "temperature: expected a number of at most 4096"),
        ({"channels": 4096, "layers": 10}, f"expected at most {MOST_PARAMETERS:,} weights"),
        ({"categories": 2, "experts": 3}, "EqMotionConfig refuses .*: expected 0 to 2 experts"),
        ({"channels": -1}, "channels: expected a number of at least 1, got -1"),
        ({"layers": "0"}, "layers: expected a number of at least 1, got '0'"),
        ({"experts": -1}, "experts: expected a number of at least 0, got -1"),
        ({"temperature": -0.5}, "temperature: expected a number of at least 0, got -0.5"),
    ],
)
def test_a_wrong_field_of_the_network_is_refused(tiny: HandRun, changes, message: str):
    with pytest.raises(WrongSetting, match=message):
        with_network(tiny, changes)


def test_a_count_may_be_zero_where_the_network_says_so():
    network: Any = with_network(get_run("face-se3unet-base"), {"votes": 0}).network
    assert network.votes == 0
    with pytest.raises(WrongSetting, match="votes: expected a number of at least 0"):
        with_network(get_run("face-se3unet-base"), {"votes": -1})


def test_a_run_that_begins_with_other_weights_keeps_its_network():
    with pytest.raises(WrongSetting, match="face-se3unet begins with the weights of face-se3unet-middle"):
        with_network(get_run("face-se3unet"), {"layers": 1})


def test_a_preset_changes_task_and_data(tiny: HandRun):
    run = with_settings(tiny, Settings(preset="9+3@25"), NOWHERE)
    assert (run.task.past, run.task.future, run.task.fps) == (9, 3, 25)
    assert run.data.window == Window(9, 3, 25)
    assert window_of("80+20@60") == Window(80, 20, 60)


@pytest.mark.parametrize(
    "preset", ["60", "1+60@60", "60+0@60", "60+60@0", "1001+1@30", "60+60@9999", "a+b@c", "60+60@60 "]
)
def test_a_window_that_cannot_be_is_refused(tiny: HandRun, preset: str):
    with pytest.raises(WrongSetting, match="expected a window of 2 to 1000 past frames"):
        with_settings(tiny, Settings(preset=preset), NOWHERE)


def test_weights_of_other_sources_have_the_licences_of_those_sources(tiny: HandRun):
    fewer = with_settings(tiny, Settings(sources=("leap",)), NOWHERE)
    assert (fewer.data.sources, fewer.licence) == (("leap",), "Apache-2.0")
    other = with_settings(tiny, Settings(sources=("leap", "manipnet", "mine")), NOWHERE)
    assert other.licence == "as its data: leap Apache-2.0; manipnet CC BY-NC; mine unknown"


def test_actions_keep_the_recordings_with_one_of_these_words(tiny: HandRun, synthetic_data: Path):
    run = with_settings(tiny, Settings(actions=("meeting", "fly")), NOWHERE)
    batches = run.data.load(synthetic_data)
    assert {name for _, name, _ in batches.windows("test", 2, phases="first").recordings} == {"meet"}
    assert run.fingerprint != tiny.fingerprint


def test_epochs_become_steps_of_the_changed_data(tiny: HandRun, synthetic_data: Path):
    settings = Settings(preset="9+3@30", epochs=3)
    run = with_settings(tiny, settings, synthetic_data)
    batches = run.data.load(synthetic_data)
    assert isinstance(batches, HandBatches)
    assert run.optimisation.steps == 3 * batches.steps_an_epoch()
    assert run == with_settings(tiny, replace(settings, epochs=None), NOWHERE).with_options(run.optimisation.steps)


def test_a_run_of_another_task_has_no_windows():
    for settings in (Settings(preset="60+60@60"), Settings(sources=("leap",)), Settings(epochs=1)):
        with pytest.raises(WrongSetting, match="poses-lift has no windows of hands"):
            with_settings(get_run("poses-lift"), settings, NOWHERE)


def test_the_command_states_the_settings_and_the_steps(tiny: HandRun):
    settings = Settings({"layers": 2, "dct": True}, "9+3@30", ("leap",), ("pick up",), epochs=3)
    assert command_of(tiny, "tiny", 1, None, settings, export=True) == (
        "python -m training run tiny --seed 1 --steps 12 --set dct=true --set layers=2 --preset 9+3@30 --sources leap "
        "--actions 'pick up' && "
        "python -m training export tiny --seed 1 --steps 12 --set dct=true --set layers=2 --preset 9+3@30 --sources leap "
        "--actions 'pick up'"
    )


def test_a_job_and_a_command_with_the_same_settings_train_the_same_run(
    tiny: HandRun, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr("training.catalogue.all_runs", lambda: {tiny.name: tiny})
    spec = TrainSpec(run="tiny", network={"channels": 3}, preset="5+4@30", sources=("leap",), epochs=1)
    run = configured(spec, synthetic_data)
    common = ["--data", str(synthetic_data), "--out", str(tmp_path), "run", "tiny", "--device", "cpu"]
    main([*common, "--set", "channels=3", "--preset", "5+4@30", "--sources", "leap", "--epochs", "1"])
    assert str(folder_of(tmp_path, run, 0)) in capsys.readouterr().out
    assert (folder_of(tmp_path, run, 0) / "best.ckpt").is_file()
    with pytest.raises(SystemExit):
        main([*common, "--steps", "1", "--epochs", "1"])
    assert "expected --steps or --epochs, got both" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*common, "--set", "channels"])
    assert "expected FIELD=VALUE, got 'channels'" in capsys.readouterr().err
