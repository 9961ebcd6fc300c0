"""A bundle in memory, ready to answer: verified, its example repeated, warmed up and calibrated."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.contract.bundle import BadBundle, Bundle, BundleMeta, read_bundle, repeat_example
from models.contract.preference import preference
from models.contract.task import ActionRecognition, PoseForecast, Task
from models.skeletons.body_orders import get_body_order
from service.inference.batcher import Batcher
from service.inference.predictor import CPU, Calibration, Predictor, calibrate, seconds_of
from service.inference.slots import Slots
from service.settings import Settings
from service.telemetry.metrics import Metrics

BATCHES = (1, 2, 4, 8, 16, 32)
GPU_SLOTS = 2  # one call copies while the other computes


@dataclass(frozen=True)
class Model:
    """A bundle that answers requests."""

    bundle: Bundle
    predictor: Predictor
    batcher: Batcher
    calibration: Calibration

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
    def preference(self) -> tuple[int, float, float, str]:
        """Return a key by which the preferred of several models is the smallest."""
        return preference(self.bundle.meta)

    @cached_property
    def expected_error(self) -> list[dict[str, Any]]:
        """Return the model's errors on its test recordings, as an answer states them."""
        return expected_error(self.bundle.meta)


def expected_error(meta: BundleMeta) -> list[dict[str, Any]]:
    """Return a model's errors on its test recordings, as an answer states them."""
    return [measurement.model_dump(mode="json") for measurement in meta.measurements if measurement.split == "test"]


def load_model(folder: Path, name: str, settings: Settings, metrics: Metrics, cpu: Slots) -> Model:
    """Verify the bundle at `folder`, repeat its example, warm it up and time it; raise BadBundle or ProviderUnavailable.

    A model on the CPU shares the slots `cpu` with others; one on a GPU has its own.
    """
    bundle = read_bundle(folder)
    if bundle.meta.name != name:
        raise BadBundle(f"expected a bundle named {name}, got {bundle.meta.name}; rename the folder to match")
    check_servable(bundle.meta.task)
    predictor = Predictor(bundle, settings.device)
    repeat_example(bundle, predictor.run)
    calibration = _calibrate(predictor, settings)
    batcher = Batcher(
        predictor.run,
        slots=cpu if predictor.provider == CPU else Slots(settings.slots or GPU_SLOTS),
        max_batch=calibration.max_batch,
        max_queue=settings.max_queue,
        deadline_s=settings.deadline_s,
        item_s=calibration.seconds_an_item,
        observer=metrics.observer(name, bundle.meta.version),
    )
    return Model(bundle, predictor, batcher, calibration)


def check_servable(task: Task) -> None:
    """Raise BadBundle for a model whose input a caller cannot know, which exists only to reproduce published figures."""
    if isinstance(task, PoseForecast) and (task.fps is None or task.box == "clip"):
        raise BadBundle(
            "it forecasts from frames spread over a whole clip, or normalised by the box of the whole clip: it reproduces "
            "published figures and is not served"
        )
    if isinstance(task, ActionRecognition) and task.dims == 3 and "pelvis" not in get_body_order(task.order).joints:
        raise BadBundle(f"it centres 3D bodies on the pelvis, and the joint order {task.order} has none")


def _calibrate(predictor: Predictor, settings: Settings) -> Calibration:
    """Warm up and time every shape: a small network gains from batches on a CPU too, a large one does not."""
    sizes = (settings.max_batch,) if settings.max_batch else BATCHES
    return calibrate(lambda batch: seconds_of(predictor, batch), sizes, settings.deadline_s)
