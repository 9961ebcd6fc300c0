"""Tests of the benchmark tables of face landmarkers: printed from one training, with an overlap for each tier of poses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from laws import NARROW

from models.contract.task import FaceLandmarks
from training.__main__ import main
from training.tasks.faces import benchmark
from training.tasks.faces.alignment import TIERS
from training.tasks.faces.ict import read_model
from training.tasks.faces.scanner import CLEAN, scan

TASK = FaceLandmarks(levels=(256, 96, 32), neighbours=8)


def test_the_tables_are_printed_and_nothing_is_trained_or_measured_twice(
    face_run, data_folder: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    face_run(NARROW)
    arguments = ["--data", str(data_folder), "--out", str(tmp_path), "benchmark", "faces"]
    main(arguments)
    printed = capsys.readouterr().out
    errors, overlaps = printed.strip().split("\n\n")
    sources = [line.split("|")[1].strip() for line in errors.splitlines()[2:]]
    assert sources == ["ict, clean", "ict, varied", "facefuns", "humface", "lee_perry_smith"]
    head, _, published, ours = overlaps.splitlines()
    assert head.count("|") == published.count("|") == ours.count("|") == len(TIERS) + 2
    assert "0.520 | 0.022 | 0.013 | 0.004" in published
    values = [float(cell) for cell in ours.split("|")[2:-1]]
    assert max(values) - min(values) < 1e-3  # an SE(3)-equivariant network has the same overlap in all tiers
    monkeypatch.setattr("training.engine.loop.trained", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(benchmark, "measure", lambda *_: pytest.fail("measured again"))
    main(arguments)
    assert capsys.readouterr().out == printed


def test_the_overlap_of_a_network_for_upright_scans_is_high_only_for_upright_scans(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """The network returns the same landmarks whatever the pose of the scan."""
    monkeypatch.setattr(benchmark, "SCANS", 2)
    model = read_model(data_folder / "faces")
    middle = scan(model, model.mean, CLEAN, np.random.default_rng(1))[0].mean(axis=0)
    places = torch.from_numpy(model.mean[model.landmarks] - middle)

    class Upright(torch.nn.Module):
        """A network that returns the mean face's landmarks, whatever the pose of the scan."""

        def forward(self, points, neighbours, parents):
            squares = (points.unsqueeze(1) - places.unsqueeze(0).unsqueeze(2)).square().sum(-1)
            heatmaps = torch.exp(-0.5 * squares / TASK.sigma_m**2).float()
            landmarks = places.unsqueeze(0).expand(len(points), -1, -1)
            return heatmaps, landmarks, torch.ones(len(points), 68)

    overlaps = benchmark.overlaps_of(Upright(), TASK, model)
    assert overlaps["none"] > 0.2
    assert overlaps["t"] == pytest.approx(overlaps["none"], abs=0.02)  # the search centres every scan
    assert overlaps["r"] < 0.6 * overlaps["none"]
    assert overlaps["icp rt"] > overlaps["rt"]


def test_the_table_has_a_line_for_each_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    requested = []

    def answer(run: str, seed: int, *_: object, file: str) -> benchmark.Report:
        requested.append((run, seed))
        overlaps: dict[str, float] = dict.fromkeys(TIERS, 0.1 * seed)
        return benchmark.Report([], overlaps)

    monkeypatch.setattr(benchmark, "measured", answer)
    monkeypatch.setattr(benchmark, "get_run", lambda name: name)
    monkeypatch.setattr(benchmark, "NETWORKS", {"SE(3)-UNet": "face-se3unet"})
    monkeypatch.setattr(benchmark, "SEEDS", (1, 2))
    lines = benchmark.tables(tmp_path, tmp_path).splitlines()
    assert [line.split("|")[1].strip() for line in lines[-2:]] == ["SE(3)-UNet, seed 1", "SE(3)-UNet, seed 2"]
    assert requested == [("face-se3unet", 1), ("face-se3unet", 2)]
