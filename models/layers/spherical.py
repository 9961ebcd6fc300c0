"""Real spherical harmonics and real Clebsch-Gordan coefficients: what couples the degrees of SE(3)-equivariant features.

A feature of degree l has 2l + 1 components and turns by the matrix D_l(R). They stand in the order m = -l..l of the real harmonics,
degree 1 alone in the order x, y, z, so that D_1(R) = R. Scales are such that components have size 1: |Y_l|^2 = 2l + 1 on the sphere, and a
coupling keeps the variance of independent components.
"""

# ruff: noqa: E741 - l is the letter of a degree

from functools import lru_cache
from math import factorial, sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def spherical_harmonics(direction: Float[Tensor, "*batch 3"], degree: int) -> list[Float[Tensor, "*batch component"]]:
    """Y_0 .. Y_degree of unit vectors; of a vector of another length r, r^l Y_l.

    Each degree is the one below it coupled with Y_1, so that there is no pole and no angle: Y_l ~ Y_1 (x) Y_{l-1}.
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
    """|Y_1 (x) Y_{l-1}| in degree l on the sphere: the same in every direction, and along z only m = 0 is there."""
    middle = [0, 2, *range(2, l + 1)]  # where m = 0 stands in each degree
    return sqrt(3 * (2 * l - 1)) * clebsch_gordan(1, l - 1, l)[2, middle[l - 1], middle[l]]


@lru_cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> Float[np.ndarray, "i j k"]:
    """C with sum_ij C_ijk a_i b_j of degree l3 where a is of degree l1 and b of l2; its columns over (i, j) are orthonormal.

    Closed form (Racah 1942), so that the sign is the same on every machine: C(1, 1, 0) is the dot product over sqrt(3) and C(1, 1, 1) the
    cross product over sqrt(2). Raises ValueError unless |l1 - l2| <= l3 <= l1 + l2.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"degrees {l1} and {l2} couple to {abs(l1 - l2)}..{l1 + l2}, not to {l3}")
    table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                table[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah(l1, m1, l2, m2, l3, m1 + m2)
    real = np.einsum("ai,bj,ijk,ck->abc", _to_real(l1), _to_real(l2), table, _to_real(l3).conj())
    return np.ascontiguousarray(
        (1j ** (l1 + l2 - l3) * real).real
    )  # a phase alone: without it odd couplings are imaginary


def parity(l1: int, l2: int, l3: int) -> int:
    """+1 for a coupling that reflections keep, -1 for one like the cross product, which gives a pseudovector of two vectors."""
    return -1 if (l1 + l2 + l3) % 2 else 1


def _racah(j1: int, m1: int, j2: int, m2: int, j: int, m: int) -> float:
    """<j1 m1 j2 m2 | j m> in the convention of Condon and Shortley."""
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
    """Rows are the real harmonics, m = -l..l (x, y, z where l is 1), in terms of the complex ones with Condon-Shortley phase."""
    u = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    u[l, l] = 1
    for m in range(1, l + 1):
        sign = (-1) ** m
        u[l + m, l + m], u[l + m, l - m] = sign / sqrt(2), 1 / sqrt(2)
        u[l - m, l - m], u[l - m, l + m] = 1j / sqrt(2), -1j * sign / sqrt(2)
    return u[[2, 0, 1]] if l == 1 else u
