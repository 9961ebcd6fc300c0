"""Tables of the symmetries that each network keeps.

Every network has a row in a table; hand forecasters are in LAWS. `networks()` finds all network classes, so that one without a row fails
the suite. models/contract/symmetry.py defines the symmetries. Tests apply them to networks with perturbed weights, because a layer that is
initialised to zero hides errors in the layers after it.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from clouds import SMALL
from torch import nn

import models
from models.contract.face_map import FaceMap
from models.contract.symmetry import Tensors
from models.contract.task import ActionRecognition, HandForecast, PoseForecast, PoseLift, Task
from models.forecast.att import ATTConfig
from models.forecast.egnn import EGNNConfig
from models.forecast.enn import ENNConfig
from models.forecast.eqmotion import REFERENCE, STANDARD, EqMotionConfig
from models.forecast.estgcn import ESTGCNConfig
from models.forecast.etnn import ETNNConfig
from models.forecast.filters import double_exponential, kalman
from models.forecast.gat import GATConfig
from models.forecast.gcn import GCNConfig
from models.forecast.gmn import GMNConfig
from models.forecast.gwnet import GWNetConfig
from models.forecast.hand_means import HandMeansConfig
from models.forecast.linear import LinearForecast, constant_velocity, damped_velocity, hold, ridge
from models.forecast.lstm import LSTMConfig
from models.forecast.ltd import LTDConfig
from models.forecast.simlpe import SiMLPeConfig
from models.forecast.temporal import TemporalConfig
from models.landmarks.depth_unet import DepthUNet, DepthUNetConfig
from models.landmarks.pointnet2 import PointNet2Config
from models.landmarks.se3_unet import SE3UNetConfig
from models.landmarks.shape import ShapePrior
from models.layers.chiral_spec import Spec
from models.layers.group import C, D, Scale
from models.pose.clip_recogniser import ClipRecogniserConfig
from models.pose.ends import AveragedOverFlip, pairs
from models.pose.forecaster import ForecasterConfig
from models.pose.lifter import LifterConfig
from models.pose.recogniser import RecogniserConfig
from models.pose.velocity_forecaster import VelocityForecasterConfig
from models.pose.window_lifter import WindowLifterConfig

SINGLE_M = 1e-5  # a hundredth of a millimetre, in float32 and up to 10 m from the origin
DOUBLE_M = 1e-10  # rounding in float64

TRANSLATION = ("translation",)
SE3 = ("translation", "rotation")
ALL = (*SE3, "mirror-swap")

TASK = HandForecast(past=10, future=10, fps=30)
HEADLINE = HandForecast(past=30, future=30, fps=30)
MODES = HandForecast(past=10, future=8, fps=30, modes=3)
MASKED = HandForecast(past=10, future=10, fps=30, modes=3, masked=True, spread=True)


@dataclass(frozen=True)
class Law:
    """The symmetries of a network.

    The network must claim exactly `keeps`. With `any_order` it also commutes with permutations of nodes. `single_m` is the tolerance in
    float32, in metres.
    """

    build: Callable[[], nn.Module]
    keeps: tuple[str, ...] = ALL
    any_order: bool = False
    single_m: float = SINGLE_M


def _eqmotion(config: EqMotionConfig, task: HandForecast = TASK) -> Callable[[], nn.Module]:
    return lambda: config.build(task)


def _forecaster(config: Any, task: HandForecast = TASK) -> Callable[[], nn.Module]:
    return lambda: config.build(task)


def _ridge() -> nn.Module:
    clip = hand_motion(TASK.past + TASK.future, 21, batch=6, seed=5)
    return LinearForecast(TASK, ridge(clip[:, : TASK.past], clip[:, TASK.past :], strength=1e-1))


LAWS = {
    "eqmotion standard": Law(_eqmotion(STANDARD)),
    "eqmotion standard, a second to a second": Law(_eqmotion(STANDARD, HEADLINE)),
    # The angles of the authors' code magnify rounding. At 10 m, float32 is exact to 0.5 um, and the largest error of 20 trials is 16 um.
    "eqmotion reference": Law(_eqmotion(REFERENCE), any_order=True, single_m=3e-5),
    "eqmotion reference, no dct, more inputs": Law(
        _eqmotion(replace(REFERENCE, dct=False, place_features=True)), any_order=True, single_m=3e-5
    ),
    "eqmotion, two categories without experts": Law(_eqmotion(EqMotionConfig(categories=2))),
    "eqmotion, centred nonlinearity, more inputs": Law(
        _eqmotion(EqMotionConfig(centred_nonlinearity=True, activated_features=False, place_features=True))
    ),
    "eqmotion, an expert a category": Law(_eqmotion(EqMotionConfig(categories=4, experts=4))),
    "eqmotion, tokens by node": Law(_eqmotion(EqMotionConfig(tokens="node")), keeps=SE3),
    "eqmotion, no tokens": Law(_eqmotion(EqMotionConfig(tokens="none")), any_order=True),
    "eqmotion, dct": Law(_eqmotion(EqMotionConfig(dct=True))),
    "eqmotion, three modes": Law(_eqmotion(STANDARD, MODES)),
    "gwnet": Law(_forecaster(GWNetConfig(channels=8, skip=12, end=12)), TRANSLATION, any_order=True),
    "temporal": Law(_forecaster(TemporalConfig(hidden=12)), TRANSLATION, any_order=True),
    "temporal, residual, three modes": Law(
        _forecaster(TemporalConfig(hidden=12, residual=True), MODES), TRANSLATION, any_order=True
    ),
    "gcn": Law(_forecaster(GCNConfig(hidden=12)), TRANSLATION),
    "gat": Law(_forecaster(GATConfig(hidden=12)), TRANSLATION, any_order=True),
    "lstm": Law(_forecaster(LSTMConfig(hidden=12)), TRANSLATION),
    "simlpe": Law(_forecaster(SiMLPeConfig(blocks=4)), TRANSLATION),
    "simlpe, three modes to a longer future": Law(
        _forecaster(SiMLPeConfig(blocks=4), MODES.model_copy(update={"future": 14})), TRANSLATION
    ),
    "ltd": Law(_forecaster(LTDConfig(hidden=12, blocks=2)), TRANSLATION),
    "ltd, three modes": Law(_forecaster(LTDConfig(hidden=12, blocks=2), MODES), TRANSLATION),
    "enn": Law(lambda: ENNConfig().build(TASK), any_order=True),
    "etnn": Law(lambda: ETNNConfig().build(TASK), any_order=True),
    "egnn": Law(lambda: EGNNConfig().build(TASK), any_order=True),
    "egnn, three modes": Law(lambda: EGNNConfig().build(MODES), any_order=True),
    "estgcn": Law(lambda: ESTGCNConfig().build(TASK), any_order=True),
    "att": Law(lambda: ATTConfig().build(TASK), any_order=True),
    "gmn": Law(lambda: GMNConfig().build(TASK)),
    "lstm (gmn)": Law(lambda: GMNConfig(memory="vectors").build(TASK), keeps=("translation",)),
    "lstm_inv": Law(lambda: GMNConfig(memory="invariants").build(TASK)),
    "hand means": Law(lambda: HandMeansConfig().build(TASK)),
    "hand means, masked, with spread": Law(lambda: HandMeansConfig().build(MASKED)),
    "hand means, plain": Law(lambda: HandMeansConfig(base="fixed", scaled=False, speed=False, steps=False).build(TASK)),
    "hold": Law(lambda: LinearForecast(TASK, hold(TASK)), any_order=True),
    "constant velocity": Law(lambda: LinearForecast(TASK, constant_velocity(TASK)), any_order=True),
    "damped velocity": Law(lambda: LinearForecast(TASK, damped_velocity(TASK, 0.8)), any_order=True),
    "kalman": Law(lambda: LinearForecast(TASK, kalman(TASK, 0.1)), any_order=True),
    "double exponential": Law(lambda: LinearForecast(TASK, double_exponential(TASK, 0.5)), any_order=True),
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
    "se3-unet, the reference's options": replace(
        NARROW, attentive="last", pooling="sum", skip="concatenation", distance_power=1.0, votes=0, sharpness=3.0
    ),
    "pointnet++": PointNet2Config(channels=(8, 12, 16), hidden=16),
}


def with_random_prior(network: nn.Module) -> nn.Module:
    """Return the landmark network with a random shape prior, which is zero before fitting."""
    shape: ShapePrior = network.shape  # pyright: ignore[reportAssignmentType]
    for x in (shape.weight, shape.bias):
        nn.init.normal_(x, std=0.1)
    return network


def _face(config: SE3UNetConfig | PointNet2Config) -> Callable[[], nn.Module]:
    return lambda: with_random_prior(config.build(SMALL))


FACE_LAWS = {
    name: Law(_face(config), keeps=SE3 if isinstance(config, SE3UNetConfig) else ("translation",))
    for name, config in FACES.items()
}
# The norm nonlinearity is discontinuous at 0, so that rounding at 10 m from the origin can change an output visibly.
FACE_LAWS["se3-unet, attentive, by norms"] = Law(
    _face(FACES["se3-unet, attentive, by norms"]), keeps=SE3, single_m=1e-2
)

MAP = FaceMap(size=25)
FLAT_UNET = DepthUNetConfig(widths=(8, 16), hidden=16, votes=3)
MAPS = {
    "depth u-net, plain": FLAT_UNET,
    "depth u-net, mirror": replace(FLAT_UNET, group=D(1)),
    "depth u-net, quarter turns": replace(FLAT_UNET, group=C(4)),
    "depth u-net, eighths of a turn": replace(FLAT_UNET, group=C(8), kernel=5),
    "depth u-net, quarter turns and mirror": replace(FLAT_UNET, group=D(4)),
    "depth u-net, scale": replace(FLAT_UNET, group=Scale(2, 1.15), kernel=5),
}


def _map(config: DepthUNetConfig) -> Callable[[], nn.Module]:
    def build() -> DepthUNet:
        network = config.build(MAP)
        with_random_prior(network)
        if network.mirror is not None:
            network.shape.mirror_alike(network.mirror)
        return network

    return build


MAP_LAWS = {
    name: Law(_map(config), keeps=keeps)
    for (name, config), keeps in zip(
        MAPS.items(),
        ((), ("map-mirror",), ("quarter-turn",), ("quarter-turn",), ("quarter-turn", "map-mirror"), ()),
        strict=True,
    )
}

CHIRAL = ("chirality",)
LIFT = PoseLift(receptive=9)
FLAT = PoseForecast(order="penn-13", past=3, future=4)
ACTION = ActionRecognition(order="penn-13", classes=("bow", "jump", "wave left", "wave right"), frames=24)
SIDED = ACTION.model_copy(update={"mirrored": (0, 1, 3, 2)})
FREE = Spec(ln=6, lp=8, cn=4, cp=8)


def _body(
    config: LifterConfig
    | WindowLifterConfig
    | ForecasterConfig
    | VelocityForecasterConfig
    | RecogniserConfig
    | ClipRecogniserConfig,
    task: Task,
) -> Callable[[], nn.Module]:
    return lambda: config.build(task)  # pyright: ignore[reportArgumentType] - each config matches its task


BODY_LAWS = {
    "lifter": Law(_body(LifterConfig(pairs(32)), LIFT), CHIRAL),
    "lifter, single frames": Law(_body(LifterConfig(pairs(32)), PoseLift(receptive=1)), CHIRAL),
    "lifter, the paper's": Law(_body(LifterConfig(FREE, nonlinearity="tanh", paper_exact=True), LIFT), CHIRAL),
    "lifter, free channels, coco-17 with confidence to h36m-17": Law(
        _body(LifterConfig(FREE), PoseLift(receptive=9, seen_order="coco-17", confidence=True)), CHIRAL
    ),
    "lifter, averaged": Law(lambda: AveragedOverFlip(LifterConfig(pairs(32), chiral=False).build(LIFT)), CHIRAL),
    "lifter, plain": Law(_body(LifterConfig(pairs(32), chiral=False), LIFT), ()),
    "window lifter": Law(_body(WindowLifterConfig(pairs(32)), LIFT), CHIRAL),
    "window lifter, free channels, coco-17 with confidence to h36m-17": Law(
        _body(WindowLifterConfig(FREE), PoseLift(receptive=5, seen_order="coco-17", confidence=True)), CHIRAL
    ),
    "window lifter, single frames": Law(_body(WindowLifterConfig(pairs(32)), PoseLift(receptive=1)), CHIRAL),
    "window lifter, plain": Law(_body(WindowLifterConfig(pairs(32), chiral=False), LIFT), ()),
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
    "velocity forecaster": Law(_body(VelocityForecasterConfig(pairs(16)), FLAT), CHIRAL),
    "velocity forecaster, free channels, with confidence": Law(
        _body(VelocityForecasterConfig(FREE), PoseForecast(order="h36m-17", past=5, future=3, confidence=True)), CHIRAL
    ),
    "velocity forecaster, plain": Law(_body(VelocityForecasterConfig(pairs(16), chiral=False), FLAT), ()),
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
    "clip recogniser": Law(_body(ClipRecogniserConfig(pairs(16)), ACTION), CHIRAL),
    "clip recogniser, two persons in 3D, classes that name a side": Law(
        _body(
            ClipRecogniserConfig(FREE),
            ActionRecognition(
                order="nw-ucla-20",
                classes=("sit", "wave left", "wave right"),
                dims=3,
                persons=2,
                frames=16,
                mirrored=(0, 2, 1),
            ),
        ),
        CHIRAL,
    ),
    "clip recogniser, classes that name a side, and none": Law(
        _body(ClipRecogniserConfig(pairs(16), none=(2.0, -1.0)), SIDED.model_copy(update={"none": True})), CHIRAL
    ),
    "clip recogniser, plain": Law(_body(ClipRecogniserConfig(pairs(16), chiral=False), SIDED), ()),
    "recogniser, averaged": Law(
        lambda: AveragedOverFlip(RecogniserConfig(pairs(16), chiral=False).build(SIDED)), CHIRAL
    ),
    "recogniser, plain": Law(_body(RecogniserConfig(pairs(16), chiral=False), SIDED), ()),
}

# The laws of FACE_LAWS, MAP_LAWS and BODY_LAWS are tested in tests/models/landmarks and tests/models/pose.
TABLES = (LAWS, FACE_LAWS, MAP_LAWS, BODY_LAWS)


def networks() -> Iterator[type[nn.Module]]:
    """Yield every network class under models: a module that is built for a task or claims symmetries. Layers do neither."""
    for module in pkgutil.walk_packages(models.__path__, "models."):
        if not module.name.startswith("models.contract"):
            yield from networks_of(vars(import_module(module.name)), module.name)


def networks_of(names: dict[str, object], module: str) -> Iterator[type[nn.Module]]:
    """Yield the network classes that are defined in `module`; `names` are its globals."""
    for cls in names.values():
        if not (isinstance(cls, type) and issubclass(cls, nn.Module) and cls.__module__ == module):
            continue
        if hasattr(cls, "symmetries") or "task" in inspect.signature(cls).parameters:
            yield cls


def missing_from_tables(classes: Iterator[type[nn.Module]]) -> set[str]:
    """Return the names of the classes that are in no table."""
    listed = {type(law.build()) for table in TABLES for law in table.values()}
    return {cls.__qualname__ for cls in classes if cls not in listed}


def perturbed(network: nn.Module, seed: int = 0, by: float = 0.03) -> nn.Module:
    """Add normal noise to every parameter, so that none is zero or equal to another; return the network in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def as_function(network: nn.Module) -> Callable[[Tensors], dict[str, np.ndarray]]:
    """Return the hand forecaster as a function on named arrays, in the precision of its weights."""
    task: HandForecast = network.task  # pyright: ignore[reportAssignmentType]

    def run(inputs: Tensors) -> dict[str, np.ndarray]:
        with torch.no_grad():
            answer = network(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in task.inputs))
        several = answer if isinstance(answer, tuple) else (answer,)
        return {name: x.numpy() for name, x in zip(task.outputs, several, strict=True)}

    return run


