"""Tests of LTD: its size, a slow twin of its equations, and dropout in training alone."""

import numpy as np
import scipy.fft
import torch
from laws import as_function, hand_motion, perturbed

from models.contract.task import HandForecast
from models.forecast.ltd import LTD, GraphConvolution, LTDConfig


def size(frames: int, coordinates: int) -> int:
    """Return the number of weights of the authors' network: 25 layers with a normalisation, and a read-out."""

    def convolution(features: int, out: int) -> int:
        return features * out + coordinates**2 + out

    layers = convolution(frames, 256) + 24 * convolution(256, 256) + 25 * 2 * coordinates * 256
    return layers + convolution(256, frames)


def test_the_default_has_the_authors_size_with_the_coordinates_of_two_hands():
    assert size(frames=35, coordinates=66) == 2_555_275  # published as 2.55M
    network = LTDConfig().build(HandForecast(past=10, future=10, fps=30))
    assert sum(p.numel() for p in network.parameters()) == size(frames=20, coordinates=126)


def test_the_network_equals_its_equations():
    network = perturbed(LTDConfig(hidden=5, blocks=2).build(HandForecast(past=8, future=6, fps=30))).double()
    assert isinstance(network, LTD)
    past = hand_motion(8, 42)
    centre = past[:, -1].mean(axis=1)[:, None, None]
    x = 10 * (past - centre).reshape(2, 8, 126)
    padded = np.concatenate([x, np.repeat(x[:, -1:], 6, axis=1)], axis=1)
    coefficients = np.asarray(scipy.fft.dct(padded, axis=1, norm="ortho")).swapaxes(1, 2)

    def convolved(layer: torch.nn.Module, h: np.ndarray) -> np.ndarray:
        assert isinstance(layer, GraphConvolution)
        a, w, b = (x.detach().numpy() for x in (layer.adjacency, layer.weight, layer.bias))
        return np.einsum("ij,bjf,fo->bio", a, h, w) + b

    def activated(layer: torch.nn.Module, h: np.ndarray) -> np.ndarray:
        y = convolved(layer.convolution, h).reshape(2, -1)  # pyright: ignore - an attribute of a Module
        scale, shift = layer.norm.weight.detach().numpy(), layer.norm.bias.detach().numpy()  # pyright: ignore - an attribute of a Module
        return np.tanh(y / np.sqrt(1 + 1e-5) * scale + shift).reshape(2, 126, 5)  # statistics of a new network: 0 and 1

    h = activated(network.embed, coefficients)
    for first, second in network.blocks:  # pyright: ignore - an attribute of a Module
        h = h + activated(second, activated(first, h))
    answer = (coefficients + convolved(network.read_out, h)).swapaxes(1, 2)
    whole = np.asarray(scipy.fft.idct(answer, axis=1, norm="ortho"))
    expected = whole[:, 8:].reshape(2, 6, 42, 3) / 10 + centre
    np.testing.assert_allclose(as_function(network)({"past": past})["future"][:, 0], expected, atol=1e-6)


def test_dropout_acts_in_training_alone():
    network = perturbed(LTDConfig(hidden=5, blocks=1).build(HandForecast(past=8, future=6, fps=30)))
    past = torch.tensor(hand_motion(8, 42), dtype=torch.float32)
    assert torch.equal(network(past), network(past))
    network.train()
    assert not torch.allclose(network(past), network(past), atol=1e-4)
