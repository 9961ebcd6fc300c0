"""The symmetries that a model may claim, as actions on its tensors, and a measure of how far a function is from equivariance.

A function f is equivariant if f(g x) = g f(x) for every element g of the group. The exporter uses the measure to refuse a graph that breaks
a claimed symmetry; the tests apply it to every network, graph and endpoint.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from models.skeletons.hand import HAND_PAIR
from models.skeletons.own import OwnSkeleton

Tensors = Mapping[str, np.ndarray]
Points = Float[np.ndarray, "*batch nodes 3"]
Action = Callable[[Points], Points]
GRID_M = 2.0**-20  # a micrometre: float32 has all multiples up to 16 m, so a move from one to another is exact
# vectors rotate but do not translate; nodes are (..., nodes) numbers, which change places with the hands; the last two stay
Moves = Literal["points", "vectors", "nodes", "invariant", "indices"]


class Mirror(BaseModel):
    """The action of the chirality transform on a tensor of bodies: entry i of the image is entry mirror[i].

    If `negated`, entries are joints, (..., joints, numbers), and the first number of each is negated. Otherwise entries are classes with
    one number each, (..., classes). No other symmetry moves such a tensor.
    """

    model_config = ConfigDict(frozen=True)

    mirror: tuple[int, ...]
    negated: bool = True

    def of(self, tensor: np.ndarray) -> np.ndarray:
        """Return the mirror image of a tensor."""
        if not self.negated:
            return tensor[..., list(self.mirror)]
        image = tensor[..., list(self.mirror), :]
        image[..., 0] *= -1
        return image


class OnBodies(BaseModel):
    """The action of the mirror with swapped hands on nodes of one body or two, in a skeleton of one's own.

    `points` are (..., nodes, 3), `numbers` are (..., nodes). Two bodies change places, and joint i of the image of a body is joint
    mirror[i]. Rotations and translations move points alone.
    """

    model_config = ConfigDict(frozen=True)

    form: Literal["points", "numbers"]
    mirror: tuple[int, ...]

    def of(self, tensor: np.ndarray, act: Action, symmetry: str) -> np.ndarray:
        """Return the image of a tensor under an element `act` of a symmetry."""
        if symmetry != "mirror-swap":
            return act(tensor) if self.form == "points" else tensor
        axis, joints = (-2 if self.form == "points" else -1), len(self.mirror)
        shifts = (0,) if tensor.shape[axis] == joints else (joints, 0)
        image = np.take(tensor, [joint + shift for shift in shifts for joint in self.mirror], axis=axis)
        return (image @ act(np.eye(3))).astype(tensor.dtype) if self.form == "points" else image


def nodes_of(skeleton: OwnSkeleton | None) -> tuple[Moves | OnBodies, Moves | OnBodies]:
    """Return how the points and the numbers of nodes move: those of hands, or of bodies in a skeleton of one's own."""
    if skeleton is None:
        return "points", "nodes"
    mirror = skeleton.layout.mirror
    return OnBodies(form="points", mirror=mirror), OnBodies(form="numbers", mirror=mirror)


class OnMap(BaseModel):
    """The action of rolls by quarter turns, and of the mirror, on a tensor of a depth map.

    `fields` (..., rows, columns) move on their grid, `points` (..., nodes, 3) in space, and `numbers` (..., nodes) not at all; x runs along
    columns, y along rows. The mirror exchanges nodes too: entry i of the image is entry mirror[i]. Nodes are the axis before the grid.
    """

    model_config = ConfigDict(frozen=True)

    form: Literal["fields", "points", "numbers"]
    mirror: tuple[int, ...] = ()

    def of(self, tensor: np.ndarray, act: Action) -> np.ndarray:
        """Return the image of a tensor under a signed permutation of x and y."""
        matrix = act(np.eye(3)).T
        if self.form == "points":
            tensor = act(tensor)
        elif self.form == "fields":
            tensor = self._on_grid(tensor, np.rint(matrix[:2, :2]))
        if np.linalg.det(matrix) > 0 or not self.mirror:
            return tensor
        return np.take(tensor, self.mirror, axis={"fields": -3, "points": -2, "numbers": -1}[self.form])

    @staticmethod
    def _on_grid(tensor: np.ndarray, matrix: Float[np.ndarray, "2 2"]) -> np.ndarray:
        """Return the field whose value at a pixel is the tensor's at the pixel that the matrix moves there."""
        across = matrix[0, 0] == 0  # x becomes y
        of_x, of_y = (matrix[1, 0], matrix[0, 1]) if across else (matrix[0, 0], matrix[1, 1])
        tensor = tensor[..., :: int(of_y), :: int(of_x)]
        return np.ascontiguousarray(np.swapaxes(tensor, -1, -2) if across else tensor)


