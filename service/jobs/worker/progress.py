"""Job progress: turns the reports of training steps into progress with an ETA, for the heartbeat."""

import time
from collections.abc import Sequence
from typing import Any

from service.jobs.worker.heartbeat import Heartbeat


class ProgressReporter:
    """A reporter of the steps of all trainings of a job; `plan` lists (stage, seed, steps) of each training in order."""

    def __init__(self, heartbeat: Heartbeat, plan: Sequence[tuple[str, int, int]] = ()) -> None:
        self._heartbeat, self._plan = heartbeat, list(plan)
        self._started_at, self._steps_taken = 0.0, 0

    def report(self, step: dict[str, Any]) -> None:
        """Take the report of a step: stage, seed, step, steps, and after a validation also loss and score."""
        if "score" in step:
            self._heartbeat.metrics(step)
        progress = {name: step[name] for name in ("stage", "seed", "step", "steps")}
        if self._steps_taken == 0:
            self._started_at = time.monotonic()
        else:
            remaining = step["steps"] - step["step"] + self._steps_after(step["stage"], step["seed"])
            step_s = (time.monotonic() - self._started_at) / self._steps_taken
            progress["eta_s"] = round(step_s * remaining, 1)
        self._steps_taken += 1
        self._heartbeat.progress(progress)

    def _steps_after(self, stage: str, seed: int) -> int:
        """Return the number of steps of the trainings that follow this one in the plan."""
        trainings = [(name, its_seed) for name, its_seed, _ in self._plan]
        at = trainings.index((stage, seed)) if (stage, seed) in trainings else len(trainings)
        return sum(steps for _, _, steps in self._plan[at + 1 :])
