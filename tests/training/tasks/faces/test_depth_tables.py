"""Tests of the table of networks on depth maps: poses keep the shape of a face, and the table has a line for each network."""

from pathlib import Path

import numpy as np
import pytest

from models.contract.face_map import FaceMap
from training.engine.benchmark import Choice, NoOptions
from training.engine.watch import UNWATCHED
from training.tasks.faces import depth_tables
from training.tasks.faces.data import Scan
from training.tasks.faces.depth_tables import POSES, Measured, table, tables
from training.tasks.faces.metrics import scores
from training.tasks.faces.report import Row


@pytest.mark.parametrize("pose", POSES)
def test_a_pose_moves_points_and_landmarks_together(pose: str):
    rng = np.random.default_rng(0)
    face = 0.05 * rng.normal(size=(68, 3))
    moved = POSES[pose](Scan(face, face), rng)
    np.testing.assert_allclose(moved.points, moved.landmarks)
    size = np.linalg.norm(moved.points) / np.linalg.norm(face)
    assert (abs(size - 1) > 0.01) == (pose == "any size")
    assert (np.abs(moved.points - face).max() > 1e-3) == (pose != "upright")


def measured(name: str, off_m: float) -> Measured:
    true = 0.05 * np.random.default_rng(0).normal(size=(2, 68, 3))
    rows = [Row(source, 2, scores(true + np.array([off_m, 0, 0]), true), 0.1) for source in ("upright", "any pose")]
    return Measured(name, 1000, 1.5, 20.0, rows)


def test_the_table_has_a_line_for_each_network_and_figures_survive_a_file(tmp_path: Path):
    networks = [measured("one", 0.002), measured("two", 0.004)]
    lines = table(networks).splitlines()
    assert lines[2].startswith("| one | 2.00 | 2.00 |")
    assert lines[3].startswith("| two | 4.00 | 4.00 |")
    networks[0].write(tmp_path / "one.json")
    assert Measured.read(tmp_path / "one.json") == networks[0]


def test_lines_of_networks_that_are_not_asked_for_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(depth_tables, "measured", lambda run, *_, **__: measured(run.name, 0.001))
    monkeypatch.setattr(depth_tables, "of_bundle", lambda folder, _: measured(folder.name, 0.002))
    first = tables(tmp_path, tmp_path, UNWATCHED, Choice(results=tmp_path))
    assert "| face-depth-d4 | 1.00 " in first
    assert "| face-depth | 2.00 " in first
    monkeypatch.setattr(depth_tables, "measured", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(depth_tables, "of_bundle", lambda folder, _: measured(folder.name, 0.003))
    again = tables(tmp_path, tmp_path, UNWATCHED, Choice(results=tmp_path, models=("face-depth",)))
    assert again == first.replace("| face-depth | 2.00 | 2.00 |", "| face-depth | 3.00 | 3.00 |")
    assert again in (tmp_path / "faces-depth.md").read_text()
    alone = tables(tmp_path, tmp_path, UNWATCHED, Choice(models=("face-se3unet",)))
    assert len(alone.splitlines()) == 3
    with pytest.raises(NoOptions, match="got face-mesh"):
        tables(tmp_path, tmp_path, UNWATCHED, Choice(models=("face-mesh",)))


def test_options_that_the_table_lacks_are_refused(tmp_path: Path):
    with pytest.raises(NoOptions, match="seeds"):
        tables(tmp_path, tmp_path, UNWATCHED, Choice(seeds=3))


def test_all_networks_of_the_table_are_built_for_one_task():
    assert all(run.task == FaceMap() for run in (*depth_tables.COMPARED, depth_tables.RUN))
