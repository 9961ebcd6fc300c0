"""Tests of the benchmark tables of face landmarkers: printed from one training, with an overlap for each tier of poses."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from laws import NARROW

from models.contract.task import FaceLandmarks
from training.__main__ import main
from training.engine.export import runner
from training.tasks.faces import benchmark
from training.tasks.faces.alignment import TIERS, template_of
from training.tasks.faces.data import FaceData
from training.tasks.faces.floor import MEAN_FACE
from training.tasks.faces.ict import read_model
from training.tasks.faces.metrics import THRESHOLDS
from training.tasks.faces.overlaps import at, extremes_table, landmark_table, overlaps_of
from training.tasks.faces.plots import overlap_against_threshold
from training.tasks.faces.scanner import CLEAN, scan

TASK = FaceLandmarks(levels=(256, 96, 32), neighbours=8)


def test_the_tables_are_printed_and_nothing_is_trained_or_measured_twice(
    face_run, data_folder: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    face_run(NARROW)
    arguments = ["--data", str(data_folder), "--out", str(tmp_path), "benchmark", "faces"]
    main(arguments)
    printed = capsys.readouterr().out
    errors, overlaps, extremes = printed.strip().split("\n\n")
    sources = [line.split("|")[1].strip() for line in errors.splitlines()[2:]]
    assert sources[::2] == ["ict, clean", "ict, varied", "facefuns", "humface", "lee_perry_smith"]
    assert [line.split("|")[3].strip() for line in errors.splitlines()[2:]] == ["few", MEAN_FACE] * 5
    head, _, published, ours = overlaps.splitlines()
    assert head.count("|") == published.count("|") == ours.count("|") == len(TIERS) + 2
    assert "0.520 | 0.022 | 0.013 | 0.004" in published
    assert [line.split("|")[1].strip() for line in extremes.splitlines()[2:]] == ["few, best", "few, worst"]
    values = [float(cell) for cell in ours.split("|")[2:-1]]
    assert max(values) - min(values) < 1e-3  # an SE(3)-equivariant network has the same overlap in all tiers
    monkeypatch.setattr("training.engine.loop.trained", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(benchmark, "measure", lambda *_: pytest.fail("measured again"))
    main(arguments)
    assert capsys.readouterr().out == printed


def test_the_overlap_of_a_network_for_upright_scans_is_high_only_for_upright_scans(
    data_folder: Path,
):
    """The network returns the same landmarks whatever the pose of the scan."""
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

    batches = FaceData(TASK).load(data_folder)
    overlaps, first = overlaps_of(
        runner(Upright(), TASK), TASK, batches.scans("test", 2, upright=True), template_of(batches.template())
    )
    mean = {tier: at(overlaps, tier).mean() for tier in TIERS}
    assert mean["none"] > 0.2
    assert mean["t"] == pytest.approx(mean["none"], abs=0.02)  # the search centres every scan
    assert mean["r"] < 0.6 * mean["none"]
    assert mean["icp rt"] > mean["rt"]
    assert np.array(overlaps["none"]).shape == (len(THRESHOLDS), 68)
    assert set(first) == set(TIERS)
    assert np.abs(first["r"].landmarks - first["none"].landmarks).max() > 0.01, "expected the face in the tier's pose"


def flat(value: float) -> dict[str, list[list[float]]]:
    return {tier: [[value] * 68] * len(THRESHOLDS) for tier in TIERS}


def test_the_best_and_the_worst_landmark_are_named():
    overlaps = flat(0.5)
    overlaps["r"] = [[0.5] * 8 + [0.1, 0.9] + [0.5] * 58] * len(THRESHOLDS)
    _, _, best, worst = extremes_table({"mine": overlaps}).splitlines()
    assert best.split("|")[3].strip() == "0.900 left_jaw_8"
    assert worst.split("|")[3].strip() == "0.100 chin"
    assert landmark_table(overlaps).splitlines()[10].split("|")[1:4] == [" 8 chin ", " 0.500 ", " 0.100 "]


def test_the_chart_has_a_panel_for_each_tier(tmp_path: Path):
    overlap_against_threshold({"one": flat(0.4), "other": flat(0.6)}, tmp_path / "overlaps.png")
    assert (tmp_path / "overlaps.png").stat().st_size > 20_000


def test_a_bundle_is_measured_where_nothing_is_trained(
    face_run, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = face_run(NARROW)
    arguments = ["--data", str(data_folder), "--out", str(tmp_path / "out"), "benchmark", "faces", "--no-train"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "no run of few is trained" in capsys.readouterr().err
    requested = []
    monkeypatch.setattr(benchmark, "BUNDLES", tmp_path / "bundles")
    (tmp_path / "bundles" / run.name).mkdir(parents=True)
    monkeypatch.setattr(benchmark, "read_bundle", lambda _: SimpleNamespace(meta=SimpleNamespace(version="v1")))

    def measure(name: str, data_folder: Path, folder: Path) -> benchmark.Report:
        requested.append((name, folder.name))
        return benchmark.Report([], flat(0.7))

    monkeypatch.setattr(benchmark, "measure_bundle", measure)
    monkeypatch.setattr(benchmark, "tables_of_errors", lambda reports: list(reports))
    for _ in range(2):
        main(arguments)
        assert "| few | 0.700 |" in capsys.readouterr().out
    assert requested == [("few", "few-v1")], "expected one measurement"


def test_the_table_has_a_line_for_each_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    requested = []

    def answer(run: str, seed: int, *_: object, **__: object) -> tuple[benchmark.Report, Path]:
        requested.append((run, seed))
        return benchmark.Report([], flat(0.1 * seed)), tmp_path

    monkeypatch.setattr(benchmark, "_measured", answer)
    monkeypatch.setattr(benchmark, "tables_of_errors", lambda _: [])
    monkeypatch.setattr(benchmark, "NETWORKS", {"SE(3)-UNet": "face-se3unet"})
    monkeypatch.setattr(benchmark, "SEEDS", (1, 2))
    lines = benchmark.tables(tmp_path, tmp_path).splitlines()
    titles = [line.split("|")[1].strip() for line in lines if "seed" in line]
    assert titles == [
        *(f"SE(3)-UNet, seed {n}" for n in (1, 2)),
        *(f"SE(3)-UNet, seed {n}, {what}" for n in (1, 2) for what in ("best", "worst")),
    ]
    assert requested == [("face-se3unet", 1), ("face-se3unet", 2)]
