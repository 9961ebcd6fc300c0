"""The two-layer perceptron of EqMotion and its relatives: SiLU after both layers."""

from torch import nn


def perceptron(features: int, hidden: int, out: int) -> nn.Sequential:
    """features -> hidden -> out on the last axis, SiLU after each."""
    return nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, out), nn.SiLU())
