"""Tests of runs on recordings of one's own: what is trained, and the bundle's name, licence and lineage."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_hands import write_set

from models.contract.bundle import read_bundle
from training.__main__ import main
from training.catalogue import get_run
from training.engine.folders import folder_of
from training.engine.run import Base, Run
from training.engine.settings import Settings, WrongSetting
from training.settings import with_settings
from training.tasks.hands.data import NoWindows
from training.tasks.hands.own.sets import own_sets

ROOT = Path(__file__).parents[5]
SMALL = {"channels": 4, "hidden": 4, "products": 2, "layers": 1, "curves": 1}


def own(folder: Path, **settings: Any) -> Run[Any, Any]:
    return with_settings(get_run("hands-own"), Settings(**settings), folder)


def test_a_run_takes_the_sets_of_its_data_folder_with_their_licence(tmp_path: Path):
    run = own(write_set(tmp_path / "lab"), preset="10+10@30")
    assert run.data.sources == ("lab",)
    assert (run.bundle_name, run.licence, run.parts) == ("hands-lab", "CC0-1.0", (".",))
    assert run.title == "Hand forecaster of lab: 0.333 s to the next 0.333 s"
    assert own(tmp_path / "lab", preset="10+10@30", model="mine").bundle_name == "mine"
    batch, future = run.data.load(tmp_path / "lab").training_batch(0, 0)
    assert batch["past"].shape[2] == 21, "expected the one hand of the recordings"
    assert np.isfinite(batch["past"]).all()
    assert future.shape[1:] == (10, 21, 3)


def test_the_fingerprint_changes_with_the_recordings_and_not_with_the_models_name(tmp_path: Path):
    first = own(write_set(tmp_path / "lab"), preset="10+10@30")
    named = own(tmp_path / "lab", preset="10+10@30", model="mine")
    other = own(write_set(tmp_path / "other", frames=62, name="lab"), preset="10+10@30")
    assert first.fingerprint == named.fingerprint != other.fingerprint


def test_own_recordings_can_be_mixed_with_other_sources(tmp_path: Path, synthetic_data: Path):
    (tmp_path / "hands").mkdir()
    for name in ("leap", "tzionas", "splits.json"):
        (tmp_path / "hands" / name).symlink_to(synthetic_data / "hands" / name)
    write_set(tmp_path / "hands/lab")
    run = own(tmp_path, sources=("lab", "leap"), preset="6+6@30")
    assert run.licence == "as its data: lab CC0-1.0; leap Apache-2.0"
    assert run.parts == ("hands",)
    assert run.data.load(tmp_path).recordings("train", "lab") == 4


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, NoWindows, r"expected train windows of 30\+30@30, got none from 4 recordings: 4 are too short"),
        ({"architecture": "Transformer"}, WrongSetting, "expected a network, one of Temporal"),
        ({"model": "Mine!"}, WrongSetting, "expected a name of at most 64 lower-case letters"),
        (
            {"model": "hands-forecast"},
            WrongSetting,
            "'hands-forecast' is the name of a run that comes with the package",
        ),
        ({"network": {"layer": 2}}, WrongSetting, "HandMeansConfig has no field 'layer'"),
    ],
)
def test_a_wrong_setting_is_refused_before_a_step(
    settings: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
):
    with pytest.raises(error, match=message):
        own(write_set(tmp_path / "lab", frames=40), **settings)


def test_a_folder_without_own_recordings_is_refused(tmp_path: Path):
    with pytest.raises(WrongSetting, match=r"expected dataset\.json beside them in the data folder, got none"):
        own(tmp_path)


def test_a_network_of_the_comparison_is_trained_without_masks(tmp_path: Path):
    run = own(write_set(tmp_path / "lab"), architecture="eqmotion", preset="10+10@30")
    assert type(run.network).__name__ == "EqMotionConfig"
    assert (run.task.modes, run.task.masked, run.task.spread) == (1, False, False)
    inputs, _ = run.data.load(tmp_path / "lab").training_batch(0, 0)
    assert list(inputs) == ["past"]


def test_a_bundle_of_another_window_or_network_is_no_beginning(tmp_path: Path):
    folder, base = write_set(tmp_path / "lab", frames=90), Base.of(ROOT / "bundles/hands-forecast")
    with pytest.raises(
        WrongSetting, match=r"expected the task of hands-forecast \w+ \(past 30, future 30\), got past 10, future 10"
    ):
        own(folder, base=base, preset="10+10@30")
    with pytest.raises(WrongSetting, match=r"HandMeans with [\d,]+ weights, got HandMeans with [\d,]+; leave --set"):
        own(folder, base=base, network={"layers": 2})
    run = own(folder, base=base)
    assert run.licence == "CC0-1.0; begun with hands-forecast, Apache-2.0"
    assert run.fingerprint != own(folder).fingerprint
    with pytest.raises(
        NoWindows, match=r"expected train windows of 24\+12@60, got none from 4 recordings: 0 are too short, 4 too slow"
    ):
        own(folder, base=Base.of(ROOT / "bundles/hands-latency"))


def test_one_hand_is_trained_measured_and_exported_with_lineage(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_set(tmp_path / "lab", frames=40)
    common = [
        "hands-own",
        "--data",
        str(folder),
        "--preset",
        "10+10@30",
        "--steps",
        "4",
        "--name",
        "wave",
        "--device",
        "cpu",
    ]
    common += [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    main(["--out", str(tmp_path / "runs"), "run", *common])
    main(["--out", str(tmp_path / "runs"), "export", *common, "--bundle", str(tmp_path / "wave")])
    assert "wave" in capsys.readouterr().out
    meta = read_bundle(tmp_path / "wave").meta
    digest = own_sets(folder / "hands")["lab"].sha256
    assert (meta.name, meta.licence) == ("wave", "CC0-1.0")
    assert [(one.name, one.attribution, one.sha256) for one in meta.trained_on] == [("lab", "our laboratory", digest)]
    assert [(one.source, one.split, one.metric) for one in meta.measurements] == [
        ("lab", "test", "MPJPE over 10+10@30, one hand")
    ]
    assert all(one.baseline_value is not None for one in meta.measurements)
    assert "--name wave" in meta.command
    assert digest in (tmp_path / "wave/README.md").read_text()
    run = own(folder, preset="10+10@30", network=SMALL, model="wave").with_options(4)
    assert folder_of(tmp_path / "runs", run, 0).is_dir()