def random_rotation(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Return a rotation matrix drawn uniformly from SO(3): a normalised normal 4-vector is a uniform unit quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation(rng: np.random.Generator) -> Action:
    """Return the action x -> R x, with R uniform over SO(3)."""
    matrix = random_rotation(rng)
    return lambda points: (points @ matrix.T).astype(points.dtype)


def translation(rng: np.random.Generator, reach_m: float = 10.0) -> Action:
    """Return the action x -> x + t, with each coordinate of t a multiple of GRID_M, uniform within +-reach_m metres."""
    offset = _on_grid(rng.uniform(-reach_m, reach_m, size=3))
    return lambda points: (points + offset).astype(points.dtype)


def _are_points(moves: Moves | Mirror | OnMap | OnBodies) -> bool:
    return moves == "points" or (isinstance(moves, OnBodies) and moves.form == "points")


def _on_grid(points: np.ndarray) -> np.ndarray:
    """Return the nearest multiples of GRID_M."""
    return (np.round(points / GRID_M) * GRID_M).astype(points.dtype)


def mirror_swap(rng: np.random.Generator) -> Action:
    """Return the reflection in a random plane through the origin; it turns left hands into right ones, so two hands change places."""
    normal = random_rotation(rng)[0]
    matrix = np.eye(3) - 2 * np.outer(normal, normal)

    def act(points: Points) -> Points:
        mirrored = (points @ matrix.T).astype(points.dtype)
        return swapped(mirrored, axis=-2)

    return act


def swapped(tensor: np.ndarray, axis: int) -> np.ndarray:
    """Return a tensor with left and right exchanged along its axis of nodes; one hand alone stays as it is."""
    return np.take(tensor, HAND_PAIR.mirror, axis=axis) if tensor.shape[axis] == len(HAND_PAIR.joints) else tensor


def chirality(_: np.random.Generator) -> Action:
    """Return the action of the chirality transform on a tensor that is not of a body: the identity; `Mirror` acts on bodies."""
    return lambda points: points


def quarter_turn(rng: np.random.Generator) -> Action:
    """Return the rotation about z by one, two or three quarter turns, exactly."""
    quarters = int(rng.integers(1, 4))
    sine, cosine = ((1, 0), (0, -1), (-1, 0))[quarters - 1]
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return lambda points: (points @ matrix.T).astype(points.dtype)


def map_mirror(_: np.random.Generator) -> Action:
    """Return the reflection x -> -x of a map; `OnMap` exchanges left and right."""
    return lambda points: points * np.array([-1, 1, 1], dtype=points.dtype)


SYMMETRIES: dict[str, Callable[[np.random.Generator], Action]] = {
    "translation": translation,
    "rotation": rotation,
    "mirror-swap": mirror_swap,
    "chirality": chirality,
    "quarter-turn": quarter_turn,
    "map-mirror": map_mirror,
}


def acted_on(tensor: np.ndarray, act: Action, symmetry: str, moves: Moves | Mirror | OnMap | OnBodies) -> np.ndarray:
    """Return the image of a tensor under an element `act` of `symmetry`; points and vectors have shape (..., nodes, 3)."""
    if isinstance(moves, OnBodies):
        return moves.of(tensor, act, symmetry)
    if isinstance(moves, OnMap):
        return moves.of(tensor, act) if symmetry in ("quarter-turn", "map-mirror") else tensor
    if isinstance(moves, Mirror):
        return moves.of(tensor) if symmetry == "chirality" else tensor
    if moves == "nodes":
        return swapped(tensor, axis=-1) if symmetry == "mirror-swap" else tensor
    stays = moves in ("invariant", "indices") or (moves == "vectors" and symmetry == "translation")
    return tensor if stays else act(tensor)


def largest_difference(actual: Tensors, expected: Tensors) -> float:
    """Return the largest |actual - expected| over all tensors of `expected`, in their unit; NaN if any difference is not a number.

    A tensor that is absent from `actual`, or has another shape there, counts as NaN: a difference that no tolerance admits.
    """
    worst = 0.0
    for name, tensor in expected.items():
        if name not in actual or actual[name].shape != tensor.shape:
            return float("nan")
        with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN: a difference too
            difference = float(np.abs(actual[name] - tensor).max(initial=0))
        worst = float(np.maximum(worst, difference))  # unlike max, np.maximum keeps a NaN
    return worst


def violation(
    function: Callable[[Tensors], Tensors],
    symmetry: str,
    inputs: Tensors,
    *,
    moves: Mapping[str, Moves | Mirror | OnMap | OnBodies] | None = None,
    trials: int = 8,
    seed: int = 0,
) -> float:
    """Return the largest |f(g x) - g f(x)| over `trials` random elements g of `symmetry`, in the unit of the outputs; NaN if one is NaN.

    `moves` says by name how tensors move; a tensor that it does not name is taken as points, (..., nodes, 3). Points are put on the grid
    of GRID_M before they are translated. The measure then has the rounding of the function, and not that of the moved points, which a
    forecaster of constant velocity multiplies by the number of frames. Raises KeyError for a symmetry that is not in SYMMETRIES.
    """
    moves = moves or {}
    if symmetry == "translation":
        inputs = {k: _on_grid(x) if _are_points(moves.get(k, "points")) else x for k, x in inputs.items()}
    rng = np.random.default_rng(seed)
    outputs = function(inputs)
    worst = 0.0
    for _ in range(1 if symmetry == "chirality" else trials):
        act = SYMMETRIES[symmetry](rng)
        moved = function({k: acted_on(x, act, symmetry, moves.get(k, "points")) for k, x in inputs.items()})
        expected = {k: acted_on(x, act, symmetry, moves.get(k, "points")) for k, x in outputs.items()}
        worst = float(np.maximum(worst, largest_difference(moved, expected)))
    return worst
