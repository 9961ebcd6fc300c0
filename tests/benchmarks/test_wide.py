"""Tests of the table by which the reach of a wide scan is chosen."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import wide
from benchmarks.wide import Searched, reach, scans, searched, table
from models.contract.face_map import FaceMap
from models.contract.symmetry import Tensors
from training.tasks.faces.data import Scan
from training.tasks.faces.ict import SEEDS, read_model

TASK = FaceMap()


def test_a_limit_takes_the_search_of_a_wide_scan_for_those_that_reach_farther():
    found = {"busts": [Searched(0.22, (2.0, 20), (100.0, 12)), Searched(0.1, (3.0, 18), (1.0, 2))]}
    lines = {line.split(" | ")[0]: line for line in table(found).splitlines()}
    assert lines["| 0 cm"] == "| 0 cm | 2.50, 0 % lost | 19.0 |"
    assert lines["| 20 cm"] == "| 20 cm | 1.50, 0 % lost | 11.0 |"
    assert lines["| 25 cm"] == "| 25 cm | 50.50, 50 % lost | 7.0 |"


def test_a_scan_is_searched_at_more_places_as_a_wide_one():
    rng = np.random.default_rng(0)
    board = Scan(np.column_stack([rng.uniform(-0.2, 0.2, (4000, 2)), 0.01 * rng.normal(size=4000)]), np.zeros((68, 3)))

    def unconvinced(inputs: Tensors) -> Tensors:
        return {
            "heatmaps": np.zeros((1, 68, TASK.heat, TASK.heat), np.float32),
            "landmarks": 0.05 * np.ones((1, 68, 1)) * rng.normal(size=3),
            "confidence": np.zeros((1, 68), np.float32),
        }

    one = searched(board, TASK, unconvinced)
    assert one.reach == pytest.approx(reach(board.points)) == pytest.approx(0.28, abs=0.02)
    assert one.wide[1] > one.narrow[1]


def test_heads_with_shoulders_reach_farther_than_faces(data_folder: Path, monkeypatch: pytest.MonkeyPatch):
    model = read_model(data_folder / "faces")
    splits = []
    draw = wide.draw
    monkeypatch.setattr(
        wide, "draw", lambda model, split, *rest, **more: splits.append(split) or draw(model, split, *rest, **more)
    )
    faces, busts = (
        [reach(one.points) for one in scans(model, kind, 4, TASK)] for kind in ("clean", "heads with shoulders")
    )
    assert max(faces) < min(busts)
    assert set(splits) == {"validation"}
    assert SEEDS["validation"].start >= SEEDS["train"].stop
