"""Tests of the bundles of hand forecasters without weights: they forecast what they say, and their cards have measured errors."""

from pathlib import Path

import numpy as np
import pytest
from laws import hand_motion

from models.contract.bundle import read_bundle
from models.contract.task import HandForecast
from training.engine.export import onnx_runner
from training.engine.run import Run
from training.tasks.hands import without_weights
from training.tasks.hands.data import HandData
from training.tasks.hands.without_weights import TITLES, main, write


def test_three_forecasters_without_weights_are_written_with_measured_cards(
    tiny: Run[HandForecast, HandData], synthetic_data: Path, tmp_path: Path
):
    bundles, table = write(tiny.data, synthetic_data, tmp_path)
    past = hand_motion(tiny.task.past, 42, batch=2).astype(np.float32)
    for bundle in bundles:
        meta = read_bundle(tmp_path / bundle.meta.name).meta
        assert meta.parameters == 0
        assert {one.split for one in meta.measurements} == {"test"}
        assert all(one.baseline_value is not None and one.value >= one.baseline_value for one in meta.measurements)
        assert bool(meta.trained_on) == (meta.name != "hands-hold"), "expected no source for what is not fitted"
        future = onnx_runner(bundle.model.read_bytes())({"past": past})["future"]
        still = np.abs(future[:, 0] - past[:, -1:]).max() <= 1e-6
        assert still == (meta.name == "hands-hold")
    assert [bundle.meta.name for bundle in bundles] == list(TITLES)
    assert "damped velocity" in table


def test_a_bundle_that_is_there_is_not_replaced_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hands-damped").mkdir()
    with pytest.raises(FileExistsError, match="hands-damped exists; --replace"):
        main(["--bundles", str(tmp_path), "--data", str(tmp_path)])
    read: list[Path] = []
    monkeypatch.setattr(without_weights.HandData, "load", lambda _, folder: read.append(folder) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["--bundles", str(tmp_path), "--data", str(tmp_path / "data"), "--replace"])
    assert read == [tmp_path / "data"]
