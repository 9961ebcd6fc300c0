"""Tests of rotations about axes: SciPy's answers, lengths, and gradients at rest."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.layers.rotations import cross, rotate


def test_the_cross_product_is_that_of_numpy():
    a, b = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    np.testing.assert_allclose(cross(a, b).numpy(), np.cross(a.numpy(), b.numpy(), axis=1), atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, 3.0, 20.0])
def test_a_rotation_is_that_of_scipy_and_keeps_lengths(angle: float):
    w, r = torch.randn(1, 3, 8, dtype=torch.float64), torch.randn(1, 3, 8, dtype=torch.float64)
    w = angle * w / w.norm(dim=1, keepdim=True)
    turned = rotate(w, r)
    expected = Rotation.from_rotvec(w[0].T.numpy()).apply(r[0].T.numpy())
    np.testing.assert_allclose(turned[0].T.numpy(), expected, atol=1e-11)
    torch.testing.assert_close(turned.norm(dim=1), r.norm(dim=1), atol=1e-11, rtol=0)


def test_the_gradient_is_finite_without_rotation():
    w, r = torch.zeros(1, 3, 2, requires_grad=True), torch.randn(1, 3, 2)
    rotate(w, r).square().sum().backward()
    assert w.grad is not None
    assert w.grad.isfinite().all()
