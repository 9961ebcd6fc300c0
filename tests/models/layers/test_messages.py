"""Tests of messages between nodes: equality with a loop over pairs."""

import torch
from torch import Tensor

from models.layers.messages import Messages


def in_a_loop(layer: Messages, h: Tensor, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return force and message sums of one clip, pair by pair."""
    nodes = h.shape[1]
    force, total = torch.zeros_like(x), torch.zeros_like(h)
    first = layer.first
    for i in range(nodes):
        for j in range(nodes):
            if i == j:
                continue
            of_pair = first.of_distance.weight.flatten(1) @ features[0, :, i, j]
            m = (first.of_i(h[0, i]) + first.of_j(h[0, j]) + of_pair)[None, :, None, None]
            m = layer.second(m)
            force[0, :, :, i] += layer.gains(m).flatten() * (x[0, :, :, i] - x[0, :, :, j]) / (nodes - 1)
            total[0, i] += m.flatten()
    return force, total


def test_messages_equal_a_loop_over_pairs():
    layer = Messages(4, 2, 3).double()
    h, features, x = (torch.randn(*shape).double() for shape in ((1, 5, 4), (1, 2, 5, 5), (1, 3, 3, 5)))
    for answer, expected in zip(layer(h, features, x), in_a_loop(layer, h, features, x), strict=True):
        torch.testing.assert_close(answer, expected, atol=1e-10, rtol=0)
