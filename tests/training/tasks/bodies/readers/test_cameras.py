"""Tests of virtual cameras, and of the cameras of the studios."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.motion.bodies import denormalise, normalise
from models.skeletons.body import mirrored
from models.skeletons.body_orders import BODIES
from training.tasks.bodies.readers.cameras import (
    Camera,
    MalformedRig,
    on_the_spot,
    project,
    read_rig,
    rotation_of,
    to_camera,
)
from training.tasks.bodies.readers.npz import read_bodies
from training.tasks.bodies.readers.studio_cameras import human36m_cameras, humaneva_cameras

STUDIOS = [
    (studio, subject, camera)
    for studio, cameras in (("human36m", human36m_cameras()), ("humaneva", humaneva_cameras()))
    for subject, placed in cameras.items()
    for camera in placed
]


@pytest.fixture
def rig_file(data_folder: Path) -> Path:
    return data_folder / "body/cameras/virtual_rig_4cam.json"


def a_camera(**changes) -> Camera:
    fields = {
        "name": "v",
        "R_camera_world": np.diag([1.0, -1.0, -1.0]),  # y up becomes y down: looks along -z
        "position": np.array([0.0, 1.0, 5.0]),
        "size": (1000, 800),
        "focal": (1000.0, 1000.0),
        "centre": (500.0, 400.0),
    }
    return Camera(**(fields | changes))


def test_projection_is_that_of_a_pinhole_camera():
    points = np.array([[0.0, 1.0, 0.0], [0.5, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 1.0, 6.0]])
    seen = to_camera(points, a_camera())
    np.testing.assert_allclose(seen, [[0, 0, 5], [0.5, 0, 5], [0, -1, 5], [0, 0, -1]])
    pixels = project(seen, a_camera())
    np.testing.assert_allclose(pixels[:3], [[500, 400], [600, 400], [500, 200]])
    assert np.isnan(pixels[3]).all()  # behind the camera


def test_pixels_are_normalised_by_the_width_and_back():
    corners = np.array([[0.0, 0.0], [1000.0, 800.0], [500.0, 400.0]])
    normal = normalise(corners, (1000, 800))
    np.testing.assert_allclose(normal, [[-1, -0.8], [1, 0.8], [0, 0]])
    np.testing.assert_allclose(denormalise(normal, (1000, 800)), corners, atol=1e-9)


def test_the_image_of_a_mirrored_subject_is_the_mirrored_image():
    body = BODIES["h36m-17"]
    points = np.random.default_rng(0).normal(size=(5, 17, 3)) + np.array([0, 0, 5])
    keypoints = normalise(project(points, a_camera()), (1000, 800))
    again = normalise(project(mirrored(points, body), a_camera()), (1000, 800))
    np.testing.assert_allclose(again, mirrored(keypoints, body), atol=1e-12)
    off_centre = a_camera(centre=(520.0, 400.0))  # as Human3.6M's: the symmetry holds only nearly
    keypoints = normalise(project(points, off_centre), (1000, 800))
    again = normalise(project(mirrored(points, body), off_centre), (1000, 800))
    np.testing.assert_allclose(np.abs(again - mirrored(keypoints, body))[..., 0], 0.08, atol=1e-9)


def test_on_the_spot_moves_a_clip_to_the_origin_along_the_ground_only():
    walk = np.zeros((10, 2, 3)) + np.arange(10)[:, None, None]
    still = on_the_spot(walk, 0)
    np.testing.assert_allclose(still[:, 0].mean(axis=0), [0, 4.5, 0])
    np.testing.assert_allclose(np.diff(still, axis=0), 1)
    np.testing.assert_allclose(on_the_spot(walk, 0, ground=(0, 1))[:, 0].mean(axis=0), [0, 0, 4.5])


def test_the_images_of_the_virtual_rig_are_not_mirrored(data_folder: Path, rig_file: Path):
    """As the rig's README states, few frames leave the image, and the left shoulder of people who face a camera is on the right."""
    rig = read_rig(rig_file)
    assert [camera.name for camera in rig] == ["v0", "v1", "v2", "v3"]
    inside, left_to_the_right = [], []
    for clip in read_bodies(data_folder / "body", "hdm05_11"):
        body = clip.skeleton
        pelvis, left, right, *feet = body.indices(
            ("pelvis", "left_shoulder", "right_shoulder", "left_ankle", "right_ankle", "left_toe", "right_toe")
        )
        points = on_the_spot(clip.points[::4].astype(np.float64), pelvis)
        for camera in rig:
            seen = to_camera(points, camera)
            pixels = project(seen, camera)
            inside.append(((pixels >= 0) & (pixels <= camera.size)).all(axis=(1, 2)))
            toes = seen[:, feet[2:]].mean(axis=1) - seen[:, feet[:2]].mean(axis=1)
            facing = -toes[:, 2] > np.abs(toes[:, 0])
            left_to_the_right.append((pixels[:, left] - pixels[:, right])[facing, 0] > 0)
    assert np.mean(np.concatenate(inside)) > 0.999
    assert len(np.concatenate(left_to_the_right)) > 1000
    assert np.mean(np.concatenate(left_to_the_right)) > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R_world_to_cam": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "camera v0: expected a rotation"),
        ({"R_world_to_cam": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "expected a rotation"),
        ({"R_world_to_cam": [[1, 0, 0]]}, r"expected R_world_to_cam \(3, 3\) and position_m \(3,\), got \(1, 3\)"),
        ({"fx": None}, "expected.*cameras"),
        ({"position_m": "here"}, "expected.*cameras"),
    ],
)
def test_a_mirroring_or_malformed_rig_is_refused(tmp_path, rig_file, change, message):
    rig = json.loads(rig_file.read_text())
    rig["cameras"][0] |= change
    (tmp_path / "rig.json").write_text(json.dumps(rig))
    with pytest.raises(MalformedRig, match=message):
        read_rig(tmp_path / "rig.json")


