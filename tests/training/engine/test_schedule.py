"""Tests of optimisers and schedules: their steps, rates and momenta equal those of the papers' formulas, worked out by hand."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models.layers.chiral import ChiralBatchNorm
from models.layers.chiral_spec import Spec
from training.engine.batches import Batch
from training.engine.loop import in_steps
from training.engine.run import Decay, Optimisation
from training.engine.schedule import epoch_of, learning_rate, optimiser_of, set_norm_momentum

PAVLLO = Optimisation(
    steps=1600, epochs=160, learning_rate=1e-3, decay=Decay(0.95, every=2), norm_momentum=(0.1, 0.001), beta2=0.9999,
    algorithm="amsgrad", weight_decay=0.0,
)  # fmt: skip


def test_the_learning_rate_is_multiplied_after_every_second_epoch_from_the_first_step_on_without_a_warmup():
    assert [epoch_of(PAVLLO, step) for step in (0, 9, 10, 1599)] == [0, 0, 1, 159]
    rates = [learning_rate(PAVLLO, step) for step in (0, 19, 20, 40, 1599)]
    assert rates == pytest.approx([1e-3, 1e-3, 0.95e-3, 0.9025e-3, 1e-3 * 0.95**79])


def test_the_learning_rate_falls_at_given_epochs():
    options = Optimisation(steps=90, epochs=90, learning_rate=0.1, decay=Decay(0.1, at=(36, 54)), algorithm="sgd")
    assert [learning_rate(options, step) for step in (35, 36, 53, 54, 89)] == pytest.approx(
        [0.1, 0.01, 0.01, 1e-3, 1e-3]
    )


def test_the_momentum_of_batch_normalisation_falls_exponentially_in_every_layer():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(ChiralBatchNorm(Spec(lp=1)), nn.Tanh()))

    def momenta(options: Optimisation, step: int) -> list[float]:
        set_norm_momentum(options, network, step)
        return [network[0].momentum, network[1][0].momentum]  # pyright: ignore - attributes of the layers

    assert momenta(PAVLLO, 9) == pytest.approx([0.1, 0.1])
    assert momenta(PAVLLO, 800) == pytest.approx([0.01, 0.01])  # half way in the logarithm
    assert momenta(PAVLLO, 1599) == pytest.approx([0.1 * 0.01 ** (159 / 160)] * 2)
    assert momenta(Optimisation(), 5) == pytest.approx([0.1 * 0.01 ** (159 / 160)] * 2)  # no schedule: as it was


def test_amsgrad_never_forgets_the_largest_second_moment():
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimiser = optimiser_of(PAVLLO, [weight])
    m = v = most = 0.0
    expected = 1.0
    for step, gradient in enumerate([4.0, 0.1, -0.2], 1):
        m, v = 0.9 * m + 0.1 * gradient, 0.9999 * v + 0.0001 * gradient**2
        most = max(most, v)
        expected -= 1e-3 * (m / (1 - 0.9**step)) / ((most / (1 - 0.9999**step)) ** 0.5 + 1e-8)
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
    assert weight.item() == pytest.approx(expected, rel=1e-9)


def test_sgd_has_nesterovs_momentum_and_weight_decay():
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimiser = optimiser_of(Optimisation(learning_rate=0.1, weight_decay=0.01, algorithm="sgd"), [weight])
    momentum, expected = 0.0, 2.0
    for gradient in (1.0, -3.0):
        decayed = gradient + 0.01 * expected
        momentum = 0.9 * momentum + decayed
        expected -= 0.1 * (decayed + 0.9 * momentum)
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
    assert weight.item() == pytest.approx(expected, rel=1e-9)


class Uncounted:
    """Data without epochs, which are never read."""

    def training_batch(self, seed: int, step: int, rank: int = 0, ranks: int = 1) -> Batch:
        raise NotImplementedError

    def validation_batches(self) -> Iterator[tuple[str, Batch]]:
        raise NotImplementedError


class Counted(Uncounted):
    """Data of seven batches an epoch."""

    def steps_an_epoch(self) -> int:
        return 7


def test_a_run_of_epochs_takes_so_many_passes_over_its_data():
    of_epochs = Optimisation(steps=0, epochs=3)
    assert in_steps(of_epochs, Counted()).steps == 21
    assert in_steps(Optimisation(steps=5, epochs=3), Counted()).steps == 5
    assert (of_epochs.length, Optimisation(steps=5).length) == ("3 epochs", "5 steps")
    with pytest.raises(ValueError, match="expected data with a number of steps an epoch, got Uncounted"):
        in_steps(of_epochs, Uncounted())


@pytest.mark.parametrize("changes", [{"steps": 0}, {"decay": Decay(0.5)}, {"norm_momentum": (0.1, 0.001)}])
def test_a_schedule_by_epochs_needs_their_number(changes: dict):
    with pytest.raises(ValueError, match="expected a number of epochs for a schedule that counts them, got 0"):
        Optimisation(**changes)
    Optimisation(**changes, epochs=2)
