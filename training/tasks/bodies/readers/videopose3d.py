"""Reader of VideoPose3D's .npz files (Pavllo et al., CVPR 2019): data_3d_<set>.npz and data_2d_<set>_<keypoints>.npz.

    positions_3d  {subject: {action: (frames, joints, 3) float32}}, metres, world coordinates, z up
    positions_2d  {subject: {action: [(frames, joints, 2 or 3) for each camera, or None]}}, pixels, with or without a confidence
    metadata      {layout_name: h36m | coco | mpii | humaneva15, num_joints, keypoints_symmetry: [left, right]}

All are dicts in arrays of objects, which are pickles, and are read as untrusted. Some files lack the layout's name; the symmetry identifies
it. Its left and right are sets: those of mpii do not pair off in the order in which they are listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.skeletons.body import sides
from models.skeletons.body_orders import get_body_order
from models.skeletons.skeleton import Skeleton
from training.data.untrusted import load_numpy
from training.tasks.bodies.clips import MalformedBodies, UnknownBodies

MAX_BYTES = 2 * 2**30  # Human3.6M's 2D keypoints, four cameras of 520,000 frames each, take 0.6 GB in float64
LAYOUTS = ("h36m-17", "coco-17", "mpii-16", "humaneva-15")

Motion = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Detections:
    """Keypoints in pixels by subject, action and camera; None if a camera has none."""

    seen: Skeleton
    positions: dict[str, dict[str, list[np.ndarray | None]]]


def read_motion(path: Path, joints: int) -> Motion:
    """Read positions_3d of a file with so many joints. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    motion: Motion = {}
    for subject, actions in _by_subject(path, _only_dict(path, _arrays(path), "positions_3d")):
        for action, positions in actions.items():
            if not (
                isinstance(positions, np.ndarray) and positions.dtype.kind == "f" and positions.shape[1:] == (joints, 3)
            ):
                raise MalformedBodies(
                    f"{path}, {subject}, {action}: expected floats (frames, {joints}, 3), got {_described(positions)}"
                )
            motion.setdefault(subject, {})[str(action)] = positions
    return motion


def read_detections(path: Path) -> Detections:
    """Read positions_2d of a file. Raises UnknownBodies, MalformedBodies, UntrustedFile."""
    arrays = _arrays(path)
    seen = _layout(path, _only_dict(path, arrays, "metadata"))
    positions: dict[str, dict[str, list[np.ndarray | None]]] = {}
    for subject, actions in _by_subject(path, _only_dict(path, arrays, "positions_2d")):
        for action, cameras in actions.items():
            views = list(cameras) if isinstance(cameras, (list, tuple, np.ndarray)) else [cameras]
            if wrong := [view for view in views if not _is_view(view, len(seen.joints))]:
                raise MalformedBodies(
                    f"{path}, {subject}, {action}: expected floats (frames, {len(seen.joints)}, 2 or 3) for each camera, "
                    f"got {_described(wrong[0])}"
                )
            positions.setdefault(subject, {})[str(action)] = views
    return Detections(seen, positions)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        files = ", ".join(sorted(p.name for p in path.parent.glob("*.npz"))) or "no .npz"
        raise UnknownBodies(f"no file {path}; {path.parent} has {files}")
    arrays = load_numpy(path, MAX_BYTES)
    if not isinstance(arrays, dict):
        raise MalformedBodies(f"{path}: expected a .npz of dicts, got a single array")
    return arrays


def _only_dict(path: Path, arrays: Mapping[str, np.ndarray], name: str) -> dict[Any, Any]:
    """Return the dict that is the only object of the array `name`."""
    if name not in arrays:
        raise MalformedBodies(f"{path}: expected {name}, got {', '.join(arrays) or 'nothing'}")
    if arrays[name].dtype != object or arrays[name].shape != () or not isinstance(arrays[name].item(), dict):
        raise MalformedBodies(
            f"{path}: expected {name} to be one dict in an array of no dimensions, got {_described(arrays[name])}"
        )
    return arrays[name].item()


def _by_subject(path: Path, content: dict[Any, Any]) -> list[tuple[str, dict[Any, Any]]]:
    for subject, actions in content.items():
        if not isinstance(actions, dict):
            raise MalformedBodies(f"{path}, {subject}: expected a dict by action, got {_described(actions)}")
    return [(str(subject), actions) for subject, actions in content.items()]


def _is_view(view: object, joints: int) -> bool:
    """Return whether `view` has a camera's keypoints, or None for a camera without."""
    if view is None:
        return True
    return (
        isinstance(view, np.ndarray)
        and view.dtype.kind == "f"
        and view.ndim == 3
        and view.shape[1] == joints
        and view.shape[2] in (2, 3)
    )


def _layout(path: Path, metadata: dict[Any, Any]) -> Skeleton:
    """Identify the joint order by its joints on the left and on the right."""
    try:
        joints = int(metadata["num_joints"])
        left, right = ({int(i) for i in side} for side in metadata["keypoints_symmetry"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedBodies(
            f"{path}: expected metadata with num_joints and keypoints_symmetry [left, right], got {metadata}"
        ) from error
    for skeleton in map(get_body_order, LAYOUTS):
        known = sides(skeleton)
        if (joints, left, right) == (len(skeleton.joints), set(known.left), set(known.right)):
            return skeleton
    raise MalformedBodies(
        f"{path}: expected keypoints in the order {', '.join(LAYOUTS)}, got {joints} joints with {sorted(left)} on the left "
        f"and {sorted(right)} on the right"
    )


def _described(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
