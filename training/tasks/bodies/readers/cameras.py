"""Pinhole cameras, which show 3D motion as 2D keypoints, for data sets that were captured without images.

Camera space is x right, y down, z forward, in metres. Mirroring the subject negates x there, and in normalised keypoints too if the
principal point is in the middle of the image. Human3.6M's is up to 2 % of the width off, which breaks the symmetry by as much.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float


class MalformedRig(ValueError):
    """A file that does not describe a camera rig; the message says what was expected and what was found."""


@dataclass(frozen=True, eq=False)
class Placement:
    """A camera's place and image size: x_camera = R_camera_world (x_world - position) in metres; `size` is width and height in pixels."""

    name: str
    R_camera_world: Float[np.ndarray, "3 3"]
    position: Float[np.ndarray, "3"]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Camera(Placement):
    """A pinhole camera without lens distortion: u = focal x / z + centre, in pixels."""

    focal: tuple[float, float]
    centre: tuple[float, float]


def read_rig(path: Path) -> tuple[Camera, ...]:
    """Read the cameras of a rig's JSON. Raises MalformedRig, also if a rotation is a reflection."""
    try:
        cameras = tuple(_camera(entry) for entry in json.loads(path.read_text())["cameras"])
    except FileNotFoundError as error:
        raise MalformedRig(f"no file {path}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedRig(
            f'{path}: expected {{"cameras": [{{id, R_world_to_cam 3x3, position_m, fx, fy, cx, cy, res_w, res_h}}]}}, got '
            f"{type(error).__name__}: {error}"
        ) from error
    for camera in cameras:
        rotation = camera.R_camera_world
        if not (np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5) and np.linalg.det(rotation) > 0):
            raise MalformedRig(f"{path}, camera {camera.name}: expected a rotation, got {rotation.tolist()}")
    return cameras


def _camera(entry: dict[str, Any]) -> Camera:
    rotation, position = (np.array(entry[key], dtype=np.float64) for key in ("R_world_to_cam", "position_m"))
    if rotation.shape != (3, 3) or position.shape != (3,):
        raise ValueError(
            f"expected R_world_to_cam (3, 3) and position_m (3,), got {rotation.shape} and {position.shape}"
        )
    return Camera(
        name=str(entry["id"]),
        R_camera_world=rotation,
        position=position,
        size=(int(entry["res_w"]), int(entry["res_h"])),
        focal=(float(entry["fx"]), float(entry["fy"])),
        centre=(float(entry["cx"]), float(entry["cy"])),
    )


def rotation_of(quaternion: tuple[float, float, float, float]) -> Float[np.ndarray, "3 3"]:
    """Return the rotation matrix of a quaternion (w, x, y, z) of any length."""
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def on_the_spot(
    points: Float[np.ndarray, "frames joints 3"], root: int, *, ground: tuple[int, int] = (0, 2)
) -> Float[np.ndarray, "frames joints 3"]:
    """Move the motion along the `ground` axes so that its root is above the origin on average; rigs look there."""
    shift = np.zeros(3)
    for axis in ground:
        shift[axis] = np.nanmean(points[:, root, axis], dtype=np.float64)
    return (points - shift).astype(points.dtype)


def to_camera(points: Float[np.ndarray, "*batch 3"], camera: Placement) -> Float[np.ndarray, "*batch 3"]:
    """Transform points from world to camera space, in metres; computed in float64."""
    return ((points - camera.position) @ camera.R_camera_world.T).astype(points.dtype)


def project(points: Float[np.ndarray, "*batch 3"], camera: Camera) -> Float[np.ndarray, "*batch 2"]:
    """Project points in camera space to pixels, which may lie outside the image; a point that is not in front of the camera becomes NaN."""
    depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    return (points[..., :2] / depth * np.array(camera.focal) + np.array(camera.centre)).astype(points.dtype)
