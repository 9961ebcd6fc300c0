"""What of a landmark network is fitted in closed form once it is trained: shape prior, then confidence."""

from torch import nn

from training.tasks.faces.confidence import calibrate
from training.tasks.faces.data import FaceBatches
from training.tasks.faces.facescape_data import FaceScapeBatches
from training.tasks.faces.shape_prior import SCANS, fit_shape


def fit_rest(network: nn.Module, batches: FaceBatches | FaceScapeBatches) -> None:
    """The shape prior to training scans, then the confidence to validation scans; some five minutes of a core."""
    fit_shape(network, batches.scans_to_fit(SCANS))
    calibrate(network, batches)
