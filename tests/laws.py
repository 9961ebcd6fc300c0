"""The laws: which network keeps which symmetry, and how it is held to them.

Every network has a line in a table, those that forecast in LAWS; `networks()` finds those that are written, so that one without a line
fails the suite. What a law means is in models/contract/symmetry.py; here it is applied to a network with weights that were shaken, since
a layer that begins at zero hides whatever follows it.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import torch
from clouds import SMALL
from torch import nn

import models
from models.contract.symmetry import Tensors
from models.contract.task import ActionRecognition, HandForecast, PoseForecast, PoseLift, Task
from models.forecast.eqmotion import REFERENCE, STANDARD, EqMotionConfig
from models.forecast.linear import LinearForecast, constant_velocity, damped_velocity, hold, ridge
from models.landmarks.pointnet2 import PointNet2Config
from models.landmarks.se3_unet import SE3UNetConfig
from models.landmarks.shape import ShapePrior
from models.layers.chiral_spec import Spec
from models.pose.ends import AveragedOverFlip, pairs
from models.pose.forecaster import ForecasterConfig
from models.pose.lifter import LifterConfig
from models.pose.recogniser import RecogniserConfig

SINGLE_M = 1e-5  # a hundredth of a millimetre, with hands up to 10 m from the origin in float32
DOUBLE_M = 1e-10  # what is left in float64 where a law holds at all

SE3 = ("translation", "rotation")
ALL = (*SE3, "mirror-swap")

TASK = HandForecast(past=10, future=10, fps=30)
HEADLINE = HandForecast(past=30, future=30, fps=30)
MODES = HandForecast(past=10, future=8, fps=30, modes=3)


@dataclass(frozen=True)
class Law:
    """The law of a network: it keeps exactly what it claims in `symmetries`, and the order of nodes where it has no tokens.

    `single_m` is how exactly in float32.
    """

    build: Callable[[], nn.Module]
    keeps: tuple[str, ...] = ALL
    any_order: bool = False
    single_m: float = SINGLE_M


def _eqmotion(config: EqMotionConfig, task: HandForecast = TASK) -> Callable[[], nn.Module]:
    return lambda: config.build(task)


def _ridge() -> nn.Module:
    clip = hand_motion(TASK.past + TASK.future, 21, batch=6, seed=5)
    return LinearForecast(TASK, ridge(clip[:, : TASK.past], clip[:, TASK.past :], strength=1e-1))


LAWS = {
    "eqmotion standard": Law(_eqmotion(STANDARD)),
    "eqmotion standard, a second to a second": Law(_eqmotion(STANDARD, HEADLINE)),
    # The angles of the authors' code magnify rounding: a coordinate at 10 m is known to 0.5 um, and 0.1 mm of noise comes out 29-fold.
    "eqmotion reference": Law(_eqmotion(REFERENCE), any_order=True, single_m=1e-4),
    "eqmotion, an expert a category": Law(_eqmotion(EqMotionConfig(categories=4, experts=4))),
    "eqmotion, tokens by node": Law(_eqmotion(EqMotionConfig(tokens="node")), keeps=SE3),
    "eqmotion, no tokens": Law(_eqmotion(EqMotionConfig(tokens="none")), any_order=True),
    "eqmotion, dct": Law(_eqmotion(EqMotionConfig(dct=True))),
    "eqmotion, three modes": Law(_eqmotion(STANDARD, MODES)),
    "hold": Law(lambda: LinearForecast(TASK, hold(TASK)), any_order=True),
    "constant velocity": Law(lambda: LinearForecast(TASK, constant_velocity(TASK)), any_order=True),
    "damped velocity": Law(lambda: LinearForecast(TASK, damped_velocity(TASK, 0.8)), any_order=True),
    "ridge": Law(_ridge, any_order=True),
}


NARROW = SE3UNetConfig(channels=((6, 4), (6, 4), (6, 4)), layers=1, functions=4, key_functions=2, hidden=16, votes=6)
FACES = {
    "se3-unet": NARROW,
    "se3-unet, two layers a block": replace(NARROW, layers=2),
    "se3-unet, all harmonics": replace(NARROW, harmonics=2),
    "se3-unet, degrees to 2": replace(NARROW, channels=((4, 3, 2),) * 3, harmonics=4),
    "se3-unet, literal": replace(NARROW, literal=True),
    "se3-unet, attentive, by norms": replace(NARROW, attentive=True, nonlinearity="norm"),
    "se3-unet, pools the longest": replace(NARROW, pooling="max"),
    "se3-unet, no cross product": replace(NARROW, handed=False),
    "pointnet++": PointNet2Config(channels=(8, 12, 16), hidden=16),
}


def correcting(network: nn.Module) -> nn.Module:
    """The landmark network with some shape prior, as one that is fitted has."""
    shape: ShapePrior = network.shape  # pyright: ignore[reportAssignmentType]
    for x in (shape.weight, shape.bias):
        nn.init.normal_(x, std=0.1)
    return network


def _face(config: SE3UNetConfig | PointNet2Config) -> Callable[[], nn.Module]:
    return lambda: correcting(config.build(SMALL))


FACE_LAWS = {
    name: Law(_face(config), keeps=SE3 if isinstance(config, SE3UNetConfig) else ("translation",))
    for name, config in FACES.items()
}
# The norm nonlinearity jumps where a scalar or vector is 0, so that rounding, as at 10 m from the origin, may throw one across.
FACE_LAWS["se3-unet, attentive, by norms"] = Law(
    _face(FACES["se3-unet, attentive, by norms"]), keeps=SE3, single_m=1e-2
)

CHIRAL = ("chirality",)
LIFT = PoseLift(receptive=9)
FLAT = PoseForecast(order="penn-13", past=3, future=4)
ACTION = ActionRecognition(order="penn-13", classes=("bow", "jump", "wave left", "wave right"), frames=24)
SIDED = ACTION.model_copy(update={"mirrored": (0, 1, 3, 2)})
FREE = Spec(ln=6, lp=8, cn=4, cp=8)


def _body(config: LifterConfig | ForecasterConfig | RecogniserConfig, task: Task) -> Callable[[], nn.Module]:
    return lambda: config.build(task)  # pyright: ignore[reportArgumentType] - each with its own


BODY_LAWS = {
    "lifter": Law(_body(LifterConfig(pairs(32)), LIFT), CHIRAL),
    "lifter, single frames": Law(_body(LifterConfig(pairs(32)), PoseLift(receptive=1)), CHIRAL),
    "lifter, the paper's": Law(_body(LifterConfig(FREE, nonlinearity="tanh", paper_exact=True), LIFT), CHIRAL),
    "lifter, free channels, coco-17 with confidence to h36m-17": Law(
        _body(LifterConfig(FREE), PoseLift(receptive=9, seen_order="coco-17", confidence=True)), CHIRAL
    ),
    "lifter, averaged": Law(lambda: AveragedOverFlip(LifterConfig(pairs(32), chiral=False).build(LIFT)), CHIRAL),
    "lifter, plain": Law(_body(LifterConfig(pairs(32), chiral=False), LIFT), ()),
    "forecaster": Law(_body(ForecasterConfig(pairs(16)), FLAT), CHIRAL),
    "forecaster, from one pose": Law(
        _body(ForecasterConfig(pairs(16)), PoseForecast(order="penn-13", past=1, future=3)), CHIRAL
    ),
    "forecaster, the paper's": Law(_body(ForecasterConfig(FREE, velocity=False, paper_exact=True), FLAT), CHIRAL),
    "forecaster, with confidence": Law(
        _body(ForecasterConfig(FREE), PoseForecast(order="h36m-17", past=3, future=3, confidence=True)), CHIRAL
    ),
    "forecaster, two frames to two with confidence": Law(
        _body(ForecasterConfig(FREE), PoseForecast(order="h36m-17", past=2, future=2, confidence=True)), CHIRAL
    ),
    "forecaster, averaged": Law(
        lambda: AveragedOverFlip(ForecasterConfig(pairs(16), chiral=False).build(FLAT)), CHIRAL
    ),
    "forecaster, plain": Law(_body(ForecasterConfig(pairs(16), chiral=False), FLAT), ()),
    "recogniser": Law(_body(RecogniserConfig(pairs(16)), ACTION), CHIRAL),
    "recogniser, the paper's": Law(
        _body(RecogniserConfig(FREE, nonlinearity="tanh", paper_exact=True), ACTION), CHIRAL
    ),
    "recogniser, classes that name a side": Law(_body(RecogniserConfig(pairs(16)), SIDED), CHIRAL),
    "recogniser, five blocks, classes that name a side": Law(
        _body(RecogniserConfig(pairs(16), blocks=5), SIDED), CHIRAL
    ),
    "recogniser, two persons in 3D": Law(
        _body(
            RecogniserConfig(FREE),
            ActionRecognition(order="nw-ucla-20", classes=("sit", "stand"), dims=3, persons=2, frames=16),
        ),
        CHIRAL,
    ),
    "recogniser, averaged": Law(
        lambda: AveragedOverFlip(RecogniserConfig(pairs(16), chiral=False).build(SIDED)), CHIRAL
    ),
    "recogniser, plain": Law(_body(RecogniserConfig(pairs(16), chiral=False), SIDED), ()),
}

# Networks whose input is something else have a table here and tests of their own: tests/models/landmarks and tests/models/pose.
TABLES = (LAWS, FACE_LAWS, BODY_LAWS)


def networks() -> Iterator[type[nn.Module]]:
    """Every network class under models: a module built for a task, or one that claims symmetries. Layers are neither."""
    for found in pkgutil.walk_packages(models.__path__, "models."):
        if not found.name.startswith("models.contract"):
            yield from networks_of(vars(import_module(found.name)), found.name)


def networks_of(names: dict[str, object], module: str) -> Iterator[type[nn.Module]]:
    """The network classes that `module`, which has these names, defines itself."""
    for cls in names.values():
        if not (isinstance(cls, type) and issubclass(cls, nn.Module) and cls.__module__ == module):
            continue
        if hasattr(cls, "symmetries") or "task" in inspect.signature(cls).parameters:
            yield cls


def not_in_the_table(found: Iterator[type[nn.Module]]) -> set[str]:
    """The names of network classes that no law speaks of."""
    listed = {type(law.build()) for table in TABLES for law in table.values()}
    return {cls.__qualname__ for cls in found if cls not in listed}


def shaken(network: nn.Module, seed: int = 0, by: float = 0.03) -> nn.Module:
    """The network, in evaluation, with normal noise added to every parameter: nothing is zero or equal any more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def as_function(network: nn.Module) -> Callable[[Tensors], dict[str, np.ndarray]]:
    """The network as a function on arrays by name, in the precision of its weights."""

    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"future": network(torch.from_numpy(np.ascontiguousarray(inputs["past"]))).numpy()}

    return run


def hand_motion(frames: int, nodes: int, *, batch: int = 2, seed: int = 0) -> np.ndarray:
    """(batch, frames, nodes, 3) float64 metres: clouds the size of hands that wander, turn and wriggle at the speed of hands."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(scale=0.05, size=(batch, 1, nodes, 3))
    hand = np.repeat(rng.normal(scale=0.2, size=(batch, 1, nodes // 21, 3)), 21, axis=2)
    t = np.linspace(0, 1, frames)[:, None, None]
    wander = rng.normal(scale=0.1, size=(batch, 1, 1, 3)) * np.sin(2 * t + rng.uniform(0, 6, size=(batch, 1, 1, 3)))
    wriggle = rng.normal(scale=0.02, size=shape.shape) * np.sin(5 * t + rng.uniform(0, 6, size=shape.shape))
    return shape + hand + wander + wriggle
