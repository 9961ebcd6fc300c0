"""Tests of the calibration of confidence: it finds the true coefficients, and confidence equals the share of right answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from laws import NARROW

from models.contract.task import FaceLandmarks
from models.landmarks.voting import LEAST_DM, Confidence, corrections
from training.tasks.faces.confidence import calibrate, calibration_error, logistic, of_scans
from training.tasks.faces.data import FaceData


def test_the_regression_finds_the_coefficients_of_the_simulation():
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(4000, 5, 2))
    weights, bias = np.array([1.5, -0.7]), np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    right = rng.random((4000, 5)) < 1 / (1 + np.exp(-(evidence @ weights + bias)))
    fitted_weights, fitted_bias = logistic(evidence, right)
    assert np.allclose(fitted_weights, weights, atol=0.1)
    assert np.allclose(fitted_bias, bias, atol=0.15)


def test_the_coefficients_of_scans_are_those_that_made_the_data():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(2000, 1)) + rng.normal(size=(2000, 8))
    lowest = np.sort(odds, axis=1)[:, :2].mean(axis=1, keepdims=True)
    moved = rng.normal(size=(2000, 1)) + rng.normal(size=(2000, 8))
    true = 0.8 * odds + 0.6 * lowest - 0.4 - 0.5 * moved - 1.2 * moved.mean(axis=1, keepdims=True)
    right = (rng.random(odds.shape) < 1 / (1 + np.exp(-true))).astype(float)
    right[:100] = np.nan  # unknown
    assert np.allclose(of_scans(odds, right, moved), [0.8, 0.6, -0.4, -0.5, -1.2], atol=0.15)


def test_where_the_shape_prior_moves_nothing_its_coefficients_are_finite():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(200, 1)) + rng.normal(size=(200, 8))
    right = (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)
    fitted = of_scans(odds, right, np.full(odds.shape, -6.9))
    assert np.abs(fitted).max() < 3


@pytest.mark.parametrize("always", [True, False])
def test_landmarks_that_are_always_or_never_right_give_finite_coefficients(always: bool):
    evidence = np.random.default_rng(0).normal(size=(50, 3, 2))
    weights, bias = logistic(evidence, np.full((50, 3), always))
    assert np.isfinite([*weights, *bias]).all()
    likely = 1 / (1 + np.exp(-(evidence @ weights + bias)))
    assert likely.min() > 0.8 if always else likely.max() < 0.2


def test_the_calibration_error_is_the_difference_of_confidence_and_success():
    confidence = np.repeat([0.2, 0.8], 100)
    right = np.concatenate([np.arange(100) < 20, np.arange(100) < 80])
    assert calibration_error(confidence, right) == pytest.approx(0)
    assert calibration_error(confidence, ~right) == pytest.approx(0.6)
    assert calibration_error(np.ones(10), np.ones(10, dtype=bool)) == 0


def test_calibration_changes_only_the_confidence(data_folder: Path):
    task = FaceLandmarks(levels=(256, 96, 32), confident_m=0.09)  # an untrained network is right now and then
    torch.manual_seed(0)
    network = NARROW.build(task).eval()
    batches = FaceData(task, batch=4, validation=8).load(data_folder)
    before = {name: x.clone() for name, x in network.state_dict().items()}
    calibrate(network, batches)
    changed = {name for name, x in network.state_dict().items() if not torch.equal(x, before[name])}
    assert changed == {"confidence.weights", "confidence.bias"}
    stated, right = [], []
    for _, (inputs, true) in batches.validation_batches():
        with torch.no_grad():
            _, landmarks, confidence = network(*(torch.from_numpy(x) for x in inputs.values()))
        stated.append(confidence.numpy())
        right.append(np.linalg.norm(landmarks.numpy() - true, axis=-1) <= task.confident_m)
    assert 0.1 < np.concatenate(right).mean() < 0.9
    assert np.concatenate(stated).mean() == pytest.approx(np.concatenate(right).mean(), abs=0.03)


def test_landmarks_that_the_shape_prior_moves_farther_are_less_certain_and_so_are_the_others_of_their_scan():
    confidence = Confidence(8)
    confidence.moved.copy_(torch.tensor([-0.5, -1.0]))
    voted = torch.randn(3, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    shift = torch.zeros(3, 8, 3).double()
    shift[1:, :, 0], shift[2, 0, 0] = 0.002, 0.02
    moved = corrections(voted, voted + shift)
    torch.testing.assert_close(moved[0], torch.full((8,), LEAST_DM).log())  # not less than a tenth of a millimetre
    torch.testing.assert_close(moved[2, 0], torch.tensor(0.2).log())  # in decimetres
    sure = confidence.of_odds(torch.zeros(3, 8), moved)
    assert (sure[0] > sure[1]).all()
    assert (sure[1] > sure[2]).all()
    assert sure[2, 0] < sure[2, 1]
