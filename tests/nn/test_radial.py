"""Radial functions: e3x's values, and derivatives that are those of the values."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import comb

from efa_zoo.base.config import RADIAL_BASES, MessagePassingConfig
from efa_zoo.nn.radial import bernstein, radial_functions

pytestmark = pytest.mark.usefixtures("x64")


def test_bernstein_polynomials_are_their_definition() -> None:
    x = np.linspace(0, 1, 41)
    for num in (1, 2, 5, 16):
        k = np.arange(num)
        expected = comb(num - 1, k) * x[:, None] ** k * (1 - x[:, None]) ** (num - 1 - k)
        np.testing.assert_allclose(bernstein(jnp.asarray(x), num), expected, atol=1e-14)


def test_bernstein_derivatives_are_exact_at_the_ends_too() -> None:
    x = jnp.asarray([0.0, 0.2, 0.7, 1.0])
    coefficients = [np.polynomial.Polynomial([0, 1]) ** k for k in range(4)]
    polynomials = [
        comb(3, k) * coefficients[k] * np.polynomial.Polynomial([1, -1]) ** (3 - k)
        for k in range(4)
    ]
    function = lambda t: bernstein(t, 4)  # noqa: E731
    for order in (1, 2):
        function = jax.jacfwd(function)
        expected = np.stack([p.deriv(order)(np.asarray(x)) for p in polynomials], axis=-1)
        found = jax.vmap(function)(x)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", RADIAL_BASES)
def test_values_are_those_of_e3x(name: str) -> None:
    config = MessagePassingConfig(cutoff=4.0, num_radial=7, radial_basis=name)
    r = jnp.linspace(0.7, 3.9, 9)
    kind = name.removeprefix("e3x_")
    options = {} if kind.startswith(("exponential", "reciprocal")) else {"limit": 4.0}
    with jax.numpy_dtype_promotion("standard"):
        expected = getattr(e3x.nn, kind)(r, 7, **options)
        expected = expected * e3x.nn.smooth_cutoff(r, cutoff=4.0)[:, None]
    np.testing.assert_allclose(radial_functions(r, config), expected, atol=2e-6)


@pytest.mark.parametrize("name", [n for n in RADIAL_BASES if "window" not in n])
def test_derivatives_are_those_of_the_values(name: str) -> None:
    config = MessagePassingConfig(cutoff=4.0, num_radial=7, radial_basis=name)
    r, h = jnp.linspace(0.73, 3.87, 9), 1e-4
    function = lambda x: radial_functions(x, config)  # noqa: E731
    _, slope = jax.jvp(function, (r,), (jnp.ones_like(r),))
    steps = [function(r + i * h) for i in (-2, -1, 1, 2)]
    expected = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / (12 * h)
    # e3x's own Bernstein polynomials are kept for imported networks; this is what is wrong in them.
    tolerance = 1e-5 if name.startswith("e3x_") else 1e-9
    np.testing.assert_allclose(slope, expected, atol=tolerance)
