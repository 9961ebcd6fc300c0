"""Pictures: what is in front hides what is behind, faces are upright in any pose, everything drawn is on the page."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from laws import hand_motion

from models.contract.symmetry import random_rotation
from models.pictures import page as pictures
from models.pictures.face import face
from models.pictures.hands import strip
from models.pictures.page import NoMatplotlib, UnknownFormat
from models.pictures.surfels import (
    EDGE_ON,
    Frame,
    Surfels,
    surfels,
    view,
)
from models.pictures.upright import Upright, frontal
from models.skeletons.face import FACE68, FACE_REGIONS


def made_face(points: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """(points, 3) on half an ellipsoid with a nose, and its 68 landmarks, (68, 3); metres, +x to its left, +y up, +z out."""

    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        dome = 90 * np.sqrt(np.maximum(1 - (x / 85) ** 2 - (y / 125) ** 2, 0))
        return np.stack([x, y, dome + 20 * np.exp(-((x / 12) ** 2) - ((y - 5) / 18) ** 2)], axis=1) / 1000

    def ring(count: int, x: float, y: float, width: float, height: float) -> np.ndarray:
        turn = 2 * np.pi * np.arange(count) / count
        return np.stack([x - width * np.cos(turn), y + height * np.sin(turn)], axis=1)

    half = np.pi * np.arange(17) / 16
    flat = {
        "jaw": np.stack([-70 * np.cos(half), 30 - 100 * np.sin(half)], axis=1),
        "right_brow": np.stack([np.linspace(-60, -15, 5), np.full(5, 50)], axis=1),
        "left_brow": np.stack([np.linspace(15, 60, 5), np.full(5, 50)], axis=1),
        "nose_bridge": np.stack([np.zeros(4), np.linspace(35, 5, 4)], axis=1),
        "nose_base": np.stack([np.linspace(-14, 14, 5), np.full(5, -10)], axis=1),
        "right_eye": ring(6, -32, 35, 13, 5),
        "left_eye": ring(6, 32, 35, 13, 5),
        "outer_lip": ring(12, 0, -40, 25, 9),
        "inner_lip": ring(8, 0, -40, 20, 4),
    }
    rng = np.random.default_rng(0)
    radius, turn = np.sqrt(rng.random(points)), 2 * np.pi * rng.random(points)
    cloud = surface(85 * radius * np.cos(turn), 125 * radius * np.sin(turn))
    return cloud, np.concatenate([surface(*flat[region].T) for region in FACE_REGIONS])


def picture_at(path: Path) -> np.ndarray:
    return matplotlib.image.imread(path)[..., :3]


def must_show_something(path: Path, colours: int = 100) -> None:
    picture = (255 * picture_at(path)).astype(int)
    assert picture.shape[0] > 200
    assert picture.shape[1] > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > colours


def must_fit(picture: np.ndarray) -> None:
    """Nothing but white along the edge: what is drawn is on the page."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edge > 0.99).all()


def test_discs_are_seen_as_one_disc_after_the_other_says():
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    cloud = Surfels(rng.uniform(-1, 1, size=(30, 3)), normals, radius=0.3)
    frame = Frame((-1.2, -1.1), (1.2, 1.1), 0.04)
    wanted = np.full(frame.shape, -np.inf)
    for point, normal in zip(cloud.points, normals * np.sign(normals[:, 2:]), strict=True):
        for row in range(frame.shape[0]):
            for column in range(frame.shape[1]):
                x = frame.low[0] + (column + 0.5) * frame.pixel - point[0]
                y = frame.high[1] - (row + 0.5) * frame.pixel - point[1]
                z = -(normal[0] * x + normal[1] * y) / max(normal[2], EDGE_ON)
                if x * x + y * y + z * z <= cloud.radius**2:
                    wanted[row, column] = max(wanted[row, column], point[2] + z)
    seen = view(cloud, frame, np.zeros((30, 0)))
    middles = frame.place(cloud.points[:, :2])[:2]
    wanted[middles] = seen.depth[middles]  # a disc is seen at its middle however small it is
    np.testing.assert_allclose(seen.depth, wanted, atol=1e-12)


