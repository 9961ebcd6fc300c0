"""Tests of the shape prior: it is the identity before fitting, equivariant after fitting, and reduces the error."""

import numpy as np
import pytest
import torch
from laws import NARROW, with_random_prior
from torch import Tensor

from models.contract.symmetry import random_rotation
from models.contract.task import FaceLandmarks
from models.landmarks.shape import ShapePrior
from training.tasks.faces.data import FaceData, batch_of
from training.tasks.faces.shape_prior import correction, fit_shape

TASK = FaceLandmarks(levels=(256, 96, 32), neighbours=8)


def faces(count: int = 4) -> Tensor:
    return 0.05 * torch.randn(count, 68, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def prior() -> ShapePrior:
    torch.manual_seed(0)
    network = torch.nn.Module()
    network.shape = ShapePrior(68)
    return with_random_prior(network).shape  # pyright: ignore[reportReturnType]


def test_the_prior_is_the_identity_before_it_is_fitted():
    assert torch.equal(ShapePrior(68)(faces()), faces())


def test_the_correction_commutes_with_rotation_and_translation(prior: ShapePrior):
    straight, rng = prior(faces()), np.random.default_rng(0)
    assert (straight - faces()).norm(dim=-1).mean() > 0.01
    for _ in range(5):
        turn, shift = torch.from_numpy(random_rotation(rng)), torch.from_numpy(rng.uniform(-1, 1, 3))
        assert (prior(faces() @ turn.T + shift) - (straight @ turn.T + shift)).abs().max() < 1e-12


def test_the_correction_does_not_commute_with_the_mirror(prior: ShapePrior):
    mirror = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    assert (prior(faces() * mirror) - prior(faces()) * mirror).abs().max() > 0.01


def test_the_frame_is_a_rotation_and_coincident_landmarks_are_finite(prior: ShapePrior):
    own, frame, centre = prior.own(faces())
    same = torch.eye(3, dtype=torch.float64)
    assert (frame.transpose(1, 2) @ frame - same).abs().max() < 1e-12
    assert torch.allclose(torch.linalg.det(frame), torch.ones(4, dtype=torch.float64))
    assert torch.allclose(own @ frame.transpose(1, 2) + centre, faces())
    assert prior(torch.zeros(1, 68, 3, dtype=torch.float64)).isfinite().all()


def test_the_correction_removes_linear_errors_and_is_robust_to_outliers():
    rng = np.random.default_rng(0)
    modes = rng.standard_normal((6, 12, 3))
    true = 0.02 * np.einsum("nk,klx->nlx", rng.standard_normal((400, 6)), modes) + 0.05 * rng.standard_normal((12, 3))
    predicted = true + 0.002 * rng.standard_normal(true.shape) + 0.004
    predicted[:8] += 0.5 * rng.standard_normal((8, 12, 3))  # outliers
    w, b = correction(predicted, true)
    x = predicted.reshape(400, -1)
    after = np.linalg.norm((x + x @ w + b).reshape(true.shape) - true, axis=-1)[8:].mean()
    assert after < 0.6 * 0.002 * np.sqrt(8 / np.pi)  # the noise of each landmark alone


def test_fitting_reduces_the_training_error_and_changes_no_other_weight(data_folder):
    torch.manual_seed(0)
    network = NARROW.build(TASK).eval()
    batches = FaceData(TASK, batch=4).load(data_folder)
    scans = batches.scans_to_fit(40)
    before = {name: x.clone() for name, x in network.state_dict().items()}

    def error() -> float:
        inputs, true = batch_of(scans, TASK)
        with torch.no_grad():
            landmarks = network(*(torch.from_numpy(x) for x in inputs.values()))[1]
        return float((landmarks - torch.from_numpy(true)).norm(dim=-1).mean())

    untouched = error()
    fit_shape(network, batches.batches_to_fit(40))
    assert error() < 0.7 * untouched
    assert all(torch.equal(x, before[name]) for name, x in network.state_dict().items())
