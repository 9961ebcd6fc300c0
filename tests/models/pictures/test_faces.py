"""Tests of pictures of face scans."""

from pathlib import Path

import numpy as np
import pytest
from drawings import assert_legible, assert_on_page, picture_at
from faces import synthetic_face

from models.contract.symmetry import random_rotation
from models.pictures import faces
from models.pictures.faces import draw_face
from models.pictures.upright import Upright


def test_the_picture_of_a_scan_does_not_depend_on_its_pose(tmp_path: Path):
    cloud, landmarks = synthetic_face()
    turn = random_rotation(np.random.default_rng(1))
    draw_face(cloud, landmarks, tmp_path / "straight.png")
    draw_face(cloud @ turn.T + [3, -2, 5], landmarks @ turn.T + [3, -2, 5], tmp_path / "turned.png")
    straight, turned = picture_at(tmp_path / "straight.png"), picture_at(tmp_path / "turned.png")
    assert straight.shape == turned.shape
    assert np.abs(straight - turned).mean() < 1e-3
    assert_legible(tmp_path / "straight.png")
    assert_on_page(straight)
    draw_face(cloud, landmarks @ turn.T, tmp_path / "mismatched.png")  # control
    mismatched = picture_at(tmp_path / "mismatched.png")
    assert mismatched.shape != straight.shape or np.abs(straight - mismatched).mean() > 0.01


def test_heatmaps_confidence_and_true_landmarks_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    save = faces.save
    monkeypatch.setattr(faces, "save", lambda figure, path: (drawn.append(figure), save(figure, path)))
    cloud, landmarks = synthetic_face()
    samples = cloud[:500]
    heatmaps = np.exp(-np.square(samples - landmarks[:, None]).sum(axis=2) / 2 / 0.01**2)
    true = landmarks + np.array([0.0, 0.003, 0.0])
    true[:60] = np.nan
    confidence = np.linspace(0, 1, 68)
    draw_face(
        cloud, landmarks, tmp_path / "all.png", confidence=confidence, heatmaps=heatmaps, samples=samples, true=true
    )
    (figure,) = drawn
    titles = [panel.get_title() or panel.get_title(loc="left") for panel in figure.axes]
    assert [title for title in titles if title] == [
        *("front", "three-quarter", "side", "heatmaps", "probability to be within 3 mm", "error, mm")
    ]
    assert "mean error 3.0 mm" in [text.get_text() for text in figure.texts]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["jaw", "brows", "nose", "eyes", "lips", "true"]
    fills = [line.get_markerfacecolor() for line in figure.axes[0].lines]
    assert sum(fill == (1.0, 1.0, 1.0) for fill in fills) == np.count_nonzero(confidence < 0.5)
    assert_on_page(picture_at(tmp_path / "all.png"))
    coloured = picture_at(tmp_path / "all.png")
    assert (np.ptp(coloured, axis=2) > 0.3).mean() > 0.01


def test_a_mesh_is_drawn_as_a_surface(tmp_path: Path):
    _, landmarks = synthetic_face()
    corners = 0.1 * np.array([[-1, -1.3, 0.8], [1, -1.3, 0.8], [1, 1.3, 0.8], [-1, 1.3, 0.8]])
    upright = Upright.of(corners, np.array([[0, 1, 2], [0, 2, 3]]), landmarks, None)
    assert len(upright.cloud.points) > 1000
    draw_face(corners, landmarks, tmp_path / "mesh.png", triangles=np.array([[0, 1, 2], [0, 2, 3]]))
    assert_legible(tmp_path / "mesh.png")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_random_landmarks_can_be_drawn(tmp_path: Path, scale: float):
    cloud, _ = synthetic_face()
    draw_face(cloud, scale * np.random.default_rng(0).normal(size=(68, 3)), tmp_path / "noise.png")
    assert_legible(tmp_path / "noise.png")
