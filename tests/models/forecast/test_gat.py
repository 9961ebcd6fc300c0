"""Tests of the graph attention network: its size, and its attention against a loop over pairs of joints."""

import numpy as np
import torch
import torch.nn.functional as F

from models.contract.task import HandForecast
from models.forecast.gat import Attention, GATConfig


def test_the_default_has_the_published_17k_weights_from_a_second_to_a_second():
    network = GATConfig().build(HandForecast(past=60, future=60, fps=60))
    assert sum(p.numel() for p in network.parameters()) == 17_140


def test_attention_equals_a_loop_over_pairs():
    torch.manual_seed(0)
    attention, h = Attention(5), torch.randn(2, 6, 5)
    a = torch.cat([attention.own, attention.other])
    expected = torch.zeros(2, 6, 5)
    for b in range(2):
        v = [attention.value(h[b, i]) for i in range(6)]
        for i in range(6):
            scores = torch.stack([F.leaky_relu(a @ torch.cat([v[i], v[j]]), 0.2) for j in range(6)])
            weights = scores.exp() / scores.exp().sum()
            expected[b, i] = sum((w * x for w, x in zip(weights, v, strict=True)), torch.zeros(5))
    np.testing.assert_allclose(attention(h).detach().numpy(), expected.detach().numpy(), atol=1e-6)
