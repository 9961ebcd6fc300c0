"""Tests of ESTGCN: the Fourier invariants, and messages between nodes."""

import numpy as np
import torch
from laws import TASK, as_function, hand_motion, perturbed

from models.forecast.estgcn import ESTGCNConfig, Fourier


def test_the_invariants_are_those_of_numpys_transform():
    x = np.random.default_rng(0).normal(size=(1, 3, 7, 5))
    f = np.fft.rfft(x - x.mean(axis=3, keepdims=True), axis=2)[0] / 7  # (3, K, nodes)
    of_nodes, of_pairs = Fourier(7).double()(torch.tensor(x))
    length = np.sqrt((np.abs(f) ** 2).sum(0))
    np.testing.assert_allclose(of_nodes[0].numpy(), length.T, atol=1e-6)
    for i in range(5):
        for j in range(5):
            inner = np.abs((f[..., i].conj() * f[..., j]).sum(0))
            np.testing.assert_allclose(of_pairs[0, :, i, j], 2 * inner / (length[:, i] + length[:, j]), atol=1e-6)


def test_a_node_sees_the_others():
    network, past = perturbed(ESTGCNConfig(hidden=8, layers=1).build(TASK)).double(), hand_motion(TASK.past, 42)
    changed = past.copy()
    changed[:, 4, 7] += 0.01
    changed[:, 4, 9] -= 0.01
    before, after = (as_function(network)({"past": x})["future"] for x in (past, changed))
    assert (np.abs(after - before).max(axis=(0, 1, 2, 4)) > 1e-9).all()
