"""Errors of poses and actions as published: MPJPE and its aligned kinds, velocity error, PCK and top-k accuracy.

Lengths are in mm and shares are fractions. A true joint that is NaN is unknown and does not count.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

PCK_LIMIT = 0.1  # PCK@0.05: 0.05 of the box's longer side, which is 2 in units of `models.motion.bodies.boxed`

Poses = Float[np.ndarray, "frames joints 3"]
PerFrame = Float[np.ndarray, "frames"]
Flat = Float[np.ndarray, "samples steps joints 2"]
Seen = Bool[np.ndarray, "samples steps joints"]


def mpjpe_mm(poses: Poses, true: Poses) -> PerFrame:
    """Return each frame's mean distance over joints to the true positions (protocol 1), of poses in metres from the root."""
    return 1000 * np.nanmean(np.linalg.norm(poses - true, axis=-1), axis=-1)


def n_mpjpe_mm(poses: Poses, true: Poses) -> PerFrame:
    """Return the MPJPE after scaling each pose by the best factor, <true, pose> / <pose, pose> (protocol 3; Rhodin et al. 2018)."""
    known = np.isfinite(true).all(axis=-1, keepdims=True)
    pose, target = np.where(known, poses, 0), np.where(known, true, 0)
    scale = (target * pose).sum(axis=(-1, -2)) / np.maximum((pose * pose).sum(axis=(-1, -2)), 1e-12)
    return mpjpe_mm((poses * scale[:, None, None]).astype(poses.dtype), true)


def p_mpjpe_mm(poses: Poses, true: Poses) -> PerFrame:
    """Return the MPJPE after the best rotation, scale and translation of each pose (protocol 2, Procrustes), never a reflection."""
    known = np.isfinite(true).all(axis=-1, keepdims=True)
    count = known.sum(axis=-2, keepdims=True)
    pose, target = np.where(known, poses, 0).astype(np.float64), np.where(known, true, 0).astype(np.float64)
    pose_mean, target_mean = (x.sum(axis=-2, keepdims=True) / count for x in (pose, target))
    pose, target = np.where(known, pose - pose_mean, 0), np.where(known, target - target_mean, 0)
    u, size, vt = np.linalg.svd(np.swapaxes(target, -1, -2) @ pose)
    sign = np.linalg.det(u @ vt)
    u[..., :, 2] *= sign[..., None]
    size[..., 2] *= sign
    scale = size.sum(axis=-1) / np.maximum((pose * pose).sum(axis=(-1, -2)), 1e-12)
    aligned = scale[:, None, None] * (pose @ np.swapaxes(u @ vt, -1, -2)) + target_mean
    return mpjpe_mm(aligned, true.astype(np.float64))


def mpjve_mm(poses: Poses, true: Poses) -> Float[np.ndarray, " steps"]:
    """Return the velocity error: MPJPE of the displacements between consecutive frames of one clip, in mm a frame."""
    return mpjpe_mm(np.diff(poses, axis=0), np.diff(true, axis=0))


def pck(poses: Flat, true: Flat, seen: Seen, limit: float = PCK_LIMIT) -> Float[np.ndarray, " steps"]:
    """Return each step's share of visible joints within `limit` of the truth; NaN if no joint is visible."""
    return _share(np.linalg.norm(poses - true, axis=-1) <= limit, seen)


def pck_legacy_pairing(poses: Flat, true: Flat, seen: Seen, limit: float = PCK_LIMIT) -> Float[np.ndarray, " steps"]:
    """Return the figure that TP-RNN's evaluation calls PCK, for comparison; it is 2 to 9 points higher than PCK.

    That code lays poses out as x0 ... x12, y0 ... y12 and reads them as x0, y0, x1, ... Its k-th "distance" is that of entries 2k and
    2k + 1, which are (x0, x1), (x2, x3), ... (y11, y12), and it counts if joint k is visible. It leaves out a distance of exactly `limit`.
    """
    difference = np.swapaxes(poses - true, -1, -2).reshape(*poses.shape[:-2], -1)
    return _share(np.hypot(difference[..., ::2], difference[..., 1::2]) < limit, seen)


def _share(near: Seen, seen: Seen) -> Float[np.ndarray, " steps"]:
    counted = seen.sum(axis=(0, 2))
    return np.where(counted > 0, (near & seen).sum(axis=(0, 2)) / np.maximum(counted, 1), np.nan)


def top_k(scores: Float[np.ndarray, "clips classes"], labels: Int[np.ndarray, " clips"], k: int = 1) -> float:
    """Return the share of clips whose class has one of the k highest scores; a tie with another class counts against the clip."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    return float(((scores >= own).sum(axis=1) <= k).mean())
