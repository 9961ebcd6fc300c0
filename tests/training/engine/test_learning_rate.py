"""Tests of the learning rate of a step: warm-up, cosine and restarts."""

from dataclasses import replace

import pytest

from training.engine.run import Optimisation
from training.engine.schedule import learning_rate


def test_the_learning_rate_has_a_linear_warmup_and_a_cosine_decay():
    options = Optimisation(steps=100, warmup=10, learning_rate=1.0)
    assert [learning_rate(options, step) for step in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert learning_rate(options, 55) == pytest.approx(0.5)
    assert learning_rate(options, 100) == pytest.approx(0.0)
    assert learning_rate(replace(options, warmup=0), 0) == 1.0


def test_restarts_divide_the_cosine_into_equal_periods():
    options = Optimisation(steps=100, warmup=0, learning_rate=1.0, restarts=3)
    rates = [learning_rate(options, step) for step in range(101)]
    assert [step for step in range(100) if rates[step] == 1.0] == [0, 25, 50, 75]
    assert rates[25 + 5] == pytest.approx(rates[5])
    assert rates[24] < 0.01
    assert rates[100] == pytest.approx(0.0)
