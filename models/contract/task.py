"""A task as one value: the tensors that go into a model, the tensors that come out, and the legal sizes of their axes.

A data set has a task, a network is built for one, a bundle names one, and the service checks shapes against it. The code that runs a model
(training loop, exporter, predictor) uses `inputs` and `outputs` and has no branch on the kind of task. A new task is a class and a name in
`Task`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field, field_validator, model_validator

from models.contract.base_task import BaseTask, Counted
from models.contract.face_map import FaceMap
from models.contract.symmetry import Mirror, Moves, OnBodies, OnMap, nodes_of
from models.contract.tensor import TensorSpec, check_tensors
from models.skeletons.body_orders import get_body_order
from models.skeletons.face import FACE68
from models.skeletons.hand import ASSEMBLY101
from models.skeletons.own import OwnSkeleton
from models.skeletons.skeleton import Skeleton

MAX_FRAMES = 10_000  # of one clip: over two minutes at 60 Hz


class HandForecast(BaseTask):
    """Past hand poses to future ones: one hand (21 nodes) or two (42: left, then right) in Assembly101 joint order.

    `past` is (batch, past, nodes, 3) and `future` is (batch, modes, future, nodes, 3), both in metres, in any right-handed frame. Frames
    are 1/fps seconds apart, and the first future frame is 1/fps after the last past one. Mode 0 is the forecast; further modes are
    alternatives to it.

    A `masked` task has a second input: `seen` (batch, past, nodes) is 1 where a joint was observed and 0 where it was not. The values of
    `past` that were not seen must be finite and have no effect. A task with `spread` has two more outputs. `std` (batch, future, nodes) is
    the standard deviation of each coordinate of mode 0, in metres. `weights` (batch, modes) are the probabilities that a mode is the
    nearest one to the future; they sum to 1. A task with a `skeleton` of one's own has one body or two in it, and `order` is its name.
    """

    counted: ClassVar[Counted] = Counted("windows", "recordings")
    later: ClassVar[tuple[str, ...]] = ("masked", "spread", "skeleton")

    kind: Literal["hand-forecast"] = "hand-forecast"
    past: int = Field(ge=2, le=1000)
    future: int = Field(ge=1, le=1000)
    fps: float = Field(gt=0, le=1000)
    modes: int = Field(default=1, ge=1, le=64)
    order: str = Field(default=ASSEMBLY101.name, max_length=64)
    masked: bool = False
    spread: bool = False
    skeleton: OwnSkeleton | None = None

    @model_validator(mode="after")
    def _has_its_order(self) -> Self:
        if self.order != (expected := self.layout.name):
            raise ValueError(f"expected the order {expected}, got {self.order!r}")
        return self

    @property
    def layout(self) -> Skeleton:
        """Return the joint order of one hand, or of one body in a skeleton of one's own."""
        return ASSEMBLY101 if self.skeleton is None else self.skeleton.layout

    def on(self, skeleton: OwnSkeleton | None) -> Self:
        """Return the task for bodies in a skeleton of one's own, or for hands."""
        order = ASSEMBLY101.name if skeleton is None else skeleton.name
        return self.model_copy(update={"order": order, "skeleton": skeleton})

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Return the observed poses and, of a masked task, which joints were seen in them."""
        points, numbers = nodes_of(self.skeleton)
        past = {"past": TensorSpec(shape=("batch", self.past, "nodes", 3), unit="m", moves=points)}
        seen = TensorSpec(shape=("batch", self.past, "nodes"), unit="", moves=numbers)
        return past | {"seen": seen} if self.masked else past

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Return the forecast poses of each mode and, of a task with spread, how far from the truth they may be."""
        points, numbers = nodes_of(self.skeleton)
        shape = ("batch", self.modes, self.future, "nodes", 3)
        future = {"future": TensorSpec(shape=shape, unit="m", moves=points)}
        std = TensorSpec(shape=("batch", self.future, "nodes"), unit="m", moves=numbers)
        weights = TensorSpec(shape=("batch", self.modes), unit="", moves="invariant")
        return future | {"std": std, "weights": weights} if self.spread else future

    @property
    def axes(self) -> Mapping[str, Sequence[int]]:
        """Return the numbers of nodes of one hand and of two."""
        return {"nodes": (len(self.layout.joints), 2 * len(self.layout.joints))}

    @property
    def horizon_s(self) -> float:
        """Return the seconds from the last past frame to the last future one."""
        return self.future / self.fps


