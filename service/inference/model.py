"""service.inference.model."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from models.contract.body_task import ActionRecognition, PoseForecast
from models.contract.bundle import BadBundle, Bundle
from models.contract.task import Task
from models.skeletons.body import get_body_order
from service.inference.batcher import Batcher
from service.inference.describe import ModelInfo, expected_error
from service.inference.predictor import (
    Predictor,
)

GPU_BATCHES = (1, 2, 4, 8, 16, 32)


GPU_SLOTS = 2  # one call copies while the other computes


@dataclass(frozen=True)
class Model:
    """A bundle that answers."""

    bundle: Bundle
    predictor: Predictor
    batcher: Batcher

    @property
    def name(self) -> str:
        return self.bundle.meta.name

    @property
    def version(self) -> str:
        return self.bundle.meta.version

    @property
    def kind(self) -> str:
        return self.bundle.meta.task.kind

    @cached_property
    def expected_error(self) -> list[dict[str, Any]]:
        """What it was off on its test recordings."""
        return expected_error(self.bundle.meta)

    def info(self) -> ModelInfo:
        meta = self.bundle.meta
        return ModelInfo(
            name=meta.name,
            state="ready",
            version=meta.version,
            provider=self.predictor.provider,
            max_batch=self.batcher.max_batch,
            title=meta.title,
            task=meta.task,
            symmetries=list(meta.symmetries),
            network=meta.network,
            parameters=meta.parameters,
            licence=meta.licence,
            trained_on=list(meta.trained_on),
            measurements=list(meta.measurements),
        )


def check_servable(task: Task) -> None:
    """Raises BadBundle for models that are for the record: whoever asks cannot know what they want to be shown."""
    if isinstance(task, PoseForecast) and (task.fps is None or task.box == "clip"):
        raise BadBundle(
            "it forecasts from samples spread over a clip, or in the box round the whole of it: for the record"
        )
    if isinstance(task, ActionRecognition) and task.dims == 3 and "pelvis" not in get_body_order(task.order).joints:
        raise BadBundle(f"it sees people from where their pelvis is, and {task.order} bodies have none")
