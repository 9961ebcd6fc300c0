"""The search for a face by the kind of task: what a network is asked, look after look, and what its answers are in the scan's frame."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from models.contract.face_map import FaceMap
from models.contract.symmetry import Tensors
from models.contract.task import FaceLandmarks
from models.scans import facing, levels
from models.scans.levels import Face, Search

FaceTask = FaceLandmarks | FaceMap
SEARCHES: dict[type, Callable[..., Search]] = {FaceLandmarks: levels.search, FaceMap: facing.search}
SHOWN: dict[type, Callable[..., np.ndarray]] = {
    FaceLandmarks: lambda inputs, task: inputs["points"][0],
    FaceMap: facing.points_seen,
}


def search(points: Float[np.ndarray, "all 3"], task: FaceTask) -> Search:
    """Find a face on a scan in metres: yield inputs of the network, receive its outputs, and return the Face. Raises Degenerate."""
    return SEARCHES[type(task)](points, task)


def shown(inputs: Tensors, task: FaceTask) -> Float[np.ndarray, "points 3"]:
    """Return the points, in metres, that the first of a batch of inputs shows."""
    return SHOWN[type(task)](inputs, task)


def find(points: Float[np.ndarray, "all 3"], task: FaceTask, run: Callable[[Tensors], Tensors]) -> Face:
    """Run the whole search with a network as a function."""
    steps = search(points, task)
    tensors = next(steps)
    while True:
        try:
            tensors = steps.send(run(tensors))
        except StopIteration as stop:
            return stop.value