class FaceLandmarks(BaseTask):
    """A face scan to its 68 landmarks and, for each landmark, a heatmap over the points of the scan.

    `points` (batch, levels[0], 3) are in metres, in any right-handed frame, and in float64, because neighbours differ by little. They are a
    farthest point sample of the scan in the order of sampling. The first levels[1] of them are therefore a farthest point sample too and
    form the next level, and so on. Everything that depends on positions alone is given as indices of points in the same cloud, level after
    level: `neighbours` (batch, sum of levels, neighbours) are the nearest other points of the same level; `parents` (batch, sum of levels
    but the last, parents) are the nearest points of the next level, which begin with the point itself if it belongs to that level.

    `heatmaps` (batch, 68, levels[0]) is 1 at a landmark and exp(-d^2 / 2 sigma^2) at a distance d from it. `landmarks` (batch, 68, 3) are
    points in the frame of the scan. `confidence` (batch, 68) is the probability that a landmark is within `confident_m` of the true one.
    """

    counted: ClassVar[Counted] = Counted("scans", "people")

    kind: Literal["face-landmarks"] = "face-landmarks"
    levels: tuple[int, ...] = Field(default=(1024, 256, 64), min_length=2, max_length=8)
    neighbours: int = Field(default=16, ge=1, le=256)
    parents: int = Field(default=3, ge=1, le=16)
    sigma_m: float = Field(default=0.0095, gt=0, le=1)
    confident_m: float = Field(default=0.003, gt=0, le=1)
    order: Literal["ibug68"] = "ibug68"

    @property
    def fewest(self) -> int:
        """Return the number of points that a scan must have."""
        return self.levels[0]

    @model_validator(mode="after")
    def _levels_shrink(self) -> Self:
        if any(coarse >= fine for fine, coarse in pairwise(self.levels)):
            raise ValueError(f"expected levels of decreasing size, got {self.levels}")
        if self.levels[-1] <= (most := max(self.neighbours, self.parents)):
            raise ValueError(
                f"expected at least {most + 1} points in the last level, a point and its {most} neighbours, got {self.levels[-1]}"
            )
        return self

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Return the sampled points and the indices of their neighbours."""
        neighbours = ("batch", sum(self.levels), self.neighbours)
        parents = ("batch", sum(self.levels[:-1]), self.parents)
        return {
            "points": TensorSpec(shape=("batch", self.levels[0], 3), unit="m", dtype="float64"),
            "neighbours": TensorSpec(shape=neighbours, unit="", moves="indices", dtype="int64"),
            "parents": TensorSpec(shape=parents, unit="", moves="indices", dtype="int64"),
        }

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Return heatmaps, landmarks and confidences."""
        landmarks = len(FACE68.joints)
        return {
            "heatmaps": TensorSpec(shape=("batch", landmarks, self.levels[0]), unit="", moves="invariant"),
            "landmarks": TensorSpec(shape=("batch", landmarks, 3), unit="m", dtype="float64"),
            "confidence": TensorSpec(shape=("batch", landmarks), unit="", moves="invariant"),
        }


def mirror_of(order: str) -> Mirror:
    """Return how the chirality transform acts on bodies in this joint order."""
    return Mirror(mirror=get_body_order(order).mirror)


class _BodyTask(BaseTask):
    """The fields of the three tasks of Chirality Nets (Yeh et al. 2019, arXiv:1911.00029).

    Keypoints are x right, y down, in the unit that the task names, with x measured from the mirror plane x = 0. A missing keypoint is 0 in
    every number, so that the mirror leaves it in place. If the task has a `confidence`, it is the last number.
    """

    counted: ClassVar[Counted] = Counted("samples", "clips")

    order: str = Field(description="the joint order of the output, and of the input unless another field names it")

    @field_validator("order", "seen_order", check_fields=False)
    @classmethod
    def _known(cls, order: str) -> str:
        get_body_order(order)
        return order


