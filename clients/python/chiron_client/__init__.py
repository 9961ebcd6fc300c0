"""A client of Chiron: numpy arrays, paths and meshes in, dataclasses with arrays out; over HTTP, or a WebSocket for streams of hands."""

from chiron_client.answers import (
    ActionClass,
    Batch,
    Distance,
    FaceLandmarks,
    HandForecast,
    HandPoses,
    HandSpread,
    Heatmaps,
    Lift,
    LostPerson,
    Measurement,
    ModelVersion,
    PoseForecast,
    Poses,
    Recognition,
)
from chiron_client.calls import Retries
from chiron_client.client import AsyncClient, Client
from chiron_client.operation import Artefact, Dataset, Job, JointOrder, ModelInfo, Models, Promotion
from chiron_client.problems import (
    BadRequest,
    ChironError,
    Conflict,
    Fault,
    Forbidden,
    InvalidRequest,
    JobFailed,
    NotFound,
    Problem,
    ServiceFailed,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unreachable,
    UnsupportedMedia,
)
from chiron_client.stream import AsyncHandStream, HandStream, StreamAnswer, StreamEnded

__all__ = [
    "ActionClass", "Artefact", "AsyncClient", "AsyncHandStream", "BadRequest", "Batch", "ChironError", "Client", "Conflict", "Dataset",
    "Distance", "FaceLandmarks", "Fault", "Forbidden", "HandForecast", "HandPoses", "HandSpread", "HandStream", "Heatmaps",
    "InvalidRequest", "Job", "JobFailed", "JointOrder", "Lift", "LostPerson", "Measurement", "ModelInfo", "ModelVersion", "Models",
    "NotFound", "PoseForecast", "Poses", "Problem", "Promotion", "Recognition", "Retries", "ServiceFailed", "StreamAnswer", "StreamEnded",
    "TooLarge", "TooManyRequests", "Unauthorized", "Unavailable", "Unreachable", "UnsupportedMedia",
]  # fmt: skip
