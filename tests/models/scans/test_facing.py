"""Tests of the search for a face by depth maps: what the network is asked, and its answer in the scan's frame."""

from collections.abc import Callable

import numpy as np
import pytest

from models.contract.face_map import FaceMap
from models.contract.symmetry import Tensors, random_rotation
from models.scans.cloud import Degenerate
from models.scans.facing import points_seen
from models.scans.levels import Face
from models.scans.looks import find
from models.skeletons.face import FACE68

from .test_depth import dome

TASK = FaceMap(size=49)


def network(confident: Callable[[int], float], seen: list[np.ndarray]) -> Callable[[Tensors], Tensors]:
    """Return a network that finds a flat, upright face around the highest pixel; it is as confident in look i as told."""

    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        depth = inputs["depth"][0]
        seen.append(depth)
        row, column = np.unravel_index(np.where(inputs["seen"][0] > 0.5, depth, -np.inf).argmax(), depth.shape)
        nose = np.array([column - TASK.size // 2, row - TASK.size // 2, 0]) * TASK.pitch_m
        nose[2] = depth[row, column]
        landmarks = np.tile(nose, (68, 1))
        landmarks[:, 0] += [0.03 * name.startswith("left") - 0.03 * name.startswith("right") for name in FACE68.joints]
        landmarks[FACE68.joints.index("chin"), 1] -= 0.06
        heatmaps = np.zeros((1, 68, TASK.heat, TASK.heat), np.float32)
        heatmaps[:, :, row // 2, column // 2] = 1
        return {
            "heatmaps": heatmaps,
            "landmarks": landmarks[None],
            "confidence": np.full((1, 68), confident(len(seen)), np.float32),
        }

    return run


def search(points: np.ndarray, confident: Callable[[int], float] = lambda look: 1.0) -> tuple[Face, list[np.ndarray]]:
    seen: list[np.ndarray] = []
    return find(points, TASK, network(confident, seen)), seen


@pytest.mark.parametrize("offset", [np.zeros(3), np.array([5.0, -3.0, 1.0])], ids=["here", "there"])
def test_a_face_is_found_in_two_looks_in_the_frame_of_the_scan(offset: np.ndarray):
    scan = dome() + offset
    face, seen = search(scan)
    assert len(seen) == face.looks == 2
    tip = scan[scan[:, 2].argmax()]
    assert np.linalg.norm(face.landmarks[FACE68.joints.index("nose_tip")] - tip) < 0.006
    peaks = scan[face.sampled[face.heatmaps.argmax(axis=1)]]
    assert np.linalg.norm(peaks - tip, axis=1).max() < 0.01


def test_a_face_is_found_on_a_scan_in_any_pose():
    scan, rng = dome(), np.random.default_rng(0)
    for _ in range(4):
        turn = random_rotation(rng)
        face, _ = search(scan @ turn.T)
        tip = scan[scan[:, 2].argmax()] @ turn.T
        assert np.linalg.norm(face.landmarks[FACE68.joints.index("nose_tip")] - tip) < 0.01


def test_the_most_convincing_of_all_directions_is_chosen_if_none_convinces_at_once():
    face, seen = search(dome(), lambda look: 0.19 if look == 6 else 0.1)
    assert len(seen) == face.looks > 6
    assert face.confidence.mean() == pytest.approx(0.19)
    face, seen = search(dome(), lambda look: 0.9 if look == 4 else 0.0)
    assert len(seen) == 4


def test_a_wide_scan_is_searched_at_several_places():
    rng = np.random.default_rng(0)
    board = np.column_stack([rng.uniform(-0.4, 0.4, (8000, 2)), 0.002 * rng.normal(size=8000)])
    wide = np.concatenate([dome() + np.array([0.3, 0.3, 0]), board])
    _, seen = search(wide, lambda look: 0.0)
    assert max(float(depth.max() - depth.min()) for depth in seen) > 0.08  # one of them shows the bulge
    assert 6 < len(seen) <= 2 * (6 + 2 * 16)


def test_a_scan_of_which_no_camera_sees_enough_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(Degenerate, match="next to nothing"):
        search(dome()[rng.choice(2000, 150)])


def test_the_points_of_an_example_are_those_that_were_seen():
    seen = search(dome())[1]
    inputs = {"depth": seen[-1][None], "seen": np.eye(TASK.size)[None]}
    points = points_seen(inputs, TASK)
    assert len(points) == TASK.size
    np.testing.assert_allclose(points[0, :2], -(TASK.size // 2) * TASK.pitch_m)
    np.testing.assert_allclose(points[:, 2], np.diag(seen[-1]))