class PoseLift(_BodyTask):
    """2D keypoints of a clip to the 3D poses behind them.

    `keypoints` is (batch, frames, seen joints, 2, or 3 with confidence), x and y from -1 to 1 across the image's width
    (`models.motion.bodies.normalise`), 1/fps seconds apart. `poses` is (batch, frames - receptive + 1, joints, 3) in metres from the
    pelvis, in the camera's axes (x right, y down, z forward): one for each frame that has receptive // 2 frames on both sides.
    """

    kind: Literal["pose-lift"] = "pose-lift"
    order: str = "h36m-17"
    seen_order: str = "h36m-17"
    receptive: int = Field(default=27, ge=1, le=729)
    fps: float = Field(default=30, gt=0, le=1000)
    confidence: bool = False

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.receptive % 2 == 0:
            raise ValueError(
                f"expected a receptive field of an odd number of frames, with one in its middle, got {self.receptive}"
            )
        return self

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Return the keypoints of a clip."""
        shape = ("batch", "frames", len(get_body_order(self.seen_order).joints), 3 if self.confidence else 2)
        return {"keypoints": TensorSpec(shape=shape, unit="half widths", moves=mirror_of(self.seen_order))}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Return the poses of the clip's inner frames."""
        shape = ("batch", "poses", len(get_body_order(self.order).joints), 3)
        return {"poses": TensorSpec(shape=shape, unit="m", moves=mirror_of(self.order))}

    @property
    def axes(self) -> Mapping[str, Sequence[int]]:
        """Return the number of frames that a clip may have."""
        return {"frames": range(self.receptive, MAX_FRAMES + self.receptive)}


class PoseForecast(_BodyTask):
    """Past 2D poses to future ones, in units of a box: from -1 to 1 along its longer side (`models.motion.bodies.boxed`).

    `past` is (batch, past, joints, 2, or 3 with confidence) and `future` is (batch, future, joints, 2). The box is that of the `past` poses
    or, as published for Penn Action, that of the whole `clip`, which is unknown at the time of a real forecast. Frames are 1/fps seconds
    apart. Without `fps` they are spread over a clip of any length (`models.motion.bodies.penn_sample`); such a model only reproduces
    published figures.
    """

    kind: Literal["pose-forecast"] = "pose-forecast"
    order: str = "h36m-17"
    past: int = Field(ge=1, le=1000)
    future: int = Field(ge=1, le=1000)
    fps: float | None = Field(default=None, gt=0, le=1000)
    box: Literal["clip", "past"] = "past"
    confidence: bool = False

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Return the observed poses."""
        shape = ("batch", self.past, len(get_body_order(self.order).joints), 3 if self.confidence else 2)
        return {"past": TensorSpec(shape=shape, unit="half boxes", moves=mirror_of(self.order))}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Return the forecast poses."""
        shape = ("batch", self.future, len(get_body_order(self.order).joints), 2)
        return {"future": TensorSpec(shape=shape, unit="half boxes", moves=mirror_of(self.order))}


