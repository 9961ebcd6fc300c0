"""From a scan to the tensors of FaceLandmarks, and from what a network answers to landmarks in the scan's frame.

A scan is sampled once; prefixes of that sampling are the levels, and with them comes who is near whom in each. All of it follows a rotation
and translation of the scan: the same indices come out, and the points move with it.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from models.contract.symmetry import Tensors
from models.contract.task import FaceLandmarks
from models.scans.cloud import centre, nearest, neighbours
from models.scans.sampling import farthest_points
from models.skeletons.face import FACE_REGIONS

MESH_POINTS = 8192  # points that stand for a mesh, drawn on its surface
REACH_M = 0.15  # from the nose: no landmark of a face is farther
ELSEWHERE = 0.15  # share of a sampling beyond that reach, from which on a second look pays


@dataclass(frozen=True)
class Levels:
    """One scan as the network takes it. Landmarks come out about `centroid`."""

    tensors: dict[str, np.ndarray]  # the task's inputs, a batch of one
    sampled: Int[np.ndarray, " points"]  # which points of the scan they are
    centroid: Float[np.ndarray, "3"]  # what was taken off


def levels(points: Float[np.ndarray, "all 3"], task: FaceLandmarks) -> Levels:
    """The tensors of a scan in metres. Raises Degenerate for one of fewer than task.levels[0] points."""
    about, centroid = centre(points)
    sampled = farthest_points(about, task.levels[0])
    chosen = about[sampled]
    tensors = {
        "points": chosen[None],
        "neighbours": np.concatenate([neighbours(chosen[:size], task.neighbours) for size in task.levels])[None],
        "parents": np.concatenate(
            [nearest(chosen[:coarse], chosen[:fine], task.parents) for fine, coarse in pairwise(task.levels)]
        )[None],
    }
    return Levels({name: x.astype(task.inputs[name].dtype) for name, x in tensors.items()}, sampled, centroid)


@dataclass(frozen=True)
class Face:
    """What was found on a scan, in its frame and in metres. Heatmaps are over the points `sampled`, which are indices of the scan."""

    landmarks: Float[np.ndarray, "landmarks 3"]
    confidence: Float[np.ndarray, " landmarks"]  # the task says of what it is the probability
    heatmaps: Float[np.ndarray, "landmarks points"]
    sampled: Int[np.ndarray, " points"]
    looks: int  # 2 where the scan has much besides a face, and its neighbourhood was looked at again


Search = Generator[dict[str, np.ndarray], Tensors, Face]


def search(points: Float[np.ndarray, "all 3"], task: FaceLandmarks) -> Search:
    """Finds a face on a scan in metres: yields inputs for the network, wants its outputs sent back, returns the Face.

    The first look is at the whole scan. Where much of that is elsewhere (shoulders, the back of the head, a room), the second is at what is
    around the nose, so that the samples are where the face is. Raises Degenerate for a scan of too few points.
    """
    seen = levels(points, task)
    answer = yield seen.tensors
    looks = 1
    if (near := around(points, nose(answer, seen), seen, task)) is not None:
        again = levels(points[near], task)
        seen = Levels(again.tensors, near[again.sampled], again.centroid)
        answer = yield seen.tensors
        looks = 2
    landmarks = answer["landmarks"][0] + seen.centroid
    return Face(landmarks, answer["confidence"][0], answer["heatmaps"][0], seen.sampled, looks)


def find(points: Float[np.ndarray, "all 3"], task: FaceLandmarks, run: Callable[[Tensors], Tensors]) -> Face:
    """The whole search with a network that is at hand."""
    going = search(points, task)
    tensors = next(going)
    while True:
        try:
            tensors = going.send(run(tensors))
        except StopIteration as done:
            return done.value


def nose(answer: Tensors, seen: Levels) -> int:
    """Which point of the scan is most of a nose: of those sampled the one where the heatmaps of the nose add up to the most."""
    landmarks = [i for name in ("nose_bridge", "nose_base") for i in FACE_REGIONS[name]]
    return int(seen.sampled[answer["heatmaps"][0][landmarks].sum(axis=0).argmax()])


def around(
    points: Float[np.ndarray, "all 3"], middle: int, seen: Levels, task: FaceLandmarks
) -> Int[np.ndarray, " near"] | None:
    """Which points are within REACH_M of the `middle` one, if ELSEWHERE of the sampling is not and those that are suffice."""
    squares = np.square(points.astype(np.float64) - points[middle]).sum(axis=1)
    beyond = float((squares[seen.sampled] > REACH_M**2).mean())
    near = np.flatnonzero(squares <= REACH_M**2)
    return near if beyond > ELSEWHERE and len(near) >= task.levels[0] else None
