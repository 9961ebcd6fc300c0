"""The symmetries a model may claim, as actions on its tensors, and how far a function is from obeying one.

A function f obeys g when f(g x) = g f(x). The measure here serves the exporter, which refuses a graph that breaks what it claims, and the
tests, which hold every network, graph and endpoint to it.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from models.skeletons.hand import HAND_PAIR

Tensors = Mapping[str, np.ndarray]
Points = Float[np.ndarray, "*batch nodes 3"]
Action = Callable[[Points], Points]
Moves = Literal[
    "points", "vectors", "invariant", "indices"
]  # vectors turn and are not shifted; the last two stay as they are


class Mirror(BaseModel):
    """What the chirality transform does to a tensor of bodies: entry i goes to where mirror[i] is.

    Entries are joints with their coordinates, of which the first is negated: (..., joints, numbers); or, where nothing is `negated`,
    classes, a number each: (..., classes). Nothing else moves such a tensor.
    """

    model_config = ConfigDict(frozen=True)

    mirror: tuple[int, ...]
    negated: bool = True

    def of(self, tensor: np.ndarray) -> np.ndarray:
        """The mirror image of a tensor."""
        if not self.negated:
            return tensor[..., list(self.mirror)]
        image = tensor[..., list(self.mirror), :]
        image[..., 0] *= -1
        return image


def random_rotation(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """A proper rotation, uniform over SO(3): a normal 4-vector is a uniform unit quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation(rng: np.random.Generator) -> Action:
    """x -> R x, R uniform over SO(3)."""
    matrix = random_rotation(rng)
    return lambda points: (points @ matrix.T).astype(points.dtype)


def translation(rng: np.random.Generator, reach_m: float = 10.0) -> Action:
    """x -> x + t, each coordinate of t uniform within +-reach_m metres."""
    offset = rng.uniform(-reach_m, reach_m, size=3)
    return lambda points: (points + offset).astype(points.dtype)


def mirror_swap(rng: np.random.Generator) -> Action:
    """Reflection in a random plane through the origin, which makes left hands right ones: two hands also change places."""
    normal = random_rotation(rng)[0]
    matrix = np.eye(3) - 2 * np.outer(normal, normal)

    def act(points: Points) -> Points:
        mirrored = (points @ matrix.T).astype(points.dtype)
        return mirrored[..., list(HAND_PAIR.mirror), :] if points.shape[-2] == len(HAND_PAIR.joints) else mirrored

    return act


def chirality(_: np.random.Generator) -> Action:
    """What the chirality transform, one of a kind, does to what is not of a body: nothing. How it acts on a body a `Mirror` says."""
    return lambda points: points


SYMMETRIES: dict[str, Callable[[np.random.Generator], Action]] = {
    "translation": translation,
    "rotation": rotation,
    "mirror-swap": mirror_swap,
    "chirality": chirality,
}


def acted_on(tensor: np.ndarray, act: Action, symmetry: str, moves: Moves | Mirror) -> np.ndarray:
    """What becomes of a tensor, (..., nodes, 3) where it moves at all and is not of a body."""
    if isinstance(moves, Mirror):
        return moves.of(tensor) if symmetry == "chirality" else tensor
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
        difference = float(np.abs(actual[name] - tensor).max(initial=0))
        worst = float(np.maximum(worst, difference))  # unlike max, np.maximum keeps a NaN
    return worst


def violation(
    function: Callable[[Tensors], Tensors],
    symmetry: str,
    inputs: Tensors,
    *,
    moves: Mapping[str, Moves | Mirror] | None = None,
    trials: int = 8,
    seed: int = 0,
) -> float:
    """The largest |f(g x) - g f(x)| over `trials` random elements g of `symmetry`, in the unit of the outputs.

    `moves` says by name how tensors move; one that it does not name is taken as points, (..., nodes, 3). Raises KeyError for a symmetry
    that is not in SYMMETRIES.
    """
    how = moves or {}
    rng = np.random.default_rng(seed)
    straight = function(inputs)
    worst = 0.0
    for _ in range(1 if symmetry == "chirality" else trials):
        act = SYMMETRIES[symmetry](rng)
        turned = function({k: acted_on(x, act, symmetry, how.get(k, "points")) for k, x in inputs.items()})
        expected = {k: acted_on(x, act, symmetry, how.get(k, "points")) for k, x in straight.items()}
        worst = float(np.maximum(worst, largest_difference(turned, expected)))
    return worst
