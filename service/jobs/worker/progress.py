"""Job progress: turns the reports of training steps into progress with an ETA, for the heartbeat."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from service.jobs.worker.heartbeat import Heartbeat

POINT_S, MOST_STEPS = 2.0, 1000  # of a mean of losses


class ProgressReporter:
    """A reporter of the steps of all trainings of a job; `plan` lists (stage, seed, steps) of each training in order."""

    def __init__(self, heartbeat: Heartbeat, plan: Sequence[tuple[str, int, int]] = ()) -> None:
        self._heartbeat, self._plan = heartbeat, list(plan)
        self._started_at, self._steps_taken = 0.0, 0
        self._losses: deque[tuple[float, float]] = deque(maxlen=MOST_STEPS)

    def report(self, step: dict[str, Any]) -> None:
        """Take the report of a step: stage, seed, step, steps, the batch's loss, and after a validation also loss and score.

        The progress has the mean loss of the steps of the last POINT_S seconds, which makes a curve of the progress events.
        """
        if "score" in step:
            self._heartbeat.metrics({name: value for name, value in step.items() if name != "batch_loss"})
        progress = {name: step[name] for name in ("stage", "seed", "step", "steps")}
        if "batch_loss" in step:
            progress["loss"] = self._mean(step["batch_loss"])
        if self._steps_taken == 0:
            self._started_at = time.monotonic()
        else:
            remaining = step["steps"] - step["step"] + self._steps_after(step["stage"], step["seed"])
            step_s = (time.monotonic() - self._started_at) / self._steps_taken
            progress["eta_s"] = round(step_s * remaining, 1)
        self._steps_taken += 1
        self._heartbeat.progress(progress)

    def _mean(self, loss: float) -> float:
        """Return the mean of the losses of the last POINT_S seconds, with this one."""
        now = time.monotonic()
        self._losses.append((now, loss))
        while now - self._losses[0][0] > POINT_S:
            self._losses.popleft()
        return sum(value for _, value in self._losses) / len(self._losses)

    def _steps_after(self, stage: str, seed: int) -> int:
        """Return the number of steps of the trainings that follow this one in the plan."""
        trainings = [(name, its_seed) for name, its_seed, _ in self._plan]
        at = trainings.index((stage, seed)) if (stage, seed) in trainings else len(trainings)
        return sum(steps for _, _, steps in self._plan[at + 1 :])
