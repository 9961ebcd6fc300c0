"""The search for a face on a scan by depth maps: from which side and where a camera sees it, and a second look square to it.

It is the counterpart of `levels.search` for the tasks that see a map. No step depends on the pose of the scan but the roll of the camera,
which the axes of the scan decide.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from models.contract.face_map import FaceMap
from models.contract.symmetry import Tensors
from models.scans.cloud import Degenerate
from models.scans.depth import Camera, DepthMap, camera_axes, depth_map, towards_camera, without_strays
from models.scans.head import face_axes
from models.scans.levels import CONVINCING, Face, Search
from models.scans.sampling import farthest_points

WIDE_M = 0.2  # a scan that reaches farther from its middle is searched at several places; chosen by `python -m benchmarks.wide`
APART_M, MOST_PLACES = 0.1, 16  # of those places; a map is 0.2 m wide
SQUARE = 0.5  # the cosine of the largest angle by which a second look may turn
HALF_SEEN = 0.5  # from which a pixel of a heatmap shows a point of the scan

Points = Float[np.ndarray, "points 3"]


def search(points: Points, task: FaceMap) -> Search:
    """Find a face on a scan in metres: yield inputs of the network, receive its outputs, and return the Face.

    The first camera looks from where the scan bulges to its middle. If the network is not convinced, five more directions follow, and on a
    wide scan other places. Raises Degenerate for a scan of which no camera sees enough points.
    """
    kept = np.flatnonzero(without_strays(points))
    best, looks = None, 0
    for camera in cameras(points[kept]):
        for again in (False, True):
            try:
                shown = depth_map(points[kept], camera, task)
            except Degenerate:
                break
            answer = yield shown.tensors
            looks += 1
            face = found(answer, shown, points, kept, camera, task)
            if best is None or face.confidence.mean() > best.confidence.mean():
                best = face
            if again:
                break
            camera = square_to(face.landmarks, camera)
        if best is not None and best.confidence.mean() >= CONVINCING:
            break
    if best is None:
        raise Degenerate("expected a scan of which a camera sees a face, got one of which it sees next to nothing")
    return replace(best, looks=looks)


def cameras(points: Points) -> Iterator[Camera]:
    """Yield the cameras of first looks, the likeliest first."""
    directions, _ = towards_camera(points)
    middle = middle_of(points)
    for direction in (*directions[:1], -directions[0], *directions[1:], *-directions[1:]):
        yield Camera(middle, camera_axes(direction))
    if np.linalg.norm(points - middle, axis=1).max() > WIDE_M:
        for direction in (directions[0], -directions[0]):
            for place in places(points):
                yield Camera(place, camera_axes(direction))


def middle_of(points: Points) -> Float[np.ndarray, "3"]:
    """Return the mean of the half of the points that are nearest to the centroid, so that a few far away do not count."""
    about = points - points.mean(axis=0)
    radii = np.linalg.norm(about, axis=1)
    return points[radii <= np.median(radii)].mean(axis=0)


def places(points: Points) -> Float[np.ndarray, "places 3"]:
    """Return points that cover a scan, each at least APART_M from those before it."""
    sample = points[farthest_points(points, min(len(points), MOST_PLACES))]
    squares = np.square(sample[:, None] - sample[None]).sum(axis=2)
    far = [at for at in range(1, len(sample)) if squares[at, :at].min() >= APART_M**2]
    return sample[[0, *far]]


def square_to(landmarks: Float[np.ndarray, "68 3"], camera: Camera) -> Camera:
    """Return a camera that looks at the middle of landmarks from their front, or from where the other did if their front is elsewhere."""
    ahead = face_axes(landmarks)[2]
    axes = camera_axes(ahead) if ahead @ camera.axes[2] >= SQUARE else camera.axes
    return Camera(landmarks.mean(axis=0), axes)


def found(
    answer: Tensors, shown: DepthMap, points: Points, kept: Int[np.ndarray, " kept"], camera: Camera, task: FaceMap
) -> Face:
    """Return the face that a network found on a map: landmarks in the scan's frame, and heatmaps at the points nearest to pixels seen."""
    rows, columns, at = pixels_seen(shown.tensors, task, every=2)
    visible = kept[shown.visible]
    nearest = np.asarray(KDTree(camera.seen_from(points[visible])).query(at)[1], dtype=int)
    landmarks = camera.in_scan(answer["landmarks"][0])
    return Face(landmarks, answer["confidence"][0], answer["heatmaps"][0][:, rows, columns], visible[nearest], 1)


def points_seen(inputs: Tensors, task: FaceMap) -> Float[np.ndarray, "seen 3"]:
    """Return the points of a map's pixels that were seen, in the camera's frame."""
    return pixels_seen(inputs, task, every=1)[2]


def pixels_seen(
    inputs: Tensors, task: FaceMap, every: int
) -> tuple[Int[np.ndarray, " seen"], Int[np.ndarray, " seen"], Float[np.ndarray, "seen 3"]]:
    """Return the rows and columns of pixels that were seen, of every row and column or every second, and their points."""
    seen, depth = (inputs[name][0, ::every, ::every].astype(np.float64) for name in ("seen", "depth"))
    rows, columns = np.nonzero(seen >= HALF_SEEN)
    at = every * np.stack([columns, rows], axis=1) - task.size // 2
    return rows, columns, np.column_stack([at * task.pitch_m, depth[rows, columns]])
