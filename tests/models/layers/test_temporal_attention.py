"""Tests of temporal attention: equality with a loop over frames, and nodes at rest."""

import torch
from torch import Tensor

from models.layers.temporal_attention import TemporalAttention


def in_a_loop(layer: TemporalAttention, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the layer's answers for one clip, node by node and frame by frame."""
    new_h, new_x = h.clone(), x.clone()
    nodes, frames, d = h.shape[1:]
    for i in range(nodes):
        for t in range(frames):
            scores = torch.stack([layer.query(h[0, i, t]) @ layer.key(h[0, i, s]) for s in range(frames)])
            attention = (scores / d**0.5).softmax(0)
            for s in range(frames):
                value = layer.value(h[0, i, s])
                new_h[0, i, t] += attention[s] * value
                new_x[0, :, t, i] += attention[s] * layer.gain(value) * (x[0, :, t, i] - x[0, :, s, i])
    return new_h, new_x


def test_attention_equals_a_loop_over_frames():
    layer = TemporalAttention(4).double()
    h, x = torch.randn(1, 3, 5, 4).double(), torch.randn(1, 3, 5, 3).double()
    for answer, expected in zip(layer(h, x), in_a_loop(layer, h, x), strict=True):
        torch.testing.assert_close(answer, expected, atol=1e-10, rtol=0)


def test_a_node_at_rest_stays_where_it_is():
    x = torch.randn(1, 3, 1, 3).expand(-1, -1, 5, -1)
    torch.testing.assert_close(TemporalAttention(4)(torch.randn(1, 3, 5, 4), x)[1], x)
