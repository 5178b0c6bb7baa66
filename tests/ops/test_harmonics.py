"""Spherical and solid harmonics by recurrence: against e3x, the addition theorem, orthogonality."""

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import lebedev_rule
from scipy.special import eval_legendre
from symmetry import quick_jit

from efa_zoo.ops.harmonics import constant_harmonics, solid_harmonics, spherical_harmonics

DEGREES = range(7)


def _vectors(number: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(number, 3))


def _unit_vectors(number: int) -> np.ndarray:
    vectors = _vectors(number)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("degree", DEGREES)
def test_equal_those_of_e3x(x64, degree):
    u, r = jnp.asarray(_unit_vectors(20)), jnp.asarray(_vectors(20))
    ours = jnp.stack(spherical_harmonics(u[:, 0], u[:, 1], u[:, 2], degree), axis=-1)
    theirs = e3x.so3.spherical_harmonics(u, degree, r_is_normalized=True, normalization="racah")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)
    solid = jnp.stack(solid_harmonics(r[:, 0], r[:, 1], r[:, 2], degree), axis=-1)
    scale = np.linalg.norm(r, axis=1, keepdims=True) ** degree
    theirs = e3x.so3.solid_harmonics(r, degree)
    np.testing.assert_allclose(solid / scale, theirs / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("degree", DEGREES)
def test_constants_are_the_same_without_jax(x64, degree):
    u = _unit_vectors(20)
    constant = constant_harmonics(u, degree)
    assert isinstance(constant, np.ndarray)
    assert constant.dtype == np.float64
    traced = np.stack(spherical_harmonics(*map(jnp.asarray, u.T), degree), axis=-1)
    np.testing.assert_allclose(constant, traced, rtol=0, atol=1e-14)


def test_addition_theorem(x64):
    a, b = _unit_vectors(2)
    for l in DEGREES:
        both = [np.asarray(spherical_harmonics(*map(jnp.asarray, u), l))[l * l :] for u in (a, b)]
        np.testing.assert_allclose(both[0] @ both[1], eval_legendre(l, a @ b), atol=1e-14)


def test_orthogonal_over_the_sphere():
    grid, weights = lebedev_rule(13)
    y = constant_harmonics(grid.T, 5)
    gram = (y.T * (weights / (4 * np.pi))) @ y
    norms = np.concatenate([np.full(2 * l + 1, 1 / (2 * l + 1)) for l in range(6)])
    np.testing.assert_allclose(gram, np.diag(norms), atol=1e-13)


def test_derivatives_at_the_poles_are_finite(x64):
    """Nothing divides by the distance from the axis."""

    def total(u):
        return sum(spherical_harmonics(u[0], u[1], u[2], 4))

    derivatives = quick_jit(lambda u: (jax.grad(total)(u), jax.hessian(total)(u)))
    for pole in (1.0, -1.0):
        for values in derivatives(jnp.asarray([0.0, 0.0, pole])):
            assert np.isfinite(values).all()


def _solid(r):
    return jnp.stack(solid_harmonics(r[0], r[1], r[2], 4))


_DEGREES_OF_SOLID = np.repeat(np.arange(5), 2 * np.arange(5) + 1)


def test_solid_harmonics_are_harmonic_and_homogeneous(x64):
    """Laplace's equation, and Euler's r·∇R = l R."""
    derivatives = quick_jit(lambda r: (_solid(r), jax.jacfwd(_solid)(r), jax.hessian(_solid)(r)))
    for r in _vectors(3):
        values, slopes, curvatures = derivatives(r)
        np.testing.assert_allclose(slopes @ r, _DEGREES_OF_SOLID * values, atol=1e-12)
        np.testing.assert_allclose(np.trace(curvatures, axis1=1, axis2=2), 0, atol=1e-12)


def test_solid_harmonics_have_all_derivatives_at_zero(x64):
    """Of each order just the polynomials of this very degree have one that is not zero."""

    def derivatives(r):
        found = [_solid]
        for _ in range(4):
            found.append(jax.jacfwd(found[-1]))
        return [derivative(r) for derivative in found]

    for order, values in enumerate(quick_jit(derivatives)(jnp.zeros(3))):
        assert np.isfinite(values).all()
        present = np.asarray(values).reshape(25, -1).any(axis=1)
        np.testing.assert_array_equal(present, order == _DEGREES_OF_SOLID)
