"""Tests of a graph that is written again: the card stays, the answers stay, and a network with other weights is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from laws import hand_motion, perturbed

from models.contract.bundle import BadBundle, Measurement, TrainingSource, read_bundle
from models.contract.task import HandForecast
from models.forecast.eqmotion import EqMotion, EqMotionConfig
from training.engine.export import Facts, export
from training.engine.redraw import redraw, with_measurements
from training.engine.restore import restored, without_effect

TASK = HandForecast(past=5, future=4, fps=30)
CONFIG = EqMotionConfig(channels=4, hidden=6, layers=1)
EXAMPLE = {"past": hand_motion(5, 42, batch=1).astype(np.float32)}
FACTS = Facts(
    EXAMPLE,
    (TrainingSource(name="made up", licence="CC0-1.0", attribution="nobody", recordings=1),),
    (Measurement(metric="MPJPE", value=9.0, unit="mm", split="test", source="made up", windows=3, recordings=1),),
)
CARD: dict[str, Any] = {"name": "made-up", "title": "Made up", "licence": "CC0-1.0", "command": "none"}


@pytest.fixture
def traced(monkeypatch, tmp_path: Path) -> Path:
    """Return a bundle from before EqMotion drew its graph."""
    torch.manual_seed(0)
    with monkeypatch.context() as before:
        before.setattr(EqMotion, "onnx_graph", lambda self: None)
        export(perturbed(CONFIG.build(TASK)), tmp_path / "made-up", FACTS, **CARD)
    return tmp_path / "made-up"


def test_a_traced_bundle_is_drawn_from_the_weights_in_its_graph_and_keeps_its_card(traced: Path, monkeypatch):
    monkeypatch.setenv("CHIRON_GIT_COMMIT", "0123456789abcdef")
    old = read_bundle(traced)
    _, answer = old.example()
    new, difference = redraw(restored(CONFIG.build(TASK), old), old)
    assert difference <= 1e-6
    assert new.meta.version != old.meta.version
    kept = {"files", "graph_commit", "made_with"}
    assert new.meta.model_dump(exclude=kept) == old.meta.model_dump(exclude=kept)
    assert (old.meta.graph_commit, new.meta.graph_commit) == (None, "0123456789abcdef")
    assert "written again at commit `0123456789ab`, with the same weights" in (traced / "README.md").read_text()
    written = read_bundle(traced)
    np.testing.assert_allclose(written.example()[1]["future"], answer["future"], atol=1e-6)
    again, _ = redraw(restored(CONFIG.build(TASK), written), written)
    assert again.meta.files["model.onnx"] == written.meta.files["model.onnx"]


def test_a_network_with_other_weights_is_refused_and_the_bundle_stays(traced: Path):
    bundle = read_bundle(traced)
    with pytest.raises(BadBundle, match="does not repeat its example"):
        redraw(perturbed(CONFIG.build(TASK)), bundle)
    assert read_bundle(traced).meta == bundle.meta


def test_only_weights_that_nothing_reads_are_without_effect():
    names = without_effect(CONFIG.build(TASK).eval(), EXAMPLE)
    assert {name.rsplit(".", 2)[0] for name in names} == {"layers.0.pair_second", "layers.0.node"}


def test_a_card_with_new_measurements_keeps_the_graph_and_its_answers(traced: Path):
    old = read_bundle(traced)
    measured = FACTS.measurements[0].model_copy(update={"baseline": "hold", "baseline_value": 12.5})
    with_measurements(old, (measured,))
    new = read_bundle(traced)
    assert new.meta.measurements == (measured,)
    assert "12.5 mm" in (traced / "README.md").read_text()
    kept = {"measurements", "files"}
    assert new.meta.model_dump(exclude=kept) == old.meta.model_dump(exclude=kept)
    assert new.meta.files["model.onnx"] == old.meta.files["model.onnx"]
