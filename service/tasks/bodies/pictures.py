"""Pictures of answers about bodies: a lifted clip beside its keypoints, a forecast after its past."""

from pathlib import Path

import numpy as np

from models.contract.bundle import BundleMeta
from models.pictures.bodies import FRONT, MOMENTS, SIDE, View, draw_bodies, moments
from models.skeletons.body_orders import get_body_order
from service.tasks.bodies.clips import ComputedClips
from service.tasks.bodies.forecast import ForecastClip
from service.tasks.bodies.forecast import answer as forecast_answer
from service.tasks.bodies.keypoints import keypoints_of, order_of
from service.tasks.bodies.lift import LiftClip, poses_of


def draw_lift(computed: ComputedClips[LiftClip], model: BundleMeta, path: Path, title: str) -> None:
    """Write a picture of the first clip: moments of its keypoints, and of its poses from the front and from the side."""
    prepared, clip = computed.prepared, computed.prepared.clips[0]
    order = order_of(prepared.request)
    keypoints = keypoints_of(prepared.request.clips[prepared.first], order, 2).points
    poses, skeleton = poses_of(clip, computed.outputs[0], prepared.task), get_body_order(prepared.task.order)
    at = moments(len(poses))
    views = [View("seen", {"keypoints": (order, keypoints[at])})]
    views += [
        View(name, {"network": (skeleton, poses[at][..., axes])}) for name, axes in (("front", FRONT), ("side", SIDE))
    ]
    draw_bodies(views, [f"{t / clip.fps:.2f} s" for t in at], path, title)


def draw_forecast(computed: ComputedClips[ForecastClip], model: BundleMeta, path: Path, title: str) -> None:
    """Write a picture of the first clip: moments of its past, then of its forecast."""
    prepared, clip = computed.prepared, computed.prepared.clips[0]
    past = keypoints_of(prepared.request.clips[prepared.first], clip.order, 2).points
    answer = forecast_answer(clip, computed.outputs[0], prepared.task)
    future, times = answer["future"], answer["times"]
    before, after = _evenly(len(past), MOMENTS // 2), _evenly(len(future), MOMENTS)
    absent = np.full((len(before) + len(after), *past.shape[1:]), np.nan)
    layers = {"past": absent.copy(), "network": absent.copy()}
    layers["past"][: len(before)], layers["network"][len(before) :] = past[before], future[after]
    captions = [f"{(t - len(past) + 1) / clip.fps:.2f} s" for t in before]
    captions += [f"{times[t]:+.2f} s" for t in after]
    draw_bodies([View("seen", {name: (clip.order, points) for name, points in layers.items()})], captions, path, title)


def _evenly(frames: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, frames - 1, most).astype(int)).tolist()
