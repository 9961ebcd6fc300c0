"""Answers as values: dataclasses whose arrays are numpy's, NaN where nothing is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from chiron_client.arrays import Floats
from chiron_client.problems import Problem

T = TypeVar("T")


@dataclass(frozen=True)
class ModelVersion:
    """The model that made an answer."""

    name: str
    version: str


@dataclass(frozen=True)
class Measurement:
    """A measured error of a model beside that of the best method without weights: guidance, not a bound."""

    metric: str
    value: float
    unit: str
    split: str
    source: str
    windows: int
    recordings: int
    baseline: str | None = None
    baseline_value: float | None = None


@dataclass(frozen=True)
class HandPoses:
    """Hands at the times of a forecast, each [times, joints, 3]: `future` for a request with `past`, else `left` and `right`.

    A hand that is not in view is None, and a joint that was never seen NaN.
    """

    future: Floats | None = None
    left: Floats | None = None
    right: Floats | None = None


@dataclass(frozen=True)
class HandSpread:
    """Standard deviations of one coordinate of a joint, each [times, joints], in the unit of the answer."""

    future: Floats | None = None
    left: Floats | None = None
    right: Floats | None = None


@dataclass(frozen=True)
class HandForecast(HandPoses):
    """A forecast of one hand or two, in the unit, joint order, axes and rate of the request.

    `times` (times,) are seconds after the last frame. `alternatives` are further modes, with `probabilities` of the forecast and of each of
    them. `intervals` has the multiple of `std` within which a coordinate is, by probability.
    """

    model: ModelVersion = field(kw_only=True)
    fps: float = field(kw_only=True)
    units: str = field(kw_only=True)
    axes: str = field(kw_only=True)
    joints: str = field(kw_only=True)
    times: Floats = field(kw_only=True)
    alternatives: tuple[HandPoses, ...] = ()
    probabilities: Floats | None = None
    std: HandSpread | None = None
    intervals: dict[str, float] | None = None
    expected_error: tuple[Measurement, ...] = ()
    filled_frames: int = 0
    warnings: tuple[str, ...] = ()
    carried_joints: tuple[str, ...] = ()


@dataclass(frozen=True)
class LostPerson:
    """A person of the request without an answer, by the index in `persons`, and why."""

    person: int
    kind: str
    detail: str


@dataclass(frozen=True)
class Poses:
    """The answer about the clip of one person: `poses` or `future`, [frames, joints, 3 or 2], and its `times` in seconds."""

    times: Floats | None = None
    poses: Floats | None = None
    future: Floats | None = None
    filled_keypoints: int | None = None
    clipped_confidences: int | None = None
    unseen_frames: tuple[int, ...] | None = None
    unforecast_joints: tuple[str, ...] | None = None
    warnings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Lift(Poses):
    """3D poses of a person: `poses` [frames, joints, 3] in metres from the pelvis, x right, y down, z away from the camera.

    `names` are their joints. With `persons` in the request there is an item for each, None for one that is `lost`.
    """

    model: ModelVersion = field(kw_only=True)
    joints: str = field(kw_only=True)
    names: tuple[str, ...] = field(kw_only=True)
    fps: float = field(kw_only=True)
    missing_joints: tuple[str, ...] = ()
    persons: tuple[Poses | None, ...] | None = None
    lost: tuple[LostPerson, ...] | None = None
    expected_error: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class PoseForecast(Poses):
    """The next 2D poses: `future` [frames, joints, 2] in the unit, joint order and rate of the request."""

    model: ModelVersion = field(kw_only=True)
    joints: str = field(kw_only=True)
    fps: float = field(kw_only=True)
    missing_joints: tuple[str, ...] = ()
    persons: tuple[Poses | None, ...] | None = None
    lost: tuple[LostPerson, ...] | None = None
    expected_error: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class ActionClass:
    """A class of action and its probability; `mirror` is the class of the mirrored clip."""

    name: str
    probability: float
    mirror: str | None = None


@dataclass(frozen=True)
class Recognition:
    """The actions of people in a clip: the most probable `classes`, the best first.

    `recognised` is the name of the best one, or None if the clip shows none of the model's classes, whose probability is `none_of_these`.
    """

    model: ModelVersion
    joints: str
    classes: tuple[ActionClass, ...]
    recognised: str | None = None
    none_of_these: float | None = None
    persons: tuple[int, ...] | None = None
    lost: tuple[LostPerson, ...] | None = None
    frames: int | None = None
    missing_joints: tuple[str, ...] = ()
    warnings: tuple[str, ...] | None = None
    expected_error: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class Distance:
    """A distance between landmarks and one standard deviation of it, in the unit of the answer."""

    value: float
    uncertainty: float


@dataclass(frozen=True)
class Heatmaps:
    """The network's heatmaps (68, n) over the n points that it saw (n, 3); `indices` (n,) are theirs in a cloud's file."""

    points: Floats
    values: Floats
    indices: NDArray[np.integer[Any]] | None


@dataclass(frozen=True)
class FaceLandmarks:
    """The 68 landmarks of a face, in iBUG-68 order, in the scan's own frame and unit.

    `positions` (68, 3); `confidences` (68,), the probability to be `within` that distance of the true landmark; `seen` (68,), whether the
    scan has surface there. `pose` (4, 4) maps the head's frame to the scan's.
    """

    model: ModelVersion
    names: tuple[str, ...]
    positions: Floats
    confidences: Floats
    seen: NDArray[np.bool_]
    within: float
    pose: Floats
    units: str
    units_inferred: bool
    distances: Mapping[str, Distance]
    regions: Mapping[str, tuple[int, ...]]
    warnings: tuple[str, ...]
    expected_error: tuple[Measurement, ...]
    heatmaps: Heatmaps | None

    def __getitem__(self, name: str) -> Floats:
        """Return the position (3,) of a landmark. Raises KeyError for an unknown name."""
        if name not in self.names:
            raise KeyError(name)
        return self.positions[self.names.index(name)]


@dataclass(frozen=True)
class Batch(Generic[T]):
    """The answers to many items, in order, None for one that failed; `failed` has the problem of each of those, with its `index`."""

    answers: tuple[T | None, ...]
    failed: tuple[Problem, ...]

    def unwrap(self) -> tuple[T, ...]:
        """Return the answers. Raises the first problem, if an item failed."""
        if self.failed:
            raise self.failed[0]
        return tuple(answer for answer in self.answers if answer is not None)
