"""Tests of plots of results on bodies: a line with its spread for each network, and a square for each pair of classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import colours_of, picture_at

from training.tasks.bodies import plots as body_plots
from training.tasks.bodies.plots import confusion, curves

VALUES = {"plain": np.array([[3.0, 2.0, 1.0], [5.0, 3.0, 2.0]]), "chiral": np.array([[2.0, 1.0, 0.5]])}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    figures: list[Any] = []
    save = body_plots.save
    monkeypatch.setattr(body_plots, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_line_is_the_mean_over_seeds_and_its_band_is_their_range(tmp_path: Path, drawn: list[Any], logarithmic: bool):
    at = (1.0, 10.0, 100.0)
    curves(VALUES, at, tmp_path / "c.png", x="share", y="mm", title="made up", logarithmic=logarithmic)
    (panel,) = drawn[0].axes
    assert [line.get_ydata().tolist() for line in panel.lines] == [[4, 2.5, 1.5], [2, 1, 0.5]]
    assert all(line.get_xdata().tolist() == list(at) for line in panel.lines)
    corners = panel.collections[0].get_paths()[0].vertices
    assert {tuple(corner) for corner in corners.tolist()} >= {(1, 3), (10, 2), (100, 1), (1, 5), (10, 3), (100, 2)}
    assert (panel.get_xscale() == "log") == logarithmic
    assert (panel.get_xlabel(), panel.get_ylabel(), panel.get_title(loc="left")) == ("share", "mm", "made up")
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == list(VALUES)
    assert colours_of(picture_at(tmp_path / "c.png")) > 10


def test_a_line_without_a_style_is_refused(tmp_path: Path):
    with pytest.raises(KeyError, match="unknown"):
        curves({"unknown": VALUES["plain"]}, (1.0, 2.0, 3.0), tmp_path / "c.png", x="", y="", title="")


def test_a_square_is_the_share_of_the_clips_in_its_row(tmp_path: Path, drawn: list[Any]):
    true, predicted = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 2, 2, 2])
    confusion(predicted, true, ("bow", "jump", "wave"), tmp_path / "c.png", "made up")
    (panel,) = drawn[0].axes
    np.testing.assert_array_equal(
        panel.images[0].get_array(), [[75, 0, 25], [0, 0, 100], [0, 0, 0]]
    )  # there is no clip of "wave"
    labels = {text.get_position(): text.get_text() for text in panel.texts}
    assert labels == {(0, 0): "75", (2, 0): "25", (2, 1): "100"}
    assert [label.get_text() for label in panel.get_yticklabels()] == ["bow", "jump", "wave"]
    assert (tmp_path / "c.png").stat().st_size > 2000
