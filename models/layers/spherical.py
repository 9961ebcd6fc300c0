"""Real spherical harmonics and real Clebsch-Gordan coefficients, which couple the degrees of SE(3)-equivariant features.

A feature of degree l has 2l + 1 components, and a rotation R multiplies it by the matrix D_l(R). The components have the order m = -l..l of
the real harmonics; only degree 1 has the order x, y, z, so that D_1(R) = R. Components have size 1: |Y_l|^2 = 2l + 1 on the sphere, and a
coupling preserves the variance of independent components.
"""

# ruff: noqa: E741 - l is the letter of a degree

from functools import lru_cache
from math import factorial, sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def spherical_harmonics(direction: Float[Tensor, "*batch 3"], degree: int) -> list[Float[Tensor, "*batch component"]]:
    """Return Y_0 .. Y_degree of unit vectors; a vector of length r gives r^l Y_l.

    Each degree couples the one below it with Y_1, Y_l ~ Y_1 (x) Y_{l-1}, which needs no angles and has no poles.
    """
    harmonics = [torch.ones_like(direction[..., :1])]
    if degree > 0:
        harmonics.append(sqrt(3) * direction)
    for l in range(2, degree + 1):
        table = torch.from_numpy(clebsch_gordan(1, l - 1, l)).to(direction)
        coupled = torch.einsum("...i,...j,ijk->...k", harmonics[1], harmonics[-1], table)
        harmonics.append(coupled * sqrt(2 * l + 1) / _size_of_coupling(l))
    return harmonics


def _size_of_coupling(l: int) -> float:
    """Return |Y_1 (x) Y_{l-1}| in degree l on the sphere, evaluated along z, where only m = 0 differs from 0."""
    middle = [0, 2, *range(2, l + 1)]  # the index of m = 0 in each degree
    return sqrt(3 * (2 * l - 1)) * clebsch_gordan(1, l - 1, l)[2, middle[l - 1], middle[l]]


@lru_cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> Float[np.ndarray, "i j k"]:
    """Return C such that sum_ij C_ijk a_i b_j has degree l3 for a of degree l1 and b of degree l2; its columns over (i, j) are orthonormal.

    The closed form (Racah 1942) has the same signs on every machine: C(1, 1, 0) is the dot product over sqrt(3), and C(1, 1, 1) the cross
    product over sqrt(2). Raises ValueError unless |l1 - l2| <= l3 <= l1 + l2.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"expected a degree from {abs(l1 - l2)} to {l1 + l2} of degrees {l1} and {l2}, got {l3}")
    table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                table[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah(l1, m1, l2, m2, l3, m1 + m2)
    real = np.einsum("ai,bj,ijk,ck->abc", _to_real(l1), _to_real(l2), table, _to_real(l3).conj())
    phase = 1j ** (l1 + l2 - l3)  # makes odd couplings real
    return np.ascontiguousarray((phase * real).real)


def parity(l1: int, l2: int, l3: int) -> int:
    """Return +1 for a coupling that commutes with reflections, -1 for one like the cross product of two vectors, a pseudovector."""
    return -1 if (l1 + l2 + l3) % 2 else 1


def _racah(j1: int, m1: int, j2: int, m2: int, j: int, m: int) -> float:
    """Return <j1 m1 j2 m2 | j m> in the convention of Condon and Shortley."""
    f = factorial
    size = sqrt((2 * j + 1) * f(j + j1 - j2) * f(j - j1 + j2) * f(j1 + j2 - j) / f(j1 + j2 + j + 1))
    size *= sqrt(f(j + m) * f(j - m) * f(j1 - m1) * f(j1 + m1) * f(j2 - m2) * f(j2 + m2))
    terms = 0.0
    for k in range(j1 + j2 - j + 1):
        bottom = (k, j1 + j2 - j - k, j1 - m1 - k, j2 + m2 - k, j - j2 + m1 + k, j - j1 - m2 + k)
        if min(bottom) >= 0:
            terms += (-1) ** k / np.prod([float(f(n)) for n in bottom])
    return size * terms


def _to_real(l: int) -> np.ndarray:
    """Return the real harmonics, m = -l..l (x, y, z for l = 1), as rows in the complex ones with the Condon-Shortley phase."""
    u = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    u[l, l] = 1
    for m in range(1, l + 1):
        sign = (-1) ** m
        u[l + m, l + m], u[l + m, l - m] = sign / sqrt(2), 1 / sqrt(2)
        u[l - m, l - m], u[l - m, l + m] = 1j / sqrt(2), -1j * sign / sqrt(2)
    return u[[2, 0, 1]] if l == 1 else u