def ball(points: int = 5000) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(points, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_a_ball_has_no_holes_its_normals_point_outwards_and_its_back_is_hidden():
    cloud = surfels(ball())
    assert np.abs(np.einsum("ij,ij->i", cloud.normals, cloud.points)).min() > 0.95
    frame = Frame((-1.1, -1.1), (1.1, 1.1), 0.01)
    seen = view(cloud, frame, np.ones((5000, 1)))
    x, y = np.meshgrid(np.linspace(-1.095, 1.095, 220), np.linspace(1.095, -1.095, 220))
    inside = x * x + y * y < 0.95**2
    np.testing.assert_allclose(seen.depth[inside], np.sqrt(np.maximum(1 - x * x - y * y, 0))[inside], atol=0.05)
    assert not np.isfinite(seen.depth[x * x + y * y > 1.07**2]).any()
    np.testing.assert_allclose(seen.values[inside], 1)
    middle = np.abs(cloud.points[:, 2]) > 0.3
    np.testing.assert_array_equal(seen.hidden(cloud.points, 0.2)[middle], cloud.points[middle, 2] < 0)


def test_what_is_outside_the_frame_is_not_hidden():
    seen = view(surfels(ball()), Frame((-0.5, -0.5), (0.5, 0.5), 0.01), np.zeros((5000, 0)))
    assert not seen.hidden(np.array([[0.9, 0.0, -5.0], [0.0, -3.0, -5.0]]), 0.1).any()


def test_the_axes_of_a_face_turn_with_it_and_point_left_up_and_out():
    _, landmarks = made_face()
    axes = frontal(landmarks)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert np.diag(axes).min() > 0.9
    rng = np.random.default_rng(0)
    for _ in range(5):
        turn = random_rotation(rng)
        np.testing.assert_allclose(frontal(landmarks @ turn.T + [3, -2, 5]), axes @ turn.T, atol=1e-9)


def test_a_face_whose_left_and_right_are_swapped_is_seen_from_its_front():
    _, landmarks = made_face()
    np.testing.assert_allclose(frontal(landmarks[list(FACE68.mirror)])[1:], frontal(landmarks)[1:], atol=0.1)


@pytest.mark.parametrize("spread", [np.zeros(3), np.array([1.0, 0.0, 0.0])], ids=["one point", "one line"])
def test_landmarks_that_span_no_face_leave_the_scan_as_it_is(spread: np.ndarray):
    np.testing.assert_array_equal(frontal(np.arange(68)[:, None] * spread), np.eye(3))


def test_a_scan_is_drawn_the_same_in_any_pose(tmp_path: Path):
    cloud, landmarks = made_face()
    turn = random_rotation(np.random.default_rng(1))
    face(cloud, landmarks, tmp_path / "straight.png")
    face(cloud @ turn.T + [3, -2, 5], landmarks @ turn.T + [3, -2, 5], tmp_path / "turned.png")
    straight, turned = picture_at(tmp_path / "straight.png"), picture_at(tmp_path / "turned.png")
    assert straight.shape == turned.shape
    assert np.abs(straight - turned).mean() < 1e-3
    must_show_something(tmp_path / "straight.png")
    must_fit(straight)
    face(cloud, landmarks @ turn.T, tmp_path / "apart.png")  # the control
    apart = picture_at(tmp_path / "apart.png")
    assert apart.shape != straight.shape or np.abs(straight - apart).mean() > 0.01


def test_heatmaps_confidence_and_true_landmarks_have_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    save = pictures.save
    monkeypatch.setattr(pictures, "save", lambda figure, path: (drawn.append(figure), save(figure, path)))
    cloud, landmarks = made_face()
    samples = cloud[:500]
    heatmaps = np.exp(-np.square(samples - landmarks[:, None]).sum(axis=2) / 2 / 0.01**2)
    true = landmarks + np.array([0.0, 0.003, 0.0])
    true[:60] = np.nan
    confidence = np.linspace(0, 1, 68)
    face(cloud, landmarks, tmp_path / "all.png", confidence=confidence, heatmaps=heatmaps, samples=samples, true=true)
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
    must_fit(picture_at(tmp_path / "all.png"))
    coloured = picture_at(tmp_path / "all.png")
    assert (np.ptp(coloured, axis=2) > 0.3).mean() > 0.01


def test_a_mesh_is_drawn_as_its_surface(tmp_path: Path):
    _, landmarks = made_face()
    corners = 0.1 * np.array([[-1, -1.3, 0.8], [1, -1.3, 0.8], [1, 1.3, 0.8], [-1, 1.3, 0.8]])
    upright = Upright.of(corners, np.array([[0, 1, 2], [0, 2, 3]]), landmarks, None)
    assert len(upright.cloud.points) > 1000
    face(corners, landmarks, tmp_path / "mesh.png", triangles=np.array([[0, 1, 2], [0, 2, 3]]))
    must_show_something(tmp_path / "mesh.png")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_landmarks_that_make_no_sense_make_a_picture_all_the_same(tmp_path: Path, scale: float):
    cloud, _ = made_face()
    face(cloud, scale * np.random.default_rng(0).normal(size=(68, 3)), tmp_path / "noise.png")
    must_show_something(tmp_path / "noise.png")


def test_only_the_side_that_was_scanned_is_shown():
    cloud, landmarks = made_face()
    sides = [Upright.of(cloud[keep], None, landmarks, None).side for keep in (cloud[:, 0] < 0, cloud[:, 0] > 0)]
    assert sides == [-1, 1]


def test_the_rest_of_the_scan_is_left_out():
    cloud, landmarks = made_face()
    room = np.random.default_rng(0).uniform(-3, 3, size=(20000, 3))
    upright = Upright.of(np.concatenate([cloud, room]), None, landmarks, None)
    assert np.abs(upright.cloud.points).max() < 200


@pytest.mark.parametrize("nodes", [21, 42])
@pytest.mark.parametrize("known", [True, False], ids=["with what came", "forecast alone"])
def test_a_strip_of_skeletons_is_drawn_for_one_hand_and_for_two(nodes: int, known: bool, tmp_path: Path):
    clip = hand_motion(20, nodes, batch=1)[0]
    path = tmp_path / "strip.png"
    strip(clip[:10], clip[10:] if known else None, np.repeat(clip[9:10], 10, axis=0), 30.0, path, title="a clip")
    must_show_something(path, colours=10)
    must_fit(picture_at(path))


def test_every_moment_of_a_strip_has_the_same_scale_and_shows_whole_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: drawn.append(figure))
    clip = hand_motion(20, 42, batch=1)[0]
    clip += np.linspace(0, 1, 20)[:, None, None] * [1.0, 0.5, 0.0]  # a metre away at the end
    strip(clip[:10], clip[10:], clip[10:] + 0.01, 30.0, tmp_path / "strip.png")
    moments = [panel for panel in drawn[0].axes if panel.get_title()]
    assert len(moments) == 8
    assert [panel.get_title() for panel in moments][:4] == ["-300 ms", "-167 ms", "0 ms", "+33 ms: 17 mm"]
    spans = np.array([[np.ptp(panel.get_xlim()), np.ptp(panel.get_ylim())] for panel in moments])
    np.testing.assert_allclose(spans, spans[:1].repeat(8, axis=0))
    for panel in moments:
        for line in panel.lines:
            if line.get_color() == pictures.SHADOW:
                continue
            (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
            assert left <= line.get_xdata().min() <= line.get_xdata().max() <= right
            assert low <= line.get_ydata().min() <= line.get_ydata().max() <= high


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".PNG"])
def test_pictures_come_in_every_format(tmp_path: Path, suffix: str):
    path = tmp_path / f"strip{suffix}"
    clip = hand_motion(20, 21, batch=1)[0]
    strip(clip[:10], None, clip[10:], 30.0, path)
    assert path.stat().st_size > 2000


def test_another_format_is_refused_before_anything_is_drawn(tmp_path: Path):
    cloud, landmarks = made_face()
    with pytest.raises(UnknownFormat, match=r"\.png.*scan\.gif"):
        face(cloud, landmarks, tmp_path / "scan.gif")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NoMatplotlib, match=r"chiron\[plot\]"):
        face(*made_face(), tmp_path / "scan.png")


def test_matplotlib_is_not_loaded_until_something_is_drawn():
    code = "import models.pictures.page, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


def test_pictures_leave_no_figure_open(tmp_path: Path):
    import matplotlib.pyplot as plt

    clip = hand_motion(20, 21, batch=1)[0]
    strip(clip[:10], None, clip[10:], 30.0, tmp_path / "strip.png")
    assert plt.get_fignums() == []


def test_real_scans_are_upright(data_folder: Path):
    """facefuns is scanned upright and frontal: its own axes are within 15 degrees of the scanner's."""
    faces = np.load(data_folder / "faces" / "facefuns_composites" / "facefuns_faces.npz")
    for vertices in faces["vertices"].astype(float) / 1000:
        axes = frontal(vertices[faces["landmarks68_fitted"]])
        assert np.diag(axes).min() > np.cos(np.radians(15))
