"""The fit of a landmarker's shape prior after a training on scans of one's own, which may be few."""

from typing import Any

from torch import nn

from models.landmarks.shape import ShapePrior
from training.engine.restore import restored
from training.engine.run import Run
from training.tasks.faces.own.data import OwnFaceBatches
from training.tasks.faces.shape_prior import SCANS, fit_shape

LEAST = 204  # people: as many as the prior has coordinates; with fewer it would learn these faces by heart


def fit_own_shape(run: Run[Any, Any], network: nn.Module, batches: OwnFaceBatches) -> None:
    """Fit the shape prior to the scans to train on if they show LEAST people; otherwise take that of the base, or none."""
    if batches.people() >= LEAST:
        fit_shape(network, batches.batches_to_fit(SCANS))
    elif run.base:
        shape: ShapePrior = network.shape  # pyright: ignore[reportAssignmentType]
        theirs: ShapePrior = restored(run.build(), run.base.bundle).shape  # pyright: ignore[reportAssignmentType]
        for own, base in zip(shape.buffers(), theirs.buffers(), strict=True):
            own.copy_(base)
