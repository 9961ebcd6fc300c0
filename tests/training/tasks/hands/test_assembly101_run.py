"""Tests of the run on Assembly101 as published, on made-up recordings in both published layouts, with several actions a recording."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from laws import hand_motion

from models.contract.task import HandForecast
from training.catalogue import get_run
from training.check import check
from training.engine.loop import Training, train
from training.engine.settings import Settings
from training.engine.watch import Watch
from training.settings import with_settings
from training.tasks.hands import assembly101
from training.tasks.hands.data import NoWindows
from training.tasks.hands.losses import mean_square_dm2
from training.tasks.hands.models import PUBLISHED_EQMOTION
from training.tasks.hands.windows import PRESETS

FRAMES = 400  # of each recording, at 60 fps
SEGMENTS = {  # first and last frame at 30 fps, and the action
    "train": {"first": [(0, 69, "pick up toy"), (70, 139, "rotate toy"), (140, 160, "inspect toy")], "second": [(20, 99, "rotate base")]},
    "validation": {"third": [(10, 80, "rotate toy"), (90, 180, "put down toy")]},
    "test": {"fourth": [(0, 90, "pick up screw")], "fifth": [(5, 75, "rotate toy")]},
}  # fmt: skip


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that writes a data folder with Assembly101 in one of the published layouts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(layout: str) -> Path:
        root = tmp_path / layout / "hands" / "assembly101"
        for folder in (root / layout, root / assembly101.ANNOTATION_FOLDER):
            folder.mkdir(parents=True)
        recordings = [name for split in SEGMENTS.values() for name in split]
        for number, name in enumerate(recordings):
            joints = 1000 * hand_motion(FRAMES, 42, batch=1, seed=number)[0].reshape(FRAMES, 2, 21, 3)
            hands = [{"0": left, "1": right} for left, right in np.round(joints, 2).tolist()]
            listed = [{"landmarks": one, "tracking_confidence": {"0": 1.0, "1": 1.0}} for one in hands]
            content = {str(i): one for i, one in enumerate(hands)} if layout == "landmarks3D" else listed
            (root / layout / f"{name}.json").write_text(json.dumps(content))
        for split, segments in SEGMENTS.items():
            with (root / assembly101.ANNOTATION_FOLDER / f"{split}.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow((*assembly101.COLUMNS, "is_RGB"))
                for recording, actions in segments.items():
                    for start, end, action in actions:
                        for view in range(2):  # of 12: the reader keeps each segment once
                            rows.writerow(
                                (f"{recording}/C{view}.mp4", start, end, action, action.rpartition(" ")[0], "toy", 1)
                            )
        return tmp_path / layout

    return write


def test_the_run_has_the_published_settings():
    run = get_run("hands-assembly101")
    assert run.data.window == PRESETS["60+60@60"]
    assert sum(weights.numel() for weights in run.build().parameters()) == 73_668  # the published 74K
    assert run.network == PUBLISHED_EQMOTION
    assert (PUBLISHED_EQMOTION.hidden, PUBLISHED_EQMOTION.layers) == (32, 2)
    assert (run.optimisation.learning_rate, run.data.batch) == (5e-4, 100)


@pytest.mark.parametrize("layout", ["landmarks3D", "poses@60fps"])
def test_the_run_trains_and_measures_on_either_layout(release, layout: str, tmp_path: Path):
    data = release(layout)
    run = get_run("hands-assembly101")
    batches = run.data.load(data)
    assert [len(batches.windows(split, 2, phases="first")) for split in SEGMENTS] == [83, 86, 86]
    small = replace(run, network=replace(PUBLISHED_EQMOTION, channels=4, hidden=4), data=replace(run.data, batch=8))
    small = with_settings(small, Settings(epochs=1), data)
    assert small.optimisation.steps == 83 // 8
    best = train(Training(small, 0, data, tmp_path / "runs", "cpu"), Watch(bar=False))
    assert np.isfinite(torch.load(best, weights_only=True)["score"])


def test_the_check_counts_the_segments_of_each_official_split(release):
    for layout in ("landmarks3D", "poses@60fps"):
        assert check(release(layout)) == {"hands": {"assembly101": {"train": 4, "validation": 2, "test": 2}}}


def test_an_action_filter_keeps_the_segments_with_its_words(release):
    data = release("landmarks3D")
    rotate = with_settings(get_run("hands-assembly101"), Settings(actions=("rotate",)), data).data.load(data)
    labels = {split: {r[2] for r in rotate.windows(split, 2, phases="first").recordings} for split in SEGMENTS}
    assert labels == {"train": {"rotate toy", "rotate base"}, "validation": {"rotate toy"}, "test": {"rotate toy"}}
    nothing = with_settings(get_run("hands-assembly101"), Settings(actions=("juggle",)), data).data.load(data)
    with pytest.raises(NoWindows, match="got none"):
        _ = nothing.training


def test_the_loss_is_the_mean_squared_distance_in_square_decimetres():
    generator = torch.Generator().manual_seed(0)
    futures, true = torch.randn(2, 2, 3, 4, 3, generator=generator), torch.randn(2, 3, 4, 3, generator=generator)
    expected = 100 * np.mean(np.linalg.norm((futures[:, 0] - true).numpy(), axis=-1) ** 2)
    assert float(mean_square_dm2(futures, true)) == pytest.approx(expected, rel=1e-5)
    true[0, 0] = torch.nan
    known = 100 * np.nansum(np.linalg.norm((futures[:, 0] - true).numpy(), axis=-1) ** 2) / (2 * 3 * 4)
    assert float(mean_square_dm2(futures, true)) == pytest.approx(known, rel=1e-5)


def test_the_task_is_one_second_to_the_next():
    task = get_run("hands-assembly101").task
    assert isinstance(task, HandForecast)
    assert task.horizon_s == 1
