"""Tests of pictures of body motion: everything is on the page, upright, with one scale in a row, and the right side dashed."""

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from models.pictures import bodies as body_pictures
from models.pictures.bodies import (
    COLOURS,
    FRONT,
    MOMENTS,
    SIDE,
    View,
    draw_bodies,
    moments,
)
from models.pictures.page import UnknownFormat
from models.skeletons.body_orders import BODIES

H36M, COCO = BODIES["h36m-17"], BODIES["coco-17"]
STANDING = {  # a person facing the camera, in metres: x to the right of the image, y down, z forward
    "pelvis": (0, 0, 0), "spine": (0, -0.25, 0), "thorax": (0, -0.5, 0), "head_base": (0, -0.6, 0), "head_top": (0, -0.75, 0.02),
    "hip": (0.13, 0, 0), "knee": (0.13, 0.45, -0.05), "ankle": (0.13, 0.9, 0.02),
    "shoulder": (0.18, -0.5, 0), "elbow": (0.25, -0.2, 0.05), "wrist": (0.3, 0.05, -0.15),
}  # fmt: skip


def standing(frames: int = 3) -> np.ndarray:
    """Return (frames, 17, 3) of Human3.6M's joints, moving to the right."""
    pose = []
    for joint in H36M.joints:
        side, _, part = joint.partition("_")
        x, y, z = STANDING[part] if side in ("left", "right") else STANDING[joint]
        pose.append((-x if side == "right" else x, y, z))
    return np.array(pose) + np.arange(frames)[:, None, None] * np.array([2.0, 0.1, 0])


