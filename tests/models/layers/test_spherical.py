"""Tests of spherical harmonics against SciPy, and of couplings against a numerical solution."""

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y
from turns import turn_of, wigner_d

from models.layers.spherical import clebsch_gordan, parity, spherical_harmonics

COUPLINGS = [(j, k, to) for j in range(5) for k in range(3) for to in range(3) if abs(j - k) <= to <= j + k]


def directions(count: int = 50) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(count, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("degree", range(5))
def test_harmonics_match_scipy_with_components_of_mean_square_1(degree: int):
    x = directions()
    polar, azimuth = np.arccos(x[:, 2]), np.arctan2(x[:, 1], x[:, 0])
    expected = []
    for m in range(-degree, degree + 1):
        value = sph_harm_y(degree, abs(m), polar, azimuth) * np.sqrt(4 * np.pi)
        expected.append(value.real if m == 0 else np.sqrt(2) * (-1) ** m * (value.real if m > 0 else value.imag))
    order = [2, 0, 1] if degree == 1 else list(range(2 * degree + 1))  # x, y, z
    actual = spherical_harmonics(torch.from_numpy(x), 4)[degree].numpy()
    np.testing.assert_allclose(actual, np.stack(expected, axis=1)[:, order], atol=1e-13)
    np.testing.assert_allclose(np.square(actual).sum(axis=1), 2 * degree + 1)


def test_degree_1_is_the_direction_and_harmonics_are_finite_everywhere():
    x = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    harmonics = spherical_harmonics(x, 2)
    torch.testing.assert_close(harmonics[1], np.sqrt(3) * x)
    assert all(y.isfinite().all() for y in harmonics)
    assert (harmonics[2][3] == 0).all()


def test_the_wigner_matrix_of_degree_1_is_the_rotation():
    torch.testing.assert_close(wigner_d(1, turn_of()), turn_of())


@pytest.mark.parametrize("degrees", COUPLINGS)
def test_a_coupling_commutes_with_rotation(degrees: tuple[int, int, int]):
    table = torch.from_numpy(clebsch_gordan(*degrees))
    d = [wigner_d(degree, turn_of()) for degree in degrees]
    straight = torch.einsum("ijk,ck->ijc", table, d[2])
    turned = torch.einsum("abc,ai,bj->ijc", table, d[0], d[1])
    torch.testing.assert_close(turned, straight, atol=1e-12, rtol=0)


@pytest.mark.parametrize("degrees", COUPLINGS)
def test_couplings_are_unique_up_to_scale(degrees: tuple[int, int, int]):
    """The null space of D(j) x D(k) = D(l), over several turns, has one dimension, and the table spans it."""
    equations = []
    for seed in range(3):
        dj, dk, dl = (wigner_d(degree, turn_of(seed)).numpy() for degree in degrees)
        both = np.kron(dj, dk)
        equations.append(np.kron(both, np.eye(len(dl))) - np.kron(np.eye(len(both)), dl.T))
    _, sizes, vectors = np.linalg.svd(np.concatenate(equations))
    assert (sizes < 1e-9).sum() == 1
    table = clebsch_gordan(*degrees).ravel()
    assert abs(abs(vectors[-1] @ table) - np.linalg.norm(table)) < 1e-9


@pytest.mark.parametrize("degrees", COUPLINGS)
def test_couplings_are_orthonormal(degrees: tuple[int, int, int]):
    table = clebsch_gordan(*degrees)
    np.testing.assert_allclose(np.einsum("ijk,ijl->kl", table, table), np.eye(table.shape[2]), atol=1e-14)


def test_the_couplings_of_vectors_are_dot_and_cross_products():
    a, b = np.random.default_rng(0).normal(size=(2, 3))
    coupled = [np.einsum("i,j,ijk->k", a, b, clebsch_gordan(1, 1, degree)) for degree in range(2)]
    np.testing.assert_allclose(coupled[0], a @ b / np.sqrt(3))
    np.testing.assert_allclose(coupled[1], np.cross(a, b) / np.sqrt(2))
    assert (parity(1, 1, 0), parity(1, 1, 1), parity(1, 1, 2)) == (1, -1, 1)


def test_a_coupling_outside_the_triangle_rule_is_refused():
    with pytest.raises(ValueError, match="from 0 to 2 of degrees 1 and 1, got 3"):
        clebsch_gordan(1, 1, 3)
