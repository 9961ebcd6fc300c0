"""How far a job is: what its trainings say, and the seconds to go for all of them, as its heart carries it to the job table."""

import time
from collections.abc import Sequence
from typing import Any

from service.jobs.worker.heartbeat import Heart


class Pace:
    """Told after every step which stage and seed it is of; `plan` has (stage, seed, steps) of every training to come, in order."""

    def __init__(self, heart: Heart, plan: Sequence[tuple[str, int, int]] = ()) -> None:
        self._heart, self._plan = heart, list(plan)
        self._began, self._taken = 0.0, 0

    def told(self, said: dict[str, Any]) -> None:
        """After a step: stage, seed, step, steps, and after a validation what was measured too."""
        if "score" in said:
            self._heart.metrics(said)
        progress = {name: said[name] for name in ("stage", "seed", "step", "steps")}
        if self._taken == 0:
            self._began = time.monotonic()
        else:
            left = said["steps"] - said["step"] + self._after(said["stage"], said["seed"])
            progress["eta_s"] = round((time.monotonic() - self._began) / self._taken * left, 1)
        self._taken += 1
        self._heart.progress(progress)

    def _after(self, stage: str, seed: int) -> int:
        """The steps of what comes after a training."""
        at = next((at for at, (name, its, _) in enumerate(self._plan) if (name, its) == (stage, seed)), len(self._plan))
        return sum(steps for _, _, steps in self._plan[at + 1 :])
