"""The two-layer perceptron of EqMotion and its relatives: SiLU after both layers."""

from torch import nn


def perceptron(features: int, hidden: int, out: int) -> nn.Sequential:
    """Return a perceptron features -> hidden -> out on the last axis, with SiLU after both layers."""
    return nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, out), nn.SiLU())
