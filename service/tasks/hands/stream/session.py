"""A stream of hand forecasts without its connection: a frame in, a prepared forecast out.

A frame is checked once, when it comes, and converted once, together with those that came since the last forecast. A forecast takes the
converted frames of the last moments.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from models.contract.bundle import BundleMeta
from models.contract.task import HandForecast
from models.motion.hands import SNAP_S
from models.motion.timing import UNITS
from models.skeletons.hand import carried_joints
from service.http.problems import Problem
from service.inference.model import expected_error
from service.tasks.endpoint import Limits
from service.tasks.fields import REACH_M
from service.tasks.hands.answers import document
from service.tasks.hands.checks import bad_number, check_plausible, factors_to_metres, frames_needed, times_of
from service.tasks.hands.orders import order_of, refuse_another
from service.tasks.hands.partial import references, sentinels, shortcomings
from service.tasks.hands.prepare import lacking, to_model_order
from service.tasks.hands.prepared import HandsForecast, PreparedHands
from service.tasks.hands.stream.messages import DTYPE, Codec, Frame, StreamSettings
from service.tasks.hands.stream.window import Recent
from service.tasks.hands.wire import DecodedHands, Points

RESTART_S = 1.0  # a frame that is older by more than this begins the stream anew: the tracker's clock was set back
CHECK_S = 1.0  # between checks whether the points can be hands: neither units nor joint orders change
SPARE = 2.0  # frames for which there is room, as a multiple of those at the stated rate
CONSTANT = ("fps", "units", "axes", "joints", "times", "carried_joints")  # what the first answer has for all of them


class Session:
    """The frames of a client, and what its first message says of them."""

    def __init__(self, settings: StreamSettings, model: BundleMeta, limits: Limits) -> None:
        """Raise unknown-joints, wrong-shape, and what `use` raises."""
        assert settings.fps is not None, "read_settings has checked it"
        self.settings, self._fps, self._gap_s = settings, settings.fps, limits.gap_s
        assert isinstance(model.task, HandForecast), f"{model.name} forecasts no hands"
        self.order = order_of(settings.joints, model.task, model.name, "/joints")
        self.codec = Codec(settings, self.order)
        none = Points(np.empty((0, len(self.order.joints), 3)), None)
        self._named = DecodedHands(settings, dict.fromkeys(settings.hands, none), DTYPE)  # names arrays in problems
        self._request = DecodedHands(settings, {}, DTYPE)
        self._factors = factors_to_metres(settings)
        self._clock: str | None = None  # the field of the frames that gives their time; none: they are counted
        self._start: float = 0
        self._count = 0
        self._checked: tuple[float, tuple[bool, ...]] = (
            -CHECK_S,
            (),
        )  # time of the last check, and which hands were there
        self._doubts: tuple[str, ...] = ()
        self.task = model.task
        self._recent = self._room(1)
        self.use(model)

    def _room(self, capacity: int) -> Recent:
        return Recent(capacity, len(self.settings.hands), len(self.task.layout.joints), len(self.order.joints))

    def use(self, model: BundleMeta) -> None:
        """Forecast with a model from now on. Raises unknown-joints for another skeleton, invalid-request for times beyond its reach."""
        task = model.task
        assert isinstance(task, HandForecast), f"{model.name} forecasts no hands"
        refuse_another(task, self.task, model.name)
        self.times = times_of(self._request, task, self._fps, model.name)
        self._lacking = lacking(self.settings, task, model.name)
        seconds = (task.past - 1) / task.fps + self._gap_s
        capacity = math.ceil(SPARE * seconds * self._fps) + 2
        if self._recent.capacity < capacity or self.task.masked is not task.masked:  # that decides what counts as seen
            self._recent = self._room(capacity)
        self.task, self.model = task, model

    def opening(self) -> dict[str, Any]:
        """Return the answer to the first message: what is the same for all forecasts."""
        return {
            "kind": "ready",
            "model": {"name": self.model.name, "version": self.model.version},
            "fps": self._fps,
            "units": self.settings.units,
            "axes": self.settings.axes,
            "joints": self.order.name,
            "hands": list(self.settings.hands),
            "shape": list(self.codec.shape),
            "times": np.round(self.times, 6).tolist(),
            "frames_needed": self.needed,
            "carried_joints": list(carried_joints(self.order)),
            "expected_error": expected_error(self.model),
        }

    @property
    def capacity(self) -> int:
        """Return the number of frames that there is room for: older ones are part of no past."""
        return self._recent.capacity

    @property
    def needed(self) -> int:
        """Return the number of frames before the first forecast."""
        return frames_needed(self.task, self._fps)

    def waiting(self) -> dict[str, Any]:
        """Return the answer to a frame that too few came before."""
        seconds = (self.task.past - 1) / self.task.fps
        detail = f"{self.model.name} needs the last {seconds:.3f} s, got {self._recent.seconds:.3f} s"
        return {"frames": len(self._recent), "frames_needed": self.needed, "detail": detail}

    def take(self, frame: Frame) -> int | None:
        """Keep a frame and return its number, or None if it is not newer than the one before.

        Raises not-finite, out-of-range and invalid-request; the frame is not kept then.
        """
        time, newest = self._time(frame), self._recent.newest
        is_old = newest is not None and time <= newest + SNAP_S
        if newest is not None and is_old and newest - time <= RESTART_S:
            return None
        points, seen = self._points(frame)
        steps = 0 if newest is None or self._clock == "timestamp" else round((time - newest) * self._fps)
        if is_old or steps > self._recent.capacity:
            self._recent.clear()
        else:  # frames that were dropped on the way are gaps
            for step in range(steps - 1, 0, -1):
                self._recent.skip(time - step / self._fps)
        self._recent.add(points, seen, time, follows=steps == 1)
        self._count += 1
        return self._count - 1 if frame.number is None else frame.number

    def miss(self) -> None:
        """Count a frame that nobody read."""
        self._count += 1

    def prepare(self) -> PreparedHands:
        """Return the past of the newest frame, as POST has it of the same frames.

        Raises TooFewFrames, GapTooLong, degenerate-hand and implausible.
        """
        recent = self._recent
        recent.convert(
            lambda points, seen: to_model_order(self._request, points, seen, self.order, self.settings.hands)
        )
        past, mask, part = recent.window(self.task, self._fps, self._gap_s)
        self._check_plausible()
        hands, centre, reference = list(past.hands), np.zeros(3), recent.points[-1]
        if hands:
            shown = np.flatnonzero(np.any(recent.seen, axis=(1, 2)))[-1]
            centre = recent.points[shown][recent.seen[shown]].mean(axis=0)
        if not recent.seen[-1][hands].all():
            reference = references(recent.points, self.order)
        few = () if part is None else shortcomings(part, self.task, self.settings.hands)
        return PreparedHands(
            request=self._request,
            task=self.task,
            order=self.order,
            sides=self.settings.hands,
            fps=self._fps,
            times=self.times,
            past=past._replace(joints=past.joints - centre),
            seen=mask,
            reference=reference[hands] - centre,
            centre=centre,
            warnings=(*self._doubts, *few, *self._lacking),
        )

    def answer(self, forecast: HandsForecast) -> dict[str, Any]:
        """Return the forecast without what the first answer has."""
        return {name: value for name, value in document(forecast).items() if name not in CONSTANT}

    def _time(self, frame: Frame) -> float:
        """Return a frame's time in seconds from the first frame. Raises invalid-request."""
        clock, value = "count", self._count
        if frame.timestamp is not None:
            clock, value = "timestamp", frame.timestamp
            if not math.isfinite(value):
                raise Problem.at("invalid-request", "/timestamp", "expected a finite number, got one that is not")
        elif frame.number is not None:
            clock, value = "number", frame.number
        if self._clock is None:
            self._clock, self._start = clock, value
        elif clock != self._clock:
            detail = f"expected {_FIELDS[self._clock]} in every frame, as in the first one, got {_FIELDS[clock]}"
            raise Problem.at("invalid-request", "/timestamp", detail)
        passed = value - self._start
        return passed * UNITS[self.settings.clock] if clock == "timestamp" else passed / self._fps

    def _points(self, frame: Frame) -> tuple[Float[np.ndarray, "hands joints 3"], Bool[np.ndarray, "hands joints"]]:
        """Return the points in metres, NaN where they were not seen. Raises invalid-request, not-finite and out-of-range."""
        sides, metres = self.settings.hands, frame.points * self._factors
        if not self.task.masked and frame.nulls.any():
            hand, joint = (int(i) for i in np.argwhere(frame.nulls)[0])
            detail = (
                f"expected a point, got null: {self.model.name} needs every joint of a hand; send null for the hand"
            )
            raise Problem.at("invalid-request", f"/{sides[hand]}/{joint}", detail)
        seen = np.any(~np.isnan(metres), axis=2)
        if not self.task.masked:
            seen = np.repeat(np.any(seen, axis=1, keepdims=True), seen.shape[1], axis=1)
        bad = ~(np.abs(metres) <= REACH_M) & seen[..., None]
        if bad.any():
            hand, joint, axis = (int(i) for i in np.argwhere(bad)[0])
            pointer = f"/{sides[hand]}/{joint}/{axis}"
            raise bad_number(float(metres[hand, joint, axis]), pointer, self.settings.units)
        seen &= ~sentinels(metres[:, None], self.task)[:, 0]  # of each hand by itself
        return np.where(seen[..., None], metres, np.nan), seen

    def _check_plausible(self) -> None:
        """Check now and then whether the points of the last moments can be hands. Raises implausible."""
        newest, (checked, hands) = self._recent.newest or 0.0, self._checked
        points, seen = self._recent.points, self._recent.seen
        now = tuple(np.any(seen[-1], axis=1).tolist())
        if now == hands and 0 <= newest - checked < CHECK_S:
            return
        self._doubts = check_plausible(self._named, points, seen, self.order, self.settings.hands)
        self._checked = newest, now


_FIELDS = {"timestamp": "a `timestamp`", "number": "a `number` and no `timestamp`", "count": "neither"}
