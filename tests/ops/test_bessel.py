"""Spherical Bessel functions: values, derivatives of every order, and the point zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.special import spherical_jn

from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import InputError
from efa_zoo.ops.bessel import (
    reduced_spherical_bessel,
    reduced_spherical_bessel_by_degree,
    spherical_bessel,
)

_ARGUMENTS = np.concatenate(
    [
        [0.0],
        np.geomspace(1e-8, 1.0, 500),
        np.linspace(0.0, 20.0, 4001),
        np.linspace(20.0, 500.0, 3000),
    ]
)
_Function = Callable[[int, jax.Array], jax.Array]
_PROPERTY = hypothesis.settings(deadline=None, max_examples=50)


def _reference(max_degree: int, x: np.ndarray) -> np.ndarray:
    return np.stack([spherical_jn(degree, x) for degree in range(max_degree + 1)], axis=-1)


def _series_coefficient(degree: int, k: int) -> Fraction:
    """The exact coefficient of x^(2k) in j_l(x)/x^l."""
    odd = math.prod(range(1, 2 * (degree + k) + 2, 2))
    return Fraction((-1) ** k, 2**k * math.factorial(k) * odd)


def _series(degree: int, x2: float) -> float:
    t = Fraction(x2)
    return float(sum(_series_coefficient(degree, k) * t**k for k in range(12)))


@pytest.mark.parametrize("max_degree", [0, 1, 2, 3, 4, 6])
def test_values_match_scipy_in_float64(max_degree: int, x64: None) -> None:
    values = spherical_bessel(max_degree, jnp.asarray(_ARGUMENTS))
    assert values.dtype == jnp.float64
    np.testing.assert_allclose(values, _reference(max_degree, _ARGUMENTS), rtol=0, atol=2e-15)
    x2 = _ARGUMENTS**2
    x = np.sqrt(x2)
    reduced = reduced_spherical_bessel(max_degree, jnp.asarray(x2))
    powers = x[:, None] ** np.arange(max_degree + 1)
    np.testing.assert_allclose(reduced * powers, _reference(max_degree, x), rtol=0, atol=2e-15)


@pytest.mark.parametrize("max_degree", [0, 1, 2, 3, 4, 6])
def test_values_match_scipy_in_float32(max_degree: int) -> None:
    x = _ARGUMENTS.astype(np.float32)
    values = spherical_bessel(max_degree, jnp.asarray(x))
    assert values.dtype == jnp.float32
    expected = _reference(max_degree, x.astype(np.float64))
    np.testing.assert_allclose(np.asarray(values, np.float64), expected, rtol=0, atol=3e-7)
    x2 = x * x
    exact_x = np.sqrt(x2.astype(np.float64))
    powers = exact_x[:, None] ** np.arange(max_degree + 1)
    reduced = np.asarray(reduced_spherical_bessel(max_degree, jnp.asarray(x2)), np.float64)
    np.testing.assert_allclose(reduced * powers, _reference(max_degree, exact_x), rtol=0, atol=3e-7)


@pytest.mark.parametrize("max_degree", [0, 1, 6])
def test_float32_stays_accurate_for_huge_arguments(max_degree: int) -> None:
    x = np.geomspace(500.0, 1e15, 20_000).astype(np.float32)
    values = np.asarray(spherical_bessel(max_degree, jnp.asarray(x)), np.float64)
    expected = _reference(max_degree, x.astype(np.float64))
    np.testing.assert_allclose(values, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("max_degree", [0, 1, 3, 6])
def test_reduced_function_is_relatively_accurate_near_zero(max_degree: int, x64: None) -> None:
    x2 = [0.0, 5e-324, 1e-300, 1e-20, 1e-8, 1e-3, 0.1, 0.9]
    values = np.asarray(reduced_spherical_bessel(max_degree, jnp.asarray(x2)))
    expected = [[_series(degree, t) for degree in range(max_degree + 1)] for t in x2]
    np.testing.assert_allclose(values, expected, rtol=2e-15)


@pytest.mark.parametrize("degree", range(7))
def test_both_formulas_agree_at_the_switching_point(degree: int, x64: None) -> None:
    # Degrees must not depend on how many are asked for, whichever formula that selects.
    x2 = jnp.linspace(0.0, 60.0, 601)
    values = np.stack(
        [reduced_spherical_bessel(top, x2)[:, degree] for top in range(degree, 11)], axis=-1
    )
    scale = np.maximum(np.sqrt(x2), 1.0)[:, None] ** degree
    assert np.ptp(values * scale, axis=-1).max() < 2e-15


def test_sign_of_the_argument() -> None:
    x = jnp.linspace(0.1, 40.0, 50)
    parity = (-1.0) ** np.arange(6)
    np.testing.assert_array_equal(spherical_bessel(5, -x), spherical_bessel(5, x) * parity)


def _derivative(
    function: Callable[[jax.Array], jax.Array], order: int
) -> Callable[[jax.Array], jax.Array]:
    for i in range(order):
        # Alternating the modes exercises both, and their compositions.
        function = jax.jacrev(function) if i % 2 else jax.jacfwd(function)
    return function


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_derivatives_at_zero(order: int, x64: None) -> None:
    expected = np.zeros(6)
    expected_reduced = np.zeros(6)
    for degree in range(6):
        k, odd = divmod(order - degree, 2)
        if k >= 0 and not odd:
            expected[degree] = _series_coefficient(degree, k) * math.factorial(order)
        expected_reduced[degree] = _series_coefficient(degree, order) * math.factorial(order)
    zero = jnp.asarray(0.0)
    got = _derivative(lambda x: spherical_bessel(5, x), order)(zero)
    np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-16)
    got = _derivative(lambda t: reduced_spherical_bessel(5, t), order)(zero)
    np.testing.assert_allclose(got, expected_reduced, rtol=1e-14)


def test_known_derivatives_at_zero() -> None:
    def j(degree: int) -> Callable[[jax.Array], jax.Array]:
        return lambda x: spherical_bessel(degree, x)[degree]

    zero = jnp.asarray(0.0)
    np.testing.assert_allclose(jax.grad(jax.grad(j(0)))(zero), -1 / 3, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(j(1))(zero), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(jax.grad(j(2)))(zero), 2 / 15, rtol=1e-6)


@jax.jit
def _with_derivatives(x: jax.Array) -> list[jax.Array]:
    return [_derivative(lambda y: spherical_bessel(6, y), order)(x) for order in range(4)]


@_PROPERTY
@hypothesis.given(x=st.floats(-60.0, 60.0))
@hypothesis.example(x=0.0)
@hypothesis.example(x=1e-200)
@hypothesis.example(x=1.0)
@hypothesis.example(x=math.sqrt(21.0))
def test_derivatives_obey_the_differential_equation(x: float) -> None:
    with jax.enable_x64(True):
        j, j1, j2, j3 = (np.asarray(value) for value in _with_derivatives(jnp.asarray(x)))
    degrees = np.arange(7)
    factor = x * x - degrees * (degrees + 1)
    scale = max(1.0, x * x) + degrees * (degrees + 1)
    assert np.all(np.abs(x * x * j2 + 2 * x * j1 + factor * j) < 1e-14 * scale)
    # Its derivative involves the third derivative.
    residual = x * x * j3 + 4 * x * j2 + (factor + 2) * j1 + 2 * x * j
    assert np.all(np.abs(residual) < 1e-14 * scale)


@_PROPERTY
@hypothesis.given(x=st.floats(0.05, 60.0))
def test_first_derivative_obeys_the_recurrence(x: float) -> None:
    with jax.enable_x64(True):
        j, j1, *_ = (np.asarray(value) for value in _with_derivatives(jnp.asarray(x)))
    degrees = np.arange(1, 7)
    np.testing.assert_allclose(j1[0], -j[1], atol=1e-15)
    expected = j[:-1] - (degrees + 1) / x * j[1:]
    np.testing.assert_allclose(j1[1:], expected, rtol=0, atol=1e-14 * max(1.0, 1 / x))


@jax.jit
def _reduced_by_both(x2: jax.Array) -> tuple[jax.Array, jax.Array]:
    slope = jax.jacrev(lambda t: reduced_spherical_bessel(5, t))(x2)
    return slope, reduced_spherical_bessel(6, x2)


@_PROPERTY
@hypothesis.given(x2=st.floats(0.0, 1e6))
def test_reduced_derivative_is_the_next_degree(x2: float) -> None:
    with jax.enable_x64(True):
        slope, values = (np.asarray(value) for value in _reduced_by_both(jnp.asarray(x2)))
    np.testing.assert_allclose(slope, -0.5 * values[1:], rtol=1e-15, atol=0)


def test_gradients_match_finite_differences(x64: None) -> None:
    rng = np.random.default_rng(1)
    for function, x in (
        (spherical_bessel, rng.uniform(-12.0, 12.0, 8)),
        (reduced_spherical_bessel, rng.uniform(0.1, 30.0, 8)),
    ):
        # The numerical side of the check passes NumPy arrays.
        def evaluate(y: jax.Array, function: _Function = function) -> jax.Array:
            return function(3, jnp.asarray(y))

        check_grads(evaluate, (jnp.asarray(x),), order=2, atol=1e-6, rtol=1e-6)


def test_kernel_is_smooth_where_atoms_coincide(x64: None) -> None:
    def kernel(r: jax.Array, frequency: jax.Array) -> jax.Array:
        radial = reduced_spherical_bessel_by_degree(2, frequency**2 * jnp.sum(r * r))
        # Of degree 2 one solid harmonic is enough here, sqrt(3) x y.
        y = [radial[0], *(radial[1] * frequency * r)]
        return jnp.stack([*y, radial[2] * frequency * frequency * math.sqrt(3) * r[0] * r[1]])

    @jax.jit
    def derivatives(r: jax.Array, frequency: jax.Array) -> tuple[jax.Array, jax.Array]:
        def along(s: jax.Array) -> jax.Array:
            return kernel(r + s * jnp.asarray([0.3, -0.7, 0.2]), frequency + 0.4 * s)

        def squared_gradient(r: jax.Array, frequency: jax.Array) -> jax.Array:
            gradient = jax.grad(lambda x: jnp.sum(jnp.sin(kernel(x, frequency))))(r)
            return jnp.sum(gradient**2)

        third = _derivative(along, 3)(jnp.zeros(()))
        return third, jax.grad(squared_gradient)(r, frequency)

    zero, frequency = jnp.zeros(3), jnp.asarray(1.7)
    hessian = jax.jit(jax.hessian(lambda r: kernel(r, frequency)[0]))(zero)
    np.testing.assert_allclose(hessian, -(1.7**2) / 3 * np.eye(3), atol=1e-15)
    for r, omega in ((zero, frequency), (zero, jnp.asarray(0.0)), (jnp.ones(3), jnp.asarray(0.0))):
        for leaf in derivatives(r, omega):
            assert np.isfinite(leaf).all()
    # Away from zero it is the plain formula.
    r = jnp.asarray([0.3, -1.1, 0.8])
    j = _reference(2, np.asarray(1.7 * np.linalg.norm(r)))
    direction = r / jnp.linalg.norm(r)
    product = math.sqrt(3) * direction[0] * direction[1]
    plain = jnp.stack([j[0], *(j[1] * direction), j[2] * product])
    np.testing.assert_allclose(jax.jit(kernel)(r, frequency), plain, atol=1e-15)


@pytest.mark.parametrize("function", [spherical_bessel, reduced_spherical_bessel])
def test_transformations_agree(function: _Function) -> None:
    def evaluate(x: jax.Array) -> jax.Array:
        return function(2, x)

    def slope(x: jax.Array) -> jax.Array:
        return jax.grad(lambda y: jnp.sum(jnp.sin(evaluate(y))))(x)

    x = jnp.asarray([[0.0, 0.5, 0.99], [1.01, 7.0, 30.0]])
    assert evaluate(x).shape == (2, 3, 3)
    for f in (evaluate, slope):
        np.testing.assert_allclose(jax.jit(f)(x), f(x), atol=2e-7)
        np.testing.assert_allclose(jax.vmap(jax.vmap(f))(x), f(x), atol=2e-7)
        np.testing.assert_allclose(jax.jit(jax.checkpoint(f))(x), f(x), atol=2e-7)
        np.testing.assert_allclose(jax.lax.map(f, x), f(x), atol=2e-7)


def test_one_array_per_degree() -> None:
    x2 = jnp.linspace(0.0, 100.0, 30)
    parts = reduced_spherical_bessel_by_degree(4, x2)
    assert len(parts) == 5
    np.testing.assert_array_equal(jnp.stack(parts, axis=-1), reduced_spherical_bessel(4, x2))


def test_strict_promotion_is_respected() -> None:
    x = jnp.linspace(0.0, 9.0, 4, dtype=jnp.float32)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for function in (spherical_bessel, reduced_spherical_bessel):
            for max_degree in (0, 3):
                value, tangent = jax.jvp(lambda y, f=function, d=max_degree: f(d, y), (x,), (x,))
                assert value.dtype == tangent.dtype == jnp.float32


def test_invalid_arguments() -> None:
    with pytest.raises(InputError, match="max_degree is -1"):
        spherical_bessel(-1, jnp.ones(3))
    with pytest.raises(InputError, match="max_degree is -2"):
        reduced_spherical_bessel(-2, jnp.ones(3))
    if CONTRACTS:
        with pytest.raises(Exception, match="x2"):
            reduced_spherical_bessel(1, jnp.arange(3))
