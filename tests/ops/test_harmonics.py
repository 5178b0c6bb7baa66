"""Spherical harmonics by recurrence: against e3x, the addition theorem and orthogonality."""

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import eval_legendre

from efa_zoo.ops.harmonics import spherical_harmonics


def _unit_vectors(number: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(number, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("degree", range(7))
def test_equal_those_of_e3x(x64, degree):
    u = jnp.asarray(_unit_vectors(20))
    ours = jnp.stack(spherical_harmonics(u[:, 0], u[:, 1], u[:, 2], degree), axis=-1)
    theirs = e3x.so3.spherical_harmonics(u, degree, r_is_normalized=True, normalization="racah")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


def test_addition_theorem(x64):
    a, b = _unit_vectors(2)
    for l in range(7):
        both = [np.asarray(spherical_harmonics(*map(jnp.asarray, u), l))[l * l :] for u in (a, b)]
        np.testing.assert_allclose(both[0] @ both[1], eval_legendre(l, a @ b), atol=1e-14)


def test_orthogonal_over_the_sphere(x64):
    grid, weights = e3x.so3.lebedev_quadrature(precision=12)
    y = np.asarray(spherical_harmonics(*jnp.asarray(grid).T, 5))
    gram = (y * np.asarray(weights)) @ y.T
    norms = np.concatenate([np.full(2 * l + 1, 1 / (2 * l + 1)) for l in range(6)])
    np.testing.assert_allclose(gram, np.diag(norms), atol=1e-13)


def test_derivatives_at_the_poles_are_finite(x64):
    """Nothing divides by the distance from the axis."""

    def total(u):
        return sum(spherical_harmonics(u[0], u[1], u[2], 4))

    for pole in (1.0, -1.0):
        gradient = jax.grad(total)(jnp.asarray([0.0, 0.0, pole]))
        hessian = jax.hessian(total)(jnp.asarray([0.0, 0.0, pole]))
        assert np.isfinite(gradient).all() and np.isfinite(hessian).all()
