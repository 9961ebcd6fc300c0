"""Tests of the loss of hand forecasters that say how sure they are: its minimum, what has no part in it, and the alternatives."""

import numpy as np
import pytest
import torch

from training.tasks.hands.likelihood import Answer, ForecastLoss, travelled_share

PLAIN = ForecastLoss(tempering=0.0, velocity=0.0, alternatives=0.0)


def answer(modes: int = 1, std: float = 0.02, batch: int = 2, frames: int = 4) -> Answer:
    future = torch.zeros(batch, modes, frames, 21, 3)
    return future, torch.full((batch, frames, 21), std), torch.full((batch, modes), 1 / modes)


def off(metres: float, batch: int = 2, frames: int = 4) -> torch.Tensor:
    true = torch.zeros(batch, frames, 21, 3)
    true[..., 0] = metres
    return true


def test_the_likelihood_is_that_of_an_exponential_distance_in_mm():
    b, distance = 10.0, 7.0
    expected = distance / b + 3 * np.log(b)
    assert PLAIN(answer(std=2 * b / 1000), off(distance / 1000)).item() == pytest.approx(expected, rel=1e-5)


def test_the_density_of_the_loss_has_the_standard_deviation_that_a_network_states():
    rng = np.random.default_rng(0)
    b, n = 10.0, 200_000
    distance = rng.gamma(3, b, size=n)  # of r^2 exp(-r / b), the density over space times the area of a sphere
    direction = rng.normal(size=(n, 3))
    error = distance[:, None] * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    assert error.std() == pytest.approx(2 * b, rel=0.01)
    stds = np.arange(14, 27) / 1000
    true = torch.from_numpy((error[: 2 * 40 * 21] / 1000).reshape(2, 40, 21, 3).astype(np.float32))
    losses = [PLAIN(answer(std=std, frames=40), true).item() for std in stds]
    assert stds[int(np.argmin(losses))] == pytest.approx(0.02, abs=0.0015)


@pytest.mark.parametrize("loss", [PLAIN, ForecastLoss()])
def test_frames_that_do_not_exist_have_no_part_in_loss_score_and_gradient(loss: ForecastLoss):
    future, std, weights = answer(modes=2)
    future.requires_grad_()
    true = off(0.01)
    short = true.clone()
    short[:, 2:] = torch.nan
    cut = (future[:, :, :2], std[:, :2], weights)
    assert loss((future, std, weights), short).item() == pytest.approx(loss(cut, true[:, :2]).item(), rel=1e-5)
    loss((future, std, weights), short).backward()
    assert future.grad is not None
    assert future.grad.isfinite().all()
    assert not future.grad[:, :, 2:].any()
    past = torch.zeros(2, 3, 21, 3)
    assert travelled_share((future, std, weights), short, past).item() == pytest.approx(
        travelled_share(cut, true[:, :2], past).item(), rel=1e-5
    )


def test_tempering_divides_errors_less_by_what_is_expected():
    def pull(tempering: float, std: float) -> float:
        future, _, weights = answer()
        future.requires_grad_()
        stds = torch.cat([torch.full((1, 4, 21), 0.02), torch.full((1, 4, 21), std)])
        ForecastLoss(tempering=tempering, velocity=0, alternatives=0)((future, stds, weights), off(0.01)).backward()
        assert future.grad is not None
        return (future.grad[1].norm() / future.grad[0].norm()).item()

    assert pull(0.0, 0.04) == pytest.approx(0.5, rel=1e-3)
    assert pull(1.0, 0.04) == pytest.approx(1.0, rel=1e-3)


def test_a_jump_at_the_seam_costs_more_than_the_same_error_that_grows():
    loss = ForecastLoss(velocity=1.0, alternatives=0.0)
    jump, grows = off(0.01), off(0.0)
    grows[..., 0] = torch.tensor([0.004, 0.008, 0.012, 0.016])[None, :, None]
    still = ForecastLoss(velocity=0.0, alternatives=0.0)
    assert loss(answer(), jump) - still(answer(), jump) == pytest.approx(
        (loss(answer(), grows) - still(answer(), grows)).item() * 10 / 16, rel=1e-2
    )


def test_the_nearest_alternative_is_pulled_most_and_made_more_probable():
    future, std, weights = answer(modes=3)
    future[:, 1, ..., 0] = 0.009
    future, weights = future.requires_grad_(), weights.requires_grad_()
    ForecastLoss()((future, std, weights), off(0.01)).backward()
    assert future.grad is not None
    assert weights.grad is not None
    pulls = [future.grad[:, mode].norm().item() for mode in (1, 2)]
    assert pulls[0] > 10 * pulls[1] > 0
    assert weights.grad[:, 1].max() < 0
    assert not weights.grad[:, [0, 2]].any()


def test_holding_still_has_a_share_of_one_and_the_truth_of_zero():
    past, true = torch.zeros(2, 3, 21, 3), off(0.05)
    held = travelled_share(answer(), true, past).item()
    assert held == pytest.approx(1, abs=0.03)
    _, std, weights = answer()
    assert travelled_share((true.unsqueeze(1), std, weights), true, past).item() < 1e-2
    assert travelled_share(true.unsqueeze(1) / 2, true, past).item() == pytest.approx(held / 2, rel=1e-3)