def hand_inputs(task: HandForecast, nodes: int, *, batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Return inputs of a hand forecaster in float64: hand motion and, of a masked task, joints that were seen in two frames of three.

    Every joint is seen in the last frame.
    """
    past = {"past": hand_motion(task.past, nodes, batch=batch, seed=seed, joints=len(task.layout.joints))}
    seen = (np.random.default_rng(seed).random((batch, task.past, nodes)) < 2 / 3).astype(float)
    seen[:, -1] = 1
    return past | {"seen": seen} if task.masked else past


def hand_motion(frames: int, nodes: int, *, batch: int = 2, seed: int = 0, joints: int = 21) -> np.ndarray:
    """Return (batch, frames, nodes, 3) float64 in metres: clouds of the size of hands that move at the speed of hands."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(scale=0.05, size=(batch, 1, nodes, 3))
    hand = np.repeat(rng.normal(scale=0.2, size=(batch, 1, nodes // joints, 3)), joints, axis=2)
    t = np.linspace(0, 1, frames)[:, None, None]
    wander = rng.normal(scale=0.1, size=(batch, 1, 1, 3)) * np.sin(2 * t + rng.uniform(0, 6, size=(batch, 1, 1, 3)))
    wriggle = rng.normal(scale=0.02, size=shape.shape) * np.sin(5 * t + rng.uniform(0, 6, size=shape.shape))
    return shape + hand + wander + wriggle
