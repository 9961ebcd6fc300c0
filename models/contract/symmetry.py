"""The symmetries a model may claim, as actions on its tensors, and how far a function is from obeying one.

A function f obeys g when f(g x) = g f(x). The measure here serves the exporter, which refuses a graph that breaks what it claims, and the
tests, which hold every network, graph and endpoint to it.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from models.contract.skeleton import HAND_PAIR

Tensors = Mapping[str, np.ndarray]
Points = Float[np.ndarray, "*batch nodes 3"]
Action = Callable[[Points], Points]


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


SYMMETRIES: dict[str, Callable[[np.random.Generator], Action]] = {
    "translation": translation,
    "rotation": rotation,
    "mirror-swap": mirror_swap,
}


def violation(
    function: Callable[[Tensors], Tensors], symmetry: str, inputs: Tensors, *, trials: int = 8, seed: int = 0
) -> float:
    """The largest |f(g x) - g f(x)| over `trials` random elements g of `symmetry`, in the unit of the outputs.

    Every tensor is taken as points, (..., nodes, 3). Raises KeyError for a symmetry that is not in SYMMETRIES.
    """
    rng = np.random.default_rng(seed)
    straight = function(inputs)
    worst = 0.0
    for _ in range(trials):
        act = SYMMETRIES[symmetry](rng)
        turned = function({name: act(tensor) for name, tensor in inputs.items()})
        for name, output in straight.items():
            worst = float(np.maximum(worst, np.abs(turned[name] - act(output)).max()))  # which, unlike max, keeps a NaN
    return worst
