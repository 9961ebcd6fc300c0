"""Tests of pictures of heatmaps: predicted above true, a column for each face."""

from pathlib import Path

import numpy as np
import pytest
from faces import synthetic_face

from models.pictures.heatmaps import HeatedFace, draw_heatmaps, heat
from models.pictures.page import UnknownFormat
from models.skeletons.face import FACE68


def face() -> HeatedFace:
    points, landmarks = synthetic_face()
    samples = points[:1024]
    true = np.exp(-0.5 * np.square(np.linalg.norm(samples - landmarks[:, None], axis=2) / 0.0095))
    return HeatedFace(points, landmarks, samples, np.zeros_like(true), true)


def test_predicted_and_true_heatmaps_are_drawn_for_every_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr("models.pictures.heatmaps.painted", lambda seen: drawn.append(seen.values) or seen.normals)
    draw_heatmaps({"none": face(), "r": face()}, tmp_path / "heatmaps.png", "a title")
    assert (tmp_path / "heatmaps.png").stat().st_size > 10_000
    strengths = [float(values[..., 3].max()) for values in drawn]
    assert strengths[0] == strengths[2] == 0
    assert strengths[1] > 0.8
    assert strengths[3] > 0.8


def test_the_strongest_heatmap_colours_a_point():
    which = [FACE68.joints.index("chin"), FACE68.joints.index("nose_tip")]
    colours = heat(np.array([[0.2, 0.9], [0.5, 0.1]]), which)
    assert colours[:, 3].tolist() == [0.9, 0.5]
    assert colours[0, 0] > colours[0, 2], "expected the nose's orange"
    assert colours[1, 2] > colours[1, 0], "expected the jaw's blue"


def test_another_format_is_refused(tmp_path: Path):
    with pytest.raises(UnknownFormat):
        draw_heatmaps({"none": face()}, tmp_path / "heatmaps.txt")
