"""The faults of hand trackers, put into the past of a window: jitter, missing joints, dropped frames, a lost hand, a late start."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from models.skeletons.hand import ASSEMBLY101
from models.skeletons.skeleton import Skeleton

Pasts = Float[np.ndarray, "batch past nodes 3"]
Seen = Bool[np.ndarray, "batch past nodes"]


@dataclass(frozen=True)
class Faults:
    """Random faults of the pasts of windows, each window with its own.

    Coordinates get normal noise, with a standard deviation from the range `jitter_mm`. A share of the joints from the range `joints` is
    missing: half of the windows lack the same joints in every frame, the others change from frame to frame. `burst` is the share of windows
    that lack a run of up to a third of their frames, `lost` the share of two-hand windows in which one hand is not seen from some frame on,
    and `short` the share whose past has a random number of frames, two at least. A window with faults has two seen frames of a hand.
    """

    jitter_mm: tuple[float, float] = (0.0, 0.0)
    joints: tuple[float, float] = (0.0, 0.0)
    burst: float = 0.0
    lost: float = 0.0
    short: float = 0.0

    @property
    def hide(self) -> bool:
        """Return whether joints may become unseen, which a forecaster has to be told."""
        return any((self.joints[1], self.burst, self.lost, self.short))


NONE = Faults()


def with_faults(
    past: Pasts, faults: Faults, rng: np.random.Generator, order: Skeleton = ASSEMBLY101
) -> tuple[Pasts, Seen]:
    """Return the pasts with faults, and which joints are seen; positions that are not seen, or were NaN, are 0."""
    batch, frames, nodes, _ = past.shape
    seen: Seen = np.asarray(np.isfinite(past).all(axis=-1))
    number = np.arange(frames)
    length = np.any(seen, axis=2).sum(axis=1)  # a past that begins late has its last frames
    if faults.short:
        shorter = 2 + (rng.random(batch) * (length - 1)).astype(int)
        length = np.where(rng.random(batch) < faults.short, shorter, length)
        seen &= (number >= frames - length[:, None])[:, :, None]
    if faults.burst:
        size = 1 + (rng.random(batch) * (length // 3)).astype(int)
        begin = frames - length + (rng.random(batch) * (length - size + 1)).astype(int)
        broken = (rng.random(batch) < faults.burst) & (length >= 3)
        gap = (number >= begin[:, None]) & (number < (begin + size)[:, None])
        seen &= ~(broken[:, None] & gap)[:, :, None]
    if faults.joints[1]:
        share = rng.uniform(*faults.joints, size=batch)[:, None, None]
        chance = rng.random((batch, frames, nodes))
        same = rng.random(batch) < 0.5
        chance[same] = chance[same, :1]
        seen &= chance >= share
    if faults.lost and nodes == 2 * len(order.joints):
        since = frames - length + (rng.random(batch) * length).astype(int)
        left = (rng.random(batch) < 0.5)[:, None] == (np.arange(nodes) < nodes // 2)
        chosen = (rng.random(batch) < faults.lost)[:, None] & (number >= since[:, None])
        seen &= ~(chosen[:, :, None] & left[:, None, :])
    if faults.jitter_mm[1]:
        deviation = rng.uniform(*faults.jitter_mm, size=batch) / 1000
        past = past + (deviation[:, None, None, None] * rng.normal(size=past.shape)).astype(np.float32)
    return np.where(seen[..., None], past, np.float32(0)), seen


def without_unseen_hands(
    future: Float[np.ndarray, "batch future nodes 3"], seen: Seen, order: Skeleton = ASSEMBLY101
) -> Float[np.ndarray, "batch future nodes 3"]:
    """Return the futures with NaN for a hand of which no joint was ever seen: nothing says where it is."""
    joints = len(order.joints)
    shown = np.any(seen, axis=1).reshape(len(seen), -1, joints).any(axis=2)
    return np.where(np.repeat(shown, joints, axis=1)[:, None, :, None], future, np.float32(np.nan))