def keypoints(frames: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(frames, 17, 2))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    figures: list[Any] = []
    save = body_pictures.save
    monkeypatch.setattr(body_pictures, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def both(poses: np.ndarray) -> list[View]:
    layers = {"true": poses, "network": poses + np.array([0.02, 0, 0])}
    return [
        View(name, {layer: (H36M, x[..., axes]) for layer, x in layers.items()})
        for name, axes in (("front", FRONT), ("side", SIDE))
    ]


def picture_at(path: Path) -> np.ndarray:
    return matplotlib.image.imread(path)[..., :3]


def test_a_picture_has_a_row_per_view_a_column_per_moment_and_one_legend(tmp_path: Path, drawn: list[Any]):
    views = [View("seen", {"keypoints": (COCO, keypoints())}), *both(standing())]
    draw_bodies(views, ["0 s", "1 s", "2 s"], tmp_path / "b.png", "somebody")
    (figure,) = drawn
    panels = figure.axes
    assert len(panels) == 9
    assert [panel.get_title() for panel in panels] == ["0 s", "1 s", "2 s", *[""] * 6]
    assert [text.get_text() for text in figure.texts] == ["seen", "front", "side", "somebody"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["keypoints", "true", "network", "right side"]
    assert [len(panel.lines) for panel in panels] == [len(COCO.bones)] * 3 + [2 * len(H36M.bones)] * 6
    tops = [panel.get_position().y0 for panel in panels[::3]]
    assert tops == sorted(tops, reverse=True)
    picture = picture_at(tmp_path / "b.png")
    for colour in (COLOURS["keypoints"], COLOURS["true"], COLOURS["network"]):
        assert (np.abs(picture - np.array(to_rgb(colour))).max(axis=2) < 0.05).any()
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edge > 0.99).all()


def test_heads_are_above_feet_and_all_joints_are_in_their_panel(tmp_path: Path, drawn: list[Any]):
    draw_bodies(both(standing()), ["a", "b", "c"], tmp_path / "b.png")
    for panel in drawn[0].axes:
        (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
        assert left < right
        assert low > high  # y is down
        for line in panel.lines:
            assert left <= line.get_xdata().min() <= line.get_xdata().max() <= right
            assert high <= line.get_ydata().min() <= line.get_ydata().max() <= low


def test_a_distant_pose_is_on_the_page(tmp_path: Path, drawn: list[Any]):
    poses = standing(2)[..., FRONT]
    layers = {"true": (H36M, poses), "network": (H36M, poses + np.array([3.0, 0]))}
    draw_bodies([View("front", layers)], ["a", "b"], tmp_path / "b.png")
    for panel in drawn[0].axes:
        left, right = panel.get_xlim()
        assert all(left <= line.get_xdata().min() <= line.get_xdata().max() <= right for line in panel.lines)


def test_every_row_has_a_scale_of_its_own(tmp_path: Path, drawn: list[Any]):
    small = keypoints() * np.array([[[0.1]], [[1.0]], [[0.3]]])
    draw_bodies([View("seen", {"past": (COCO, small)}), *both(standing())], ["a", "b", "c"], tmp_path / "b.png")
    spans = np.array([[np.ptp(panel.get_xlim()), np.ptp(panel.get_ylim())] for panel in drawn[0].axes])
    rows = spans.reshape(3, 3, 2)
    np.testing.assert_allclose(rows, rows[:, :1, :1].repeat(3, axis=1).repeat(2, axis=2))  # the same scale in x and y
    assert rows[0, 0, 0] != pytest.approx(rows[1, 0, 0])


def test_the_right_side_of_a_body_is_dashed(tmp_path: Path, drawn: list[Any]):
    draw_bodies([View("front", {"true": (H36M, standing(1)[..., FRONT])})], ["a"], tmp_path / "b.png")
    (panel,) = drawn[0].axes
    x = np.array([line.get_xdata().mean() for line in panel.lines])
    dashed = np.array([line.get_linestyle() == "--" for line in panel.lines])
    assert dashed.sum() == 6
    assert (x[dashed] < 0).all()  # the right side of a person facing the camera is on the left of the image
    assert (x[~dashed] >= 0).all()


def test_a_missing_joint_leaves_a_gap(tmp_path: Path, drawn: list[Any]):
    poses = standing(2)[..., FRONT]
    poses[0, H36M.joints.index("left_wrist")] = np.nan
    draw_bodies([View("front", {"true": (H36M, poses)})], ["a", "b"], tmp_path / "b.png")
    gaps = [sum(bool(np.isnan(line.get_xdata()).any()) for line in panel.lines) for panel in drawn[0].axes]
    assert gaps == [1, 0]


@pytest.mark.parametrize("other", [True, False], ids=["beside another layer", "alone"])
def test_a_moment_without_a_visible_joint_is_an_empty_panel(tmp_path: Path, drawn: list[Any], other: bool):
    poses = standing(3)[..., FRONT]
    layers = {"network": (H36M, poses.copy())} if other else {}
    poses[1] = np.nan
    draw_bodies([View("front", {"true": (H36M, poses), **layers})], ["a", "b", "c"], tmp_path / "b.png")
    widths = [np.ptp(panel.get_xlim()) for panel in drawn[0].axes]
    assert np.isfinite(widths).all()
    assert widths == pytest.approx([widths[0]] * 3)
    complete = [sum(bool(np.isfinite(line.get_xdata()).all()) for line in panel.lines) for panel in drawn[0].axes]
    bones = len(H36M.bones)
    assert complete == [bones * (1 + other), bones * other, bones * (1 + other)]


def test_missing_and_coincident_joints_can_be_drawn(tmp_path: Path):
    nothing = np.full((2, 17, 2), np.nan)
    draw_bodies([View("front", {"true": (H36M, nothing)})], ["a", "b"], tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 1000
    draw_bodies([View("front", {"true": (H36M, np.zeros((2, 17, 2)))})], ["a", "b"], tmp_path / "point.png")
    assert (tmp_path / "point.png").stat().st_size > 1000


@pytest.mark.parametrize("suffix", [".pdf", ".svg"])
def test_every_format_can_be_written(tmp_path: Path, suffix: str):
    draw_bodies(both(standing(1)), ["a"], tmp_path / f"b{suffix}")
    assert (tmp_path / f"b{suffix}").stat().st_size > 2000


def test_an_unknown_format_is_refused_before_drawing(tmp_path: Path):
    with pytest.raises(UnknownFormat, match=r"\.png.*b\.gif"):
        draw_bodies([], [], tmp_path / "b.gif")


@pytest.mark.parametrize("frames", [1, 2, 5, 6, 7, 100, 971])
def test_moments_are_spread_from_the_first_frame_to_the_last(frames: int):
    at = moments(frames)
    assert at == sorted(set(at))
    assert len(at) == min(frames, MOMENTS)
    assert (at[0], at[-1]) == (0, frames - 1)
    if len(at) > 1:
        steps = np.diff(at)
        assert steps.max() - steps.min() <= 1
