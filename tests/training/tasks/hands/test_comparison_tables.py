"""Tests of the tables by action, by read-out and by size, on rows and windows with known errors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.contract.task import HandForecast
from training.engine.watch import UNWATCHED
from training.tasks.hands import sizes
from training.tasks.hands.action_table import action_json, action_markdown, grouped
from training.tasks.hands.comparison import Budget, Comparison, Cost
from training.tasks.hands.epochs import EpochData
from training.tasks.hands.figures import Errors, Figures, Point, parameters_of
from training.tasks.hands.models import MODELS, READ_OUTS, VARIANTS
from training.tasks.hands.readout_table import cells_markdown, constant_cells, readout_json, readout_markdown
from training.tasks.hands.results import Row
from training.tasks.hands.sizes import ALL, Size, sizes_json, sizes_markdown
from training.tasks.hands.windows import PRESETS, Window

BUDGET = Budget(epochs=5)


def errors(mm: float) -> Errors:
    """Return errors of four windows of two recordings."""
    recordings = {"a": (1, mm), "b": (3, mm + 4)}
    labels = {"lift_and_turn": (1, mm), "put down": (3, mm + 4)}
    return Errors(4, mm + 3, [mm] * 30, 0.1, recordings, labels)


def figures(name: str, seed: int, *mm: float) -> Figures:
    """Return figures whose curve has these errors, and the last one at the end."""
    curve = [Point(epoch, {"s": (4, one)}, {"s": errors(one)}) for epoch, one in zip((1, 5), mm, strict=False)]
    return Figures(name, seed, 10, 0.1, 8, 2, 2, curve, {"s": errors(mm[-1])}, 0.0)


FLOOR = [Row("hold", (figures("hold", 0, 20.0),))]
ROW = Row("net", (figures("net", 0, 50.0, 10.0), figures("net", 1, 60.0, 12.0)), Cost(0.1, 1.0), 0.1)


def test_labels_are_grouped_by_action_with_their_windows():
    assert grouped({"lift_and_turn": (1, 10.0), "put down": (3, 14.0), "walk": (4, 1.0)}) == {
        "Rotate": (1, 10.0),
        "Pick-up": (1, 10.0),
        "Put-down": (3, 14.0),
        "Global": (8, (10 + 3 * 14 + 4) / 8),
    }


def test_errors_by_action_are_those_of_each_epoch_and_of_the_end():
    content = action_json([ROW], FLOOR, BUDGET)
    put_down = content["sources"]["s"]["Put-down"]
    assert (put_down["windows"], put_down["windows_of_curve"]) == (3, 3)
    assert put_down["models"]["net"] == {"mpjpe_mm": 15.0, "epochs_mm": {"1": 59.0, "5": 15.0}}
    assert put_down["models"]["hold"]["epochs_mm"] == {"1": 24.0, "5": 24.0}
    text = action_markdown(content, BUDGET)
    assert "### s, Put-down: 3 windows, 3 of them at each epoch" in text
    assert "| net | 59.0 | 15.0 | 15.0 |" in text


def test_a_source_without_actions_is_left_out():
    plain = replace(FLOOR[0].figures[0], test={"s": replace(errors(1.0), labels={"walk": (4, 1.0)})})
    content = action_json([], [Row("hold", (plain,))], BUDGET)
    assert content["sources"] == {}
    assert "No source has a label" in action_markdown(content, BUDGET)


def test_the_gain_of_a_residual_is_paired_by_recording():
    better = Row("net, last pose", (figures("net", 0, 9.0, 5.0), figures("net", 1, 9.0, 7.0)), Cost(0.1, 1.0), 0.1)
    content = readout_json({"net": (ROW, better)}, FLOOR, ["s"])
    one = content["s"]["networks"]["net"]
    assert one["gain_of_residual_percent"] == pytest.approx(100 * 5 / 14, abs=0.01)
    assert (one["absolute_first_epoch_mm"], one["residual_first_epoch_mm"]) == (58.0, 12.0)
    assert "| net | 14.0 ± 1.0 | 9.0 ± 1.0 | 58.0 | 12.0 | 35.7 % |" in readout_markdown(content)


def test_every_read_out_names_two_models():
    models = {**MODELS, **VARIANTS}
    assert {"GWNET", "Temporal", "GCN", "GAT", "LSTM", "EqMotion"} == set(READ_OUTS)
    assert all(models[name] for pair in READ_OUTS.values() for name in pair)


def test_the_error_of_the_last_pose_is_given_in_each_unit_and_measure(synthetic_data: Path, monkeypatch):
    monkeypatch.setitem(PRESETS, "4+2@30", Window(4, 2, 30))
    batches = EpochData(("leap", "tzionas"), Window(4, 2, 30)).load(synthetic_data)
    cells = constant_cells(batches, ("leap", "tzionas"), ("4+2@30",))
    metre, decimetre, clip = (
        next(c for c in cells if (c["split"], c["source"], c["unit"]) == ("test", "leap", unit))
        for unit in ("m", "dm", "clip std")
    )
    past, true = batches.windows("test", 2, ("leap",), phases="first").past_future(np.arange(metre["windows"]))
    off = true - past[:, -1:]
    assert metre["MPJPE"] == pytest.approx(np.linalg.norm(off, axis=-1).mean(), rel=1e-4)
    assert metre["MSE"] == pytest.approx(3 * metre["MSE of a coordinate"])
    assert decimetre["MSE"] == pytest.approx(100 * metre["MSE"], rel=1e-4)
    assert decimetre["MPJPE"] == pytest.approx(10 * metre["MPJPE"], rel=1e-4)
    stds = [np.std(c.reshape(-1, 3) - c.reshape(-1, 3).mean(0)) for c in np.concatenate([past, true], axis=1)]
    expected = np.mean([np.square(o).sum(-1).mean() / s**2 for o, s in zip(off, stds, strict=True)])
    assert clip["MSE"] == pytest.approx(expected, rel=1e-3)
    assert cells_markdown(cells).count("**") == 2 * len(cells)


def test_sizes_change_one_thing_at_a_time():
    assert [size.section for size in ALL].count("channels C and features D") == 16
    assert [size.config.layers for size in ALL if size.section == "layers"] == [2, 3, 4, 5, 6, 7]
    assert [size.config.categories for size in ALL if size.section == "categories"] == [2, 3, 4, 5, 6]


@pytest.fixture
def small(synthetic_data: Path, tmp_path: Path) -> Callable[..., Comparison]:
    """Return a function that makes a comparison of one epoch on synthetic hands."""
    sources = ("leap", "tzionas")
    budget = Budget("10+10@30", 1, 1, 0.2, sources, sources, reported=(), test_windows=3)
    return lambda: Comparison(budget, synthetic_data, tmp_path, replace(UNWATCHED, bar=False))


def test_sizes_are_trained_once_and_those_that_lack_are_said(small: Callable[..., Comparison], monkeypatch):
    tiny = replace(ALL[0].config, channels=4, hidden=4)
    other = replace(tiny, layers=1)
    monkeypatch.setattr(
        sizes,
        "ALL",
        (Size("layers", "L = 2", tiny, 69188), Size("options", "base", tiny), Size("layers", "L = 1", other)),
    )
    assert sizes_json(small(), UNWATCHED, train=False) == ([], ["layers, L = 2", "options, base", "layers, L = 1"])
    monkeypatch.setattr(sizes, "ALL", sizes.ALL[:2])
    lines, missing = sizes_json(small(), UNWATCHED, train=True)
    assert missing == []
    assert lines[0]["mpjpe_mm"] == lines[1]["mpjpe_mm"]
    assert 3 <= lines[0]["windows"]["leap"] <= 5
    text = sizes_markdown(lines, small().budget, 16)
    assert text.count("| 69,188 |") == 1
    assert "1 epochs of 16 windows" in text


def test_names_of_models_can_be_listed_with_commas():
    assert not any("," in name for name in (*MODELS, *VARIANTS))


@pytest.mark.parametrize("name", [*MODELS, *VARIANTS])
def test_every_model_has_the_published_size_within_a_tenth(name: str):
    model = {**MODELS, **VARIANTS}[name]
    network = model.network().build(HandForecast(past=60, future=60, fps=60))
    if model.published:
        assert parameters_of(network) == pytest.approx(1000 * int(model.published.size[:-1]), rel=0.1)
    answer = network.eval()(torch.zeros(1, 60, 42, 3))
    assert answer.shape == (1, 1, 60, 42, 3)
