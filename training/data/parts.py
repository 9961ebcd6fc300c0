"""Which parts of the data folder a run reads: its lineage has a hash of these, and of nothing else that lies beside them."""

from typing import Any

from training.engine.run import Run
from training.tasks.bodies.action_data import ActionData
from training.tasks.bodies.forecast_data import PoseForecastData
from training.tasks.bodies.lift_data import LiftData
from training.tasks.faces.data import FaceData
from training.tasks.faces.facescape_data import FaceScapeData
from training.tasks.hands.data import HandData


def parts_of(run: Run[Any, Any]) -> tuple[str, ...]:
    """The subfolders of the data folder that the run is trained and measured on, in alphabetical order; keys of checks.PARTS."""
    return tuple(sorted({part for stage in run.stages for part in _parts(stage.data)}))


def _parts(data: Any) -> tuple[str, ...]:
    match data:
        case HandData():
            return ("hands",)
        case FaceData():
            return ("faces",)
        case FaceScapeData():
            return ("facescape", "faces")  # every landmarker is measured on the scans that nobody trains on
        case LiftData() | PoseForecastData() | ActionData():
            return ("body",)
    raise TypeError(f"nobody has said where {type(data).__name__} is read from")
