"""Tests of siMLPe: its size, a slow twin of its equations, and pasts shorter than the future."""

import numpy as np
import pytest
import scipy.fft
import torch
from laws import as_function, hand_motion, perturbed

from models.contract.task import HandForecast
from models.forecast.simlpe import SiMLPe, SiMLPeConfig


def size(frames: int, coordinates: int) -> int:
    """Return the number of weights of the authors' network: 48 blocks of a map of frames and a normalisation, between two maps."""
    return 48 * (frames * (frames + 1) + 2 * coordinates) + 2 * coordinates * (coordinates + 1)


def test_the_default_has_the_authors_size_with_the_coordinates_of_two_hands():
    assert size(frames=50, coordinates=66) == 137_580  # published as 0.138M
    for frames in (50, 60):
        network = SiMLPeConfig().build(HandForecast(past=frames, future=frames, fps=60))
        assert sum(p.numel() for p in network.parameters()) == size(frames, coordinates=126)


@pytest.mark.parametrize("future", [4, 8, 11])
def test_the_network_equals_its_equations(future: int):
    network = perturbed(SiMLPeConfig(blocks=2).build(HandForecast(past=8, future=future, fps=30))).double()
    assert isinstance(network, SiMLPe)
    past = hand_motion(8, 42)
    centre = past[:, -1].mean(axis=1)[:, None, None]
    x = 10 * (past - centre).reshape(2, 8, 126)
    z = np.concatenate([np.repeat(x[:, :1], max(0, future - 8), axis=1), x], axis=1)
    z = np.asarray(scipy.fft.dct(z, axis=1, norm="ortho"))

    def linear(layer: torch.nn.Module, x: np.ndarray) -> np.ndarray:
        return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()  # pyright: ignore - an attribute of a Module

    z = linear(network.embed, z)
    for block in network.blocks:
        mixed = linear(block.temporal, z.swapaxes(1, 2)).swapaxes(1, 2)  # pyright: ignore - an attribute of a Module
        mixed = (mixed - mixed.mean(axis=2, keepdims=True)) / np.sqrt(mixed.var(axis=2, keepdims=True) + 1e-5)
        z = z + mixed * block.norm.weight.detach().numpy() + block.norm.bias.detach().numpy()  # pyright: ignore - an attribute of a Module
    y = np.asarray(scipy.fft.idct(linear(network.read_out, z), axis=1, norm="ortho"))[:, :future]
    expected = (y + x[:, -1:]).reshape(2, future, 42, 3) / 10 + centre
    np.testing.assert_allclose(as_function(network)({"past": past})["future"][:, 0], expected, atol=1e-6)
