"""A scan as the tensors of FaceLandmarks, and the network's output as landmarks in the scan's frame.

A scan is sampled once; prefixes of the sample are the levels, and each level has its neighbours. All of it commutes with rotation and
translation of the scan: the same indices come out, and the points move with the scan.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from models.contract.symmetry import Tensors
from models.contract.task import FaceLandmarks
from models.scans.cloud import Degenerate, Tree, centre
from models.scans.sampling import farthest_points, thinned
from models.skeletons.face import FACE_REGIONS

MESH_POINTS = 8192  # points that are sampled on the surface of a mesh
DENSE = 16_384  # points that farthest ones are sampled from: with more, `python -m benchmarks.density` finds no smaller errors
REACH_M = 0.15  # no landmark of a face is farther from the nose
ELSEWHERE = 0.15  # share of a sample beyond that reach above which a second look is worthwhile
CONFIDENT = (
    0.12  # mean confidence of a face: `python -m benchmarks.reliability` prints it for faces of right and wrong sizes
)
CONVINCING = (
    0.2  # the same for a window, since of many the best is chosen: 0.4 on the face of a made-up person, 0.001 elsewhere
)
WINDOW_M = 0.3  # the radius of a window, which covers a head with shoulders
APART_M = 0.2  # the least distance between two windows
FEW_WINDOWS, MANY_WINDOWS = 6, 32  # a bust has fewer, half a person 10, a person 26, a room hundreds


@dataclass(frozen=True)
class Levels:
    """One scan as the input of a network. Landmarks in its output are relative to `centroid`."""

    tensors: dict[str, np.ndarray]  # the task's inputs, a batch of one
    sampled: Int[np.ndarray, " points"]  # the sampled points, as indices of the scan
    centroid: Float[np.ndarray, "3"]  # the centroid that was subtracted


def levels(points: Float[np.ndarray, "all 3"], task: FaceLandmarks) -> Levels:
    """Return the tensors of a scan in metres. Raises Degenerate for a scan of fewer than task.levels[0] points.

    Of a scan of more than DENSE points, as many are drawn first, by their place in the file and not in space, so the time does not grow
    with the scan and the answer still turns with it.
    """
    if len(points) < task.levels[0]:
        raise Degenerate(
            f"expected a cloud of {task.levels[0]} points or more, got {len(points)}; send a denser cloud, or the scan as a mesh"
        )
    drawn = thinned(len(points), DENSE)
    about, centroid = centre(points[drawn])
    sampled = farthest_points(about, task.levels[0])
    chosen = about[sampled]
    trees = [Tree(chosen[:size]) for size in task.levels]
    tensors = {
        "points": chosen[None],
        "neighbours": np.concatenate([tree.neighbours(task.neighbours) for tree in trees])[None],
        "parents": np.concatenate([high.nearest(low.points, task.parents) for low, high in pairwise(trees)])[None],
    }
    return Levels({name: x.astype(task.inputs[name].dtype) for name, x in tensors.items()}, drawn[sampled], centroid)


@dataclass(frozen=True)
class Face:
    """The landmarks of a scan, in its frame and in metres. Heatmaps are over the points `sampled`, which are indices of the scan."""

    landmarks: Float[np.ndarray, "landmarks 3"]
    confidence: Float[np.ndarray, " landmarks"]  # the probability that the task defines
    heatmaps: Float[np.ndarray, "landmarks points"]
    sampled: Int[np.ndarray, " points"]
    looks: int  # 2 if the surroundings of the face were sampled again, more if windows of the scan were searched


Search = Generator[dict[str, np.ndarray], Tensors, Face]


def search(points: Float[np.ndarray, "all 3"], task: FaceLandmarks) -> Search:
    """Find a face on a scan in metres: yield inputs of the network, receive its outputs, and return the Face.

    On a scan of a whole person the face has too few of the sampled points to be seen. If the network is not confident there, windows of
    the scan are searched one by one until one is convincing. Raises Degenerate for a scan of too few points.
    """
    whole, sampled = yield from _two_looks(points, np.arange(len(points)), task)
    looks = whole.looks
    if whole.confidence.mean() >= CONFIDENT:
        return whole
    for middle in windows(points[sampled]):
        near = np.flatnonzero(np.square(points - middle).sum(axis=1) <= WINDOW_M**2)
        if len(near) < task.levels[0]:
            continue
        face, _ = yield from _two_looks(points, near, task)
        looks += face.looks
        if face.confidence.mean() >= CONVINCING:
            return replace(face, looks=looks)
    return replace(whole, looks=looks)


def _two_looks(
    points: Float[np.ndarray, "all 3"], part: Int[np.ndarray, " part"], task: FaceLandmarks
) -> Generator[dict[str, np.ndarray], Tensors, tuple[Face, Int[np.ndarray, " points"]]]:
    """Search a part of a scan; return the Face and the points of the first look, as indices of the scan.

    The first look samples the whole part. If much of that is elsewhere (shoulders, the back of the head), a second look samples the
    surroundings of the nose, so that the sampled points are on the face.
    """
    look = _levels_of(points, part, task)
    sampled = look.sampled
    answer = yield look.tensors
    looks = 1
    if (near := around(points, nose(answer, look), look, task)) is not None:
        look = _levels_of(points, near, task)
        answer = yield look.tensors
        looks = 2
    landmarks = answer["landmarks"][0] + look.centroid
    return Face(landmarks, answer["confidence"][0], answer["heatmaps"][0], look.sampled, looks), sampled


def _levels_of(points: Float[np.ndarray, "all 3"], part: Int[np.ndarray, " part"], task: FaceLandmarks) -> Levels:
    """Return the levels of a part of a scan, their points as indices of the scan."""
    result = levels(points[part], task)
    return Levels(result.tensors, part[result.sampled], result.centroid)


def windows(sample: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "windows 3"]:
    """Return the centres of windows that cover a scan, in the order of its farthest point sample.

    There are none for a scan of a bust or less, whose details the first looks show, and for a scan of a room, which would have too many.
    """
    first = sample[: MANY_WINDOWS + 1]
    squares = np.square(first[:, None] - first[None]).sum(axis=2)
    covered = [at for at in range(1, len(first)) if squares[at, :at].min() <= APART_M**2]
    return first[: covered[0]] if covered and covered[0] > FEW_WINDOWS else first[:0]


def nose(answer: Tensors, look: Levels) -> int:
    """Return the sampled point of the scan at which the heatmaps of the nose have the largest sum."""
    landmarks = [i for name in ("nose_bridge", "nose_base") for i in FACE_REGIONS[name]]
    return int(look.sampled[answer["heatmaps"][0][landmarks].sum(axis=0).argmax()])


def around(
    points: Float[np.ndarray, "all 3"], middle: int, look: Levels, task: FaceLandmarks
) -> Int[np.ndarray, " near"] | None:
    """Return the points within REACH_M of point `middle`, or None if they are too few or at most ELSEWHERE of the sample is beyond."""
    squares = np.square(points.astype(np.float64) - points[middle]).sum(axis=1)
    beyond = float((squares[look.sampled] > REACH_M**2).mean())
    near = np.flatnonzero(squares <= REACH_M**2)
    return near if beyond > ELSEWHERE and len(near) >= task.levels[0] else None