class ActionRecognition(_BodyTask):
    """A clip of one or several people to the class of their action.

    `clips` is (batch, persons, frames, joints, dims + 1), the confidence last. Two dimensions are in units of the box around everything
    visible. Three dimensions are metres from the pelvis in the first frame, y up, x to the left of a person seen from the front; `turned`
    clips are rotated about y to face that way. With `tempo` spread, `frames` frames are chosen evenly from the clip. With `tempo` crop,
    they are consecutive frames from its middle, and 0 where the clip has none.

    `logits` is (batch, classes). Classes that `mirrored` declares to be mirror images of each other exchange their logits under the
    chirality transform; all other logits are unchanged. With `none` there is one more class, that the clip shows none of the classes,
    whose logit is always 0; a clip for which that is at least as probable as all classes together is recognised as none. So is one whose
    most probable class is less probable than `least`.
    """

    later: ClassVar[tuple[str, ...]] = ("least", "none")

    kind: Literal["action-recognition"] = "action-recognition"
    order: str
    classes: tuple[str, ...] = Field(min_length=2, max_length=1000)
    dims: Literal[2, 3] = 2
    persons: int = Field(default=1, ge=1, le=8)
    frames: int = Field(default=64, ge=1, le=1000)
    tempo: Literal["spread", "crop"] = "spread"
    turned: bool = False
    mirrored: tuple[int, ...] | None = Field(default=None, description="the class of a mirrored clip, for each class")
    least: float = Field(
        default=0, ge=0, le=1, description="the probability of a class below which it is not recognised"
    )
    none: bool = Field(default=False, description="whether 0 is the logit of one more class: none of the classes")

    @model_validator(mode="after")
    def _legal(self) -> Self:
        mirror, classes = self.class_mirror, len(self.classes)
        if sorted(mirror) != list(range(classes)) or any(mirror[image] != i for i, image in enumerate(mirror)):
            raise ValueError(f"expected a permutation of {classes} classes that is its own inverse, got {mirror}")
        if self.turned and self.dims == 2:
            raise ValueError("expected three dimensions for turned clips, got two")
        return self

    @property
    def class_mirror(self) -> tuple[int, ...]:
        """Return the class of a mirrored clip, for each class: `mirrored`, or each class itself."""
        return self.mirrored or tuple(range(len(self.classes)))

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Return the clips."""
        joints = len(get_body_order(self.order).joints)
        shape = ("batch", self.persons, self.frames, joints, self.dims + 1)
        unit = "half boxes" if self.dims == 2 else "m"
        return {"clips": TensorSpec(shape=shape, unit=unit, moves=mirror_of(self.order))}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Return a logit for each class."""
        moves = Mirror(mirror=self.class_mirror, negated=False)
        return {"logits": TensorSpec(shape=("batch", len(self.classes)), unit="", moves=moves)}

    def probabilities(self, logits: Float[np.ndarray, "*batch classes"]) -> Float[np.ndarray, "*batch probabilities"]:
        """Return the probability of each class and, last, of none of them, which is 0 without `none`."""
        last = np.full((*logits.shape[:-1], 1), 0.0 if self.none else -np.inf)
        logits = np.concatenate([logits.astype(np.float64), last], axis=-1)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return odds / odds.sum(axis=-1, keepdims=True)

    def recognises(self, probabilities: Float[np.ndarray, "*batch probabilities"]) -> Bool[np.ndarray, "*batch"]:
        """Return whether the most probable class is recognised, for what `probabilities` returns."""
        known = probabilities[..., -1] < 0.5
        return np.asarray(known & (probabilities[..., :-1].max(axis=-1) >= self.least))


Task = Annotated[
    HandForecast | FaceLandmarks | FaceMap | PoseLift | PoseForecast | ActionRecognition, Field(discriminator="kind")
]


def moves(task: Task) -> dict[str, Moves | Mirror | OnMap | OnBodies]:
    """Return how a symmetry acts on each tensor of the task, in or out, for `violation`."""
    return {name: spec.moves for name, spec in (task.inputs | task.outputs).items()}


def tried_sizes(task: Task) -> dict[str, Sequence[int]]:
    """Return sizes to check a model at for each restricted axis: all legal ones or, of a range, the least and one a little larger."""
    return {
        axis: (legal.start, legal.start + 3) if isinstance(legal, range) else legal for axis, legal in task.axes.items()
    }


def check_inputs(task: Task, tensors: Mapping[str, np.ndarray], who: str) -> None:
    """Raise WrongShape unless `tensors` have the names, shapes and types of the task's inputs; `who` is the model's name."""
    check_tensors(task.inputs, task.axes, tensors, f"the input of {who}")


def check_outputs(task: Task, tensors: Mapping[str, np.ndarray], who: str) -> None:
    """Raise WrongShape unless `tensors` have the names, shapes and types of the task's outputs; `who` is the model's name."""
    check_tensors(task.outputs, task.axes, tensors, f"the output of {who}")
