"""Tests of pictures of hand motion."""

from pathlib import Path

import numpy as np
import pytest
from drawings import assert_legible, assert_on_page, picture_at
from laws import hand_motion
from own_skeletons import SKELETONS, wagging

from models.pictures import hands
from models.pictures.hands import draw_hands
from models.pictures.page import SHADOW


@pytest.mark.parametrize("nodes", [21, 42])
@pytest.mark.parametrize("with_future", [True, False], ids=["with the true future", "forecast alone"])
def test_a_strip_of_skeletons_is_drawn_for_one_hand_and_for_two(nodes: int, with_future: bool, tmp_path: Path):
    clip = hand_motion(20, nodes, batch=1)[0]
    path = tmp_path / "strip.png"
    draw_hands(
        clip[:10], clip[10:] if with_future else None, np.repeat(clip[9:10], 10, axis=0), 30.0, path, title="a clip"
    )
    assert_legible(path, colours=10)
    assert_on_page(picture_at(path))


def test_a_joint_without_a_place_is_left_out(tmp_path: Path):
    clip = hand_motion(20, 42, batch=1)[0]
    clip[:, 8] = np.nan
    draw_hands(clip[:10], None, clip[10:], 30.0, tmp_path / "strip.png")
    assert_legible(tmp_path / "strip.png", colours=10)


@pytest.mark.parametrize("skeleton", ["tail", "puppet"])
def test_bodies_of_a_skeleton_of_ones_own_are_drawn_along_its_bones(skeleton: str, tmp_path: Path):
    clip = wagging(20, skeleton, bodies=2)
    draw_hands(clip[:10], None, clip[10:], 30.0, tmp_path / "strip.png", order=SKELETONS[skeleton].layout)
    assert_legible(tmp_path / "strip.png", colours=10)


def test_every_moment_of_a_strip_has_the_same_scale_and_shows_whole_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn = []
    monkeypatch.setattr(hands, "save", lambda figure, path: drawn.append(figure))
    clip = hand_motion(20, 42, batch=1)[0]
    clip += np.linspace(0, 1, 20)[:, None, None] * [1.0, 0.5, 0.0]  # moves by a metre
    draw_hands(clip[:10], clip[10:], clip[10:] + 0.01, 30.0, tmp_path / "strip.png")
    moments = [panel for panel in drawn[0].axes if panel.get_title()]
    assert len(moments) == 8
    assert [panel.get_title() for panel in moments][:4] == ["-300 ms", "-167 ms", "0 ms", "+33 ms: 17 mm"]
    spans = np.array([[np.ptp(panel.get_xlim()), np.ptp(panel.get_ylim())] for panel in moments])
    np.testing.assert_allclose(spans, spans[:1].repeat(8, axis=0))
    for panel in moments:
        for line in panel.lines:
            if line.get_color() == SHADOW:
                continue
            (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
            assert left <= line.get_xdata().min() <= line.get_xdata().max() <= right
            assert low <= line.get_ydata().min() <= line.get_ydata().max() <= high
