"""Tests of the comparison of a chiral forecaster with its twins: the networks, and the lines of the table."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.contract.symmetry import violation
from models.contract.task import moves
from training.engine.benchmark import Choice
from training.engine.export import runner
from training.engine.watch import Watch
from training.tasks.bodies import twin_table
from training.tasks.bodies.report import Report, Row
from training.tasks.bodies.runs.twins import RUNS, TASK, TWINS, Twin
from training.tasks.bodies.twin_table import FIGURES, tables


def weights(twin: Twin) -> int:
    return sum(p.numel() for p in twin.run.build().parameters())


def test_twins_have_as_many_weights_or_steps_as_the_table_says():
    by = {(twin.kind, twin.width, twin.steps): twin for twin in TWINS}
    plain, chiral, wide = (by[key] for key in (("plain", 128, 600), ("chiral", 128, 600), ("chiral", 184, 600)))
    assert weights(chiral) == pytest.approx(weights(plain) / 2, rel=0.01)
    assert weights(wide) == pytest.approx(weights(plain), rel=0.01)
    assert weights(by["averaged", 128, 600]) == weights(plain)
    assert len({run.fingerprint for run in RUNS}) == len(RUNS)


@pytest.mark.parametrize(("kind", "symmetric"), [("chiral", True), ("averaged", True), ("plain", False)])
def test_a_network_is_symmetric_or_not(kind: str, symmetric: bool):
    network: nn.Module = Twin(kind, 16, 1).run.build().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    past = torch.randn(4, 1, 13, 2, generator=torch.Generator().manual_seed(1)).numpy()
    broken = violation(runner(network, TASK), "chirality", {"past": past}, moves=moves(TASK))
    assert (broken < 1e-5) == symmetric


def test_networks_shown_flips_have_a_line_for_their_average_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    files: list[str] = []

    def report(run: Any, *_: object, file: str) -> Report:
        files.append(file)
        return Report((Row("penn_action", 9, 3, {name: float(len(files)) for name in FIGURES}),))

    monkeypatch.setattr(twin_table, "measured", report)
    text = tables(tmp_path, tmp_path, Watch(bar=False), Choice(results=tmp_path))
    shown = sum(twin.mirror > 0 for twin in TWINS)
    assert files.count("validation-averaged.json") == shown
    assert len(text.splitlines()) == 2 + len(TWINS) + shown
    assert text in (tmp_path / "bodies-twins.md").read_text()
    assert len(json.loads((tmp_path / "bodies-twins.json").read_text())) == len(TWINS) + shown
