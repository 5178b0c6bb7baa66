"""Boys functions: values, derivatives of every order, and the point zero."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, gamma, gammainc

from efa_zoo.base.errors import InputError
from efa_zoo.ops.boys import boys, boys_by_order, coulomb_fields

_ARGUMENTS = np.concatenate(
    [[1e-3], np.linspace(0.01, 12.0, 2001), np.linspace(12.0, 80.0, 200), [1e3, 1e6]]
)


def _reference(max_order: int, t: np.ndarray) -> np.ndarray:
    """By the incomplete gamma function, which SciPy has to about 1e-14."""
    orders = np.arange(max_order + 1) + 0.5
    t = t[:, None]
    return gamma(orders) * gammainc(orders, t) / (2 * t**orders)


@pytest.mark.parametrize("max_order", [0, 1, 2, 3, 4, 6])
def test_values_match_scipy(max_order: int, x64: None) -> None:
    values = boys(max_order, jnp.asarray(_ARGUMENTS))
    np.testing.assert_allclose(values, _reference(max_order, _ARGUMENTS), rtol=1e-13)
    single = boys(max_order, jnp.asarray(_ARGUMENTS, jnp.float32))
    assert single.dtype == jnp.float32
    expected = _reference(max_order, _ARGUMENTS.astype(np.float32).astype(float))
    # Beyond 1e38 ratios of large powers are rounded to zero.
    np.testing.assert_allclose(single, expected, rtol=2e-6, atol=1e-37)


@pytest.mark.parametrize("max_order", [0, 2, 6])
def test_near_zero_it_is_its_power_series(max_order: int, x64: None) -> None:
    t = np.array([0.0, 5e-324, 1e-300, 1e-20, 1e-8, 1e-3, 0.1])
    expected = [
        [sum((-x) ** k / (math.factorial(k) * (2 * (n + k) + 1)) for k in range(12)) for n in
         range(max_order + 1)] for x in t
    ]  # fmt: skip
    np.testing.assert_allclose(boys(max_order, jnp.asarray(t)), expected, rtol=2e-15)


def test_orders_do_not_depend_on_how_many_are_asked_for(x64: None) -> None:
    # The formula changes at a point that depends on the highest order.
    t = jnp.linspace(0.0, 20.0, 401)
    values = np.stack([boys(top, t)[:, 0] for top in range(9)])
    np.testing.assert_allclose(values, values[:1].repeat(9, axis=0), rtol=3e-15)


def test_derivatives_of_every_order(x64: None) -> None:
    # F_n' = -F_(n+1): at zero, and on both sides of the switching points.
    for t in (0.0, 0.9999, 1.0, 1.0001, 1.4999, 1.5001, 2.2499, 2.25, 2.2501, 30.0):
        values = boys(5, jnp.asarray(t))
        function = lambda x: boys_by_order(2, x)  # noqa: E731
        for order in range(1, 4):
            function = jax.jacfwd(function) if order % 2 else jax.jacrev(function)
            expected = (-1) ** order * values[order : order + 3]
            np.testing.assert_allclose(jnp.stack(function(jnp.asarray(t))), expected, rtol=1e-13)


def test_derivatives_match_finite_differences(x64: None) -> None:
    step = 1e-4
    for t in (0.5, 1.0, 1.5, 2.25, 7.0):
        points = jnp.asarray([t - step, t, t + step])
        below, here, above = boys(2, points)
        slope = jax.jacfwd(lambda x: boys(2, x))(points[1])
        curvature = jax.jacfwd(jax.jacfwd(lambda x: boys(2, x)))(points[1])
        np.testing.assert_allclose((above - below) / (2 * step), slope, rtol=1e-7)
        np.testing.assert_allclose((above - 2 * here + below) / step**2, curvature, rtol=1e-5)


def test_fields_are_coulombs_law_and_its_derivatives(x64: None) -> None:
    r, width = np.array([1.0, 1.7, 2.5, 12.0]), np.array([[0.5], [1.0]])
    a = 1 / (math.sqrt(2) * width)
    potential = erf(a * r) / r
    gaussian = 2 * a / math.sqrt(math.pi) * np.exp(-((a * r) ** 2))
    first = (potential - gaussian) / r**2
    second = (3 * first - 2 * a**2 * gaussian) / r**2
    fields = coulomb_fields(2, jnp.asarray(r**2)[None], jnp.asarray(width))
    for field, expected in zip(fields, (potential, first, second), strict=True):
        np.testing.assert_allclose(field, expected, rtol=1e-12)


def test_fields_far_away_are_those_of_points(x64: None) -> None:
    r = np.array([20.0, 100.0])
    fields = coulomb_fields(4, jnp.asarray(r**2), jnp.asarray([1.0, 0.5]))
    for degree, field in enumerate(fields):
        odd = math.prod(range(1, 2 * degree, 2))
        np.testing.assert_allclose(field, odd / r ** (2 * degree + 1), rtol=1e-14)


def test_fields_are_differentiable_by_widths_where_atoms_coincide(x64: None) -> None:
    def total(squared: jax.Array, width: jax.Array) -> jax.Array:
        return sum(coulomb_fields(2, squared, width), start=jnp.zeros(()))

    hessian = jax.hessian(total, argnums=(0, 1))(jnp.asarray(0.0), jnp.asarray(1.3))
    assert np.isfinite(hessian).all()
    # h_l(0) = √(2/π) σ^-(2l+1) / (2l+1).
    slope = jax.grad(total, argnums=1)(jnp.asarray(0.0), jnp.asarray(1.3))
    expected = -sum(1.3 ** -(2 * l + 2) for l in range(3)) * math.sqrt(2 / math.pi)
    np.testing.assert_allclose(slope, expected, rtol=1e-14)


def test_invalid_arguments() -> None:
    with pytest.raises(InputError, match="max_order is -1"):
        boys(-1, jnp.ones(3))
    with pytest.raises(InputError, match="max_order is -2"):
        boys_by_order(-2, jnp.ones(3))
    with pytest.raises(InputError, match="max_degree is -1"):
        coulomb_fields(-1, jnp.ones(3), jnp.ones(3))
