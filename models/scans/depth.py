"""Depth maps: the side of a scan that faces a camera, as an orthographic image, and the camera that sees most of a face.

A map is what a landmark network in two dimensions sees. Roll the scan by a quarter turn about the camera's axis, or mirror it, and the map
is turned or mirrored exactly, because its size is odd and every filter here is symmetric; any other roll changes it by an interpolation.
Arrays are float64 and lengths are in metres.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import KDTree

from models.contract.face_map import FaceMap
from models.scans.cloud import Degenerate, centre

HIDDEN_M = 0.02  # this far behind the front of its surroundings, a point is hidden
SMOOTH = 0.7  # pixels: the standard deviation of the blur of points, below which a map shows single points
FILLS = ((3.0, 1e-3), (9.0, 1e-6))  # wider blurs that fill what was not seen, and their weights
ENOUGH = 0.1  # points a pixel at which a pixel counts as half seen
FEWEST = 200  # points that a map shows; fewer are no face
STRAY, APART = 4, 4.0  # a point is a stray if its fourth neighbour is APART times as far as the median one

Points = Float[np.ndarray, "points 3"]
Image = Float[np.ndarray, "size size"]


@dataclass(frozen=True)
class Camera:
    """An orthographic camera: the point in the middle of its map, and its axes as rows: along columns, along rows, towards the camera."""

    middle: Float[np.ndarray, "3"]
    axes: Float[np.ndarray, "3 3"]

    def seen_from(self, points: Float[np.ndarray, "_ 3"]) -> Float[np.ndarray, "_ 3"]:
        """Return points of the scan's frame in the camera's."""
        return (points - self.middle) @ self.axes.T

    def in_scan(self, points: Float[np.ndarray, "_ 3"]) -> Float[np.ndarray, "_ 3"]:
        """Return points of the camera's frame in the scan's."""
        return points @ self.axes + self.middle


@dataclass(frozen=True)
class DepthMap:
    """A camera's view of a scan: the task's inputs, a batch of one, and the scan's points that it shows."""

    tensors: dict[str, np.ndarray]
    visible: Int[np.ndarray, " visible"]  # indices of the scan


def camera_axes(towards: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Return the axes of a camera in a direction, turned as little as possible from the scan's own z axis, or from -z if that is nearer.

    So a roll of the scan about its z axis, or its mirror image, rolls or mirrors the map and does nothing else. A direction across the
    equator jumps by a roll, which a network that knows no upright does not mind.
    """
    ahead = towards / np.linalg.norm(towards)
    frame = np.diag([1.0, 1.0, 1.0] if ahead[2] >= 0 else [1.0, -1.0, -1.0])
    start = frame[2]
    across = np.cross(start, ahead)
    skew = np.array([[0, -across[2], across[1]], [across[2], 0, -across[0]], [-across[1], across[0], 0]])
    turn = np.eye(3) + skew + skew @ skew / (1 + start @ ahead)  # Rodrigues; the cosine is at least 0
    return frame @ turn.T


def towards_camera(points: Points) -> tuple[Float[np.ndarray, "3 3"], float]:
    """Return directions from which a scan may show a face, the likeliest first, and how much the scan bulges towards the first.

    A face is a bulge that is deeper than a plane and flatter than a ball: its direction is that in which the points vary least, and its
    sign that in which points near the axis are ahead of those around them. The bulge is their correlation, -1 to 1. The median error was
    3 to 5 degrees on seven faces of facefuns and on humface, 15 on a bust with shoulders, where a mean normal has 5 to 124. The other two
    directions are those in which the points vary more, each with its own sign.
    """
    about, _ = centre(points - np.median(points, axis=0))
    _, directions = np.linalg.eigh(about.T @ about)
    heights = about @ directions
    squares = np.square(about).sum(axis=1)[:, None] - np.square(heights)
    heights, squares = heights - heights.mean(axis=0), squares - squares.mean(axis=0)
    scale = np.sqrt(np.square(heights).sum(axis=0) * np.square(squares).sum(axis=0))
    bulges = -(heights * squares).sum(axis=0) / np.maximum(scale, np.finfo(float).tiny)
    return (directions * np.where(bulges < 0, -1.0, 1.0)).T, float(np.abs(bulges[0]))


def without_strays(points: Points) -> Bool[np.ndarray, " points"]:
    """Return which points belong to a surface: those with neighbours about as near as most points have them."""
    if len(points) <= STRAY:
        return np.ones(len(points), dtype=bool)
    far = np.asarray(KDTree(points).query(points, [STRAY + 1])[0])[:, 0]  # pyright: ignore[reportArgumentType] - scipy takes a list of ranks
    return far <= APART * np.median(far)


def depth_map(points: Points, camera: Camera, task: FaceMap) -> DepthMap:
    """Return the map of a scan in metres that a camera sees. Raises Degenerate if it shows too few points.

    A point is drawn on its four nearest pixels, and the map is blurred a little, so that noise averages out. What is not seen has the
    depth of its surroundings.
    """
    place = camera.seen_from(points)
    at = place[:, :2] / task.pitch_m + task.size // 2
    inside = np.flatnonzero((at > -0.5).all(axis=1) & (at < task.size - 0.5).all(axis=1))
    visible = inside[_in_front(at[inside], place[inside, 2], task.size)]
    if len(visible) < FEWEST:
        raise Degenerate(f"expected a map of at least {FEWEST} points of a face, got {len(visible)}")
    heights = place[visible, 2]
    middle = heights.mean()
    count, total = _drawn(at[visible], heights - middle, task.size)
    count, total = gaussian_filter(count, SMOOTH, mode="constant"), gaussian_filter(total, SMOOTH, mode="constant")
    weight, depth = count.copy(), total.copy()
    for width, share in FILLS:
        weight += share * gaussian_filter(count, width, mode="constant")
        depth += share * gaussian_filter(total, width, mode="constant")
    depth = depth / np.maximum(weight, np.finfo(float).tiny) + middle
    seen = count / (count + ENOUGH)
    return DepthMap({"depth": depth[None].astype(np.float32), "seen": seen[None].astype(np.float32)}, visible)


def _in_front(
    at: Float[np.ndarray, "points 2"], heights: Float[np.ndarray, " points"], size: int
) -> Bool[np.ndarray, " points"]:
    """Return which points no others around them hide."""
    column, row = np.rint(at).astype(int).T
    front = np.full((size, size), -np.inf)
    np.maximum.at(front, (row, column), heights)
    front = maximum_filter(front, 3, mode="constant", cval=-np.inf)
    return heights > front[row, column] - HIDDEN_M


def _drawn(at: Float[np.ndarray, "points 2"], heights: Float[np.ndarray, " points"], size: int) -> tuple[Image, Image]:
    """Return the number of points at each pixel and the sum of their heights; a point is divided among its four nearest pixels."""
    low = np.floor(at).astype(int)
    share = at - low
    count, total = np.zeros((size + 2, size + 2)), np.zeros((size + 2, size + 2))
    for right in (0, 1):
        for up in (0, 1):
            weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - up - share[:, 1])
            where = (low[:, 1] + up + 1) * (size + 2) + low[:, 0] + right + 1
            count += np.bincount(where, weight, count.size).reshape(count.shape)
            total += np.bincount(where, weight * heights, count.size).reshape(count.shape)
    return count[1:-1, 1:-1], total[1:-1, 1:-1]