def test_a_missing_or_malformed_rig_file_is_named(tmp_path):
    with pytest.raises(MalformedRig, match=r"no file .*rig\.json"):
        read_rig(tmp_path / "rig.json")
    for content in ("{", "[]", '{"camera": []}'):
        (tmp_path / "rig.json").write_text(content)
        with pytest.raises(MalformedRig, match=r"rig\.json: expected"):
            read_rig(tmp_path / "rig.json")


def test_the_rotation_of_a_quaternion_equals_that_of_scipy():
    for quaternion in np.random.default_rng(0).normal(size=(10, 4)):
        np.testing.assert_allclose(
            rotation_of(tuple(quaternion.tolist())),
            Rotation.from_quat(quaternion, scalar_first=True).as_matrix(),
            atol=1e-12,
        )


@pytest.mark.parametrize(("studio", "subject", "camera"), STUDIOS, ids=lambda value: getattr(value, "name", value))
def test_the_cameras_of_a_studio_look_at_its_middle_the_right_way_up(studio, subject, camera):
    """An inverted or reordered quaternion, millimetres in place of metres, or a reflection would fail this test."""
    right, down, forward = camera.R_camera_world
    np.testing.assert_allclose(np.cross(right, down), forward, atol=1e-6)
    assert down @ [0, 0, -1] > 0.95
    assert abs(right[2]) < 0.1
    assert 3.5 < np.linalg.norm(camera.position[:2]) < 6
    assert 1.3 < camera.position[2] < 1.7
    nearest = camera.position - forward * (camera.position[:2] @ forward[:2]) / (forward[:2] @ forward[:2])
    assert np.linalg.norm(nearest[:2]) < 0.8
    assert 0.2 < nearest[2] < 1.2


def test_the_cameras_of_human36m_stand_in_the_corners_in_their_order():
    for cameras in human36m_cameras().values():
        assert [camera.name for camera in cameras] == ["54138969", "55011271", "58860488", "60457274"]
        assert [tuple(np.sign(camera.position[:2])) for camera in cameras] == [(1, 1), (1, -1), (-1, 1), (-1, -1)]
