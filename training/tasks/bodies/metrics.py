"""How wrong poses and actions are: MPJPE and its aligned kinds, velocity error, PCK, top-k accuracy; as published, in mm and in shares.

A true joint that is NaN is not known and does not count.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

PCK_LIMIT = 0.1  # PCK@0.05: 0.05 of the box's longer side, which is 2 in units of `body_motion.boxed`

Poses = Float[np.ndarray, "frames joints 3"]
PerFrame = Float[np.ndarray, "frames"]
Flat = Float[np.ndarray, "samples steps joints 2"]
Seen = Bool[np.ndarray, "samples steps joints"]


def mpjpe_mm(poses: Poses, true: Poses) -> PerFrame:
    """Protocol 1: the mean over joints of the distance to the true position, in mm, of poses in metres from the root."""
    return 1000 * np.nanmean(np.linalg.norm(poses - true, axis=-1), axis=-1)


def n_mpjpe_mm(poses: Poses, true: Poses) -> PerFrame:
    """Protocol 3 (Rhodin et al. 2018): MPJPE of each pose scaled by the factor that fits best, <true, pose> / <pose, pose>."""
    known = np.isfinite(true).all(axis=-1, keepdims=True)
    pose, wanted = np.where(known, poses, 0), np.where(known, true, 0)
    scale = (wanted * pose).sum(axis=(-1, -2)) / np.maximum((pose * pose).sum(axis=(-1, -2)), 1e-12)
    return mpjpe_mm((poses * scale[:, None, None]).astype(poses.dtype), true)


def p_mpjpe_mm(poses: Poses, true: Poses) -> PerFrame:
    """Protocol 2: MPJPE of each pose after the rotation, scale and translation that fit best (Procrustes); a reflection is none of them."""
    known = np.isfinite(true).all(axis=-1, keepdims=True)
    count = known.sum(axis=-2, keepdims=True)
    pose, wanted = np.where(known, poses, 0).astype(np.float64), np.where(known, true, 0).astype(np.float64)
    middle, wanted_middle = (x.sum(axis=-2, keepdims=True) / count for x in (pose, wanted))
    pose, wanted = np.where(known, pose - middle, 0), np.where(known, wanted - wanted_middle, 0)
    u, size, vt = np.linalg.svd(np.swapaxes(wanted, -1, -2) @ pose)
    sign = np.linalg.det(u @ vt)
    u[..., :, 2] *= sign[..., None]
    size[..., 2] *= sign
    scale = size.sum(axis=-1) / np.maximum((pose * pose).sum(axis=(-1, -2)), 1e-12)
    aligned = scale[:, None, None] * (pose @ np.swapaxes(u @ vt, -1, -2)) + wanted_middle
    return mpjpe_mm(aligned, true.astype(np.float64))


def mpjve_mm(poses: Poses, true: Poses) -> Float[np.ndarray, " steps"]:
    """Velocity error: MPJPE of the displacements from each frame to the next, in mm a frame; of consecutive frames of one clip."""
    return mpjpe_mm(np.diff(poses, axis=0), np.diff(true, axis=0))


def pck(poses: Flat, true: Flat, seen: Seen, limit: float = PCK_LIMIT) -> Float[np.ndarray, " steps"]:
    """PCK of each step: the share of all joints seen that are nearer to their true place than `limit`. NaN where none is seen."""
    return _share(np.linalg.norm(poses - true, axis=-1) < limit, seen)


def pck_legacy_pairing(poses: Flat, true: Flat, seen: Seen, limit: float = PCK_LIMIT) -> Float[np.ndarray, " steps"]:
    """What TP-RNN's evaluation computes and calls PCK, only to compare with numbers published so; it is not PCK, and 2 to 9 points higher.

    Its poses are laid out x0 ... x12, y0 ... y12 and read as x0, y0, x1, ...: the k-th "distance" is that of the entries 2k and 2k + 1, or
    (x0, x1), (x2, x3), ... (y11, y12), and counts where joint k is seen.
    """
    apart = np.swapaxes(poses - true, -1, -2).reshape(*poses.shape[:-2], -1)
    return _share(np.hypot(apart[..., ::2], apart[..., 1::2]) < limit, seen)


def _share(near: Seen, seen: Seen) -> Float[np.ndarray, " steps"]:
    counted = seen.sum(axis=(0, 2))
    return np.where(counted > 0, (near & seen).sum(axis=(0, 2)) / np.maximum(counted, 1), np.nan)


def top_k(scores: Float[np.ndarray, "clips classes"], labels: Int[np.ndarray, " clips"], k: int = 1) -> float:
    """The share of clips whose class is among the k of the highest scores; classes of equal score count as higher than the true one."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    return float(((scores >= own).sum(axis=1) <= k).mean())
