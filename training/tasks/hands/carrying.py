"""Hands that are carried along smooth paths, as those of someone who walks or reaches: an augmentation of hand windows.

Recordings above a desk have few fast and smooth movements of the whole hand. A forecaster that was trained on these alone damps every
velocity, also one that will go on.
"""

import numpy as np
from jaxtyping import Float

from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import Skeleton

FASTEST_M_S, PERIOD_S = (0.05, 1.0), (1.5, 10.0)  # of a path, drawn evenly by their logarithm


def with_carried_hands(
    clip: Float[np.ndarray, "batch frames nodes 3"],
    share: float,
    last: int,
    fps: float,
    rng: np.random.Generator,
    order: Skeleton = ASSEMBLY101,
) -> Float[np.ndarray, "batch frames nodes 3"]:
    """Return windows in metres, a share of which are carried along a sine wave in a random direction, which is at 0 in the frame `last`.

    Half of the windows of two hands have one wave for both, the others one for each.
    """
    batch, frames, nodes, _ = clip.shape
    hands = nodes // len(order.joints)
    one = (rng.random(batch) < 0.5)[:, None]

    def drawn(low: float, high: float) -> Float[np.ndarray, "batch 1 hands"]:
        values = rng.uniform(low, high, size=(batch, hands))
        return np.where(one, values[:, :1], values)[:, None, :]

    speed = np.exp(drawn(*np.log(FASTEST_M_S)))
    rate = 2 * np.pi / np.exp(drawn(*np.log(PERIOD_S)))
    phase = drawn(0, 2 * np.pi)
    times = ((np.arange(frames) - last) / fps)[None, :, None]
    wave = speed / rate * (np.sin(rate * times + phase) - np.sin(phase))
    wave *= (rng.random(batch) < share)[:, None, None]
    direction = rng.normal(size=(batch, 1, hands, 3))
    direction = np.where(one[:, None, :, None], direction[:, :, :1], direction)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    path = np.repeat(wave[..., None] * direction, len(order.joints), axis=2)
    return clip + path.astype(np.float32)
