r"""Spherical Bessel functions with exact derivatives of every order.

The plane wave averaged over all directions, against a spherical harmonic, is

.. math::
    \frac{1}{4\pi}\int e^{i\,\omega\,u\cdot r}\,Y_{lm}(u)\,du
    = i^l\,j_l(\omega|r|)\,Y_{lm}(r/|r|)
    = i^l\,\omega^l\,g_l(\omega^2|r|^2)\,R_{lm}(r),

with the reduced function :math:`g_l(x^2) = j_l(x)/x^l` and the solid harmonic
:math:`R_{lm}(r) = |r|^l\,Y_{lm}(r/|r|)`. Both :math:`g_l` and :math:`R_{lm}` are smooth at
:math:`r = 0`, so the right-hand form needs neither a square root of the distance nor a division,
and it has finite derivatives of every order for coinciding atoms and for :math:`\omega = 0`.

Both families of functions are closed under differentiation,

.. math::
    \frac{d g_l}{dt} = -\tfrac{1}{2}\,g_{l+1}, \qquad
    \frac{d j_l}{dx} = \frac{l\,j_{l-1} - (l+1)\,j_{l+1}}{2l+1},

and these identities are the derivative rules given to JAX: one more degree buys one more
derivative, and nothing is ever differentiated through the choice between the two formulas below.

Evaluation takes one sine and one cosine for all degrees. Above a switching point
:math:`x^2 = \max(1, L(L+1)/2)` the recurrence runs upward from :math:`j_0` and :math:`j_1`; below
it, where that would lose digits, the two highest degrees come from their power series and the
recurrence runs downward. (NIST Digital Library of Mathematical Functions, sections 10.49, 10.51
and 10.53.)
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.ops.trigonometry import sine_and_cosine

__all__ = ["reduced_spherical_bessel", "reduced_spherical_bessel_by_degree", "spherical_bessel"]


def _switching_point(max_degree: int) -> float:
    """The square of the argument from which on upward recurrence to `max_degree` is accurate.

    Half the square of the turning point sqrt(L(L+1)): upward recurrence has lost at most a few
    units in the last place there, and the power series is still short.
    """
    return max(1.0, 0.5 * max_degree * (max_degree + 1))


def _series(degree: int, t: Array, limit: float) -> Array:
    """Power series of (2l+1)!! g_l(t) for 0 <= t <= limit, to the precision of t's dtype."""
    tolerance = 0.1 * float(jnp.finfo(t.dtype).eps)
    terms = 1
    term = 0.5 * limit / (2 * degree + 3)
    while term > tolerance:
        terms += 1
        term *= 0.5 * limit / (terms * (2 * (degree + terms) + 1))
    value = jnp.ones_like(t)
    for k in range(terms, 0, -1):
        value = 1.0 - (0.5 / (k * (2 * (degree + k) + 1))) * t * value
    return value


def _reduced_near_zero(max_degree: int, t: Array, limit: float) -> list[Array]:
    """g_0 ... g_L for 0 <= t <= limit: series for the two highest degrees, then downward."""
    # Scaled by (2l+1)!! every degree starts at exactly 1, and rounding errors do not add up.
    scaled = [_series(max_degree, t, limit)]
    if max_degree > 0:
        scaled.append(_series(max_degree - 1, t, limit))
    for degree in range(max_degree - 1, 0, -1):
        scaled.append(scaled[-1] - (1.0 / ((2 * degree + 1) * (2 * degree + 3))) * t * scaled[-2])
    return [
        value * (1.0 / math.prod(range(1, 2 * degree + 2, 2)))
        for degree, value in enumerate(reversed(scaled))
    ]


def _reduced(max_degree: int, t: Array) -> tuple[Array, ...]:
    """g_0 ... g_L for t >= 0."""
    if max_degree == 0:
        # The quotient is accurate down to any t > 0.
        x = jnp.sqrt(jnp.where(t > 0, t, 1.0))
        return (jnp.where(t > 0, sine_and_cosine(x)[0] / x, 1.0),)
    limit = _switching_point(max_degree)
    low = t < limit
    near = _reduced_near_zero(max_degree, jnp.minimum(t, limit), limit)
    square = jnp.maximum(t, limit)
    inverse = 1.0 / square
    x = jnp.sqrt(square)
    sine, cosine = sine_and_cosine(x)
    far = [sine * (x * inverse)]
    far.append((far[0] - cosine) * inverse)
    for degree in range(1, max_degree):
        far.append(((2 * degree + 1) * far[degree] - far[degree - 1]) * inverse)
    return tuple(jnp.where(low, a, b) for a, b in zip(near, far, strict=True))


def _ordinary(max_degree: int, x: Array) -> tuple[Array, ...]:
    """j_0 ... j_L for x of any sign."""
    limit = _switching_point(max_degree)
    # Comparing x, not its square, keeps huge arguments from overflowing.
    low = jnp.abs(x) < math.sqrt(limit)
    small = jnp.where(low, x, 0.0)
    near = []
    power = jnp.ones_like(x)
    for value in _reduced_near_zero(max_degree, small * small, limit):
        near.append(value * power)
        power = power * small
    inverse = 1.0 / jnp.where(low, 1.0, x)
    sine, cosine = sine_and_cosine(x)
    far = [sine * inverse]
    if max_degree > 0:
        far.append((far[0] - cosine) * inverse)
    for degree in range(1, max_degree):
        far.append((2 * degree + 1) * inverse * far[degree] - far[degree - 1])
    return tuple(jnp.where(low, a, b) for a, b in zip(near, far, strict=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _reduced_with_derivative(max_degree: int, t: Array) -> tuple[Array, ...]:
    return _reduced(max_degree, t)


@_reduced_with_derivative.defjvp
def _reduced_jvp(
    max_degree: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    (t,), (dt,) = primals, tangents
    values = _reduced_with_derivative(max_degree + 1, t)
    return values[:-1], tuple((-0.5 * value) * dt for value in values[1:])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _ordinary_with_derivative(max_degree: int, x: Array) -> tuple[Array, ...]:
    return _ordinary(max_degree, x)


@_ordinary_with_derivative.defjvp
def _ordinary_jvp(
    max_degree: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    (x,), (dx,) = primals, tangents
    values = _ordinary_with_derivative(max_degree + 1, x)
    slopes = [-values[1]]
    for degree in range(1, max_degree + 1):
        below, above = values[degree - 1], values[degree + 1]
        slopes.append((degree * below - (degree + 1) * above) * (1.0 / (2 * degree + 1)))
    return values[:-1], tuple(slope * dx for slope in slopes)


def _check_degree(max_degree: int) -> None:
    if max_degree < 0:
        raise InputError(f"max_degree is {max_degree}, expected an integer >= 0")


@contract
def reduced_spherical_bessel_by_degree(
    max_degree: int, x2: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], ...]:
    r"""Reduced spherical Bessel functions of the squared argument, one array per degree.

    The form to use on large arrays: XLA fuses each degree with what consumes it and drops the
    degrees nobody reads, while `reduced_spherical_bessel` has to write all of them to memory.

    Args:
        max_degree: highest degree L >= 0.
        x2: squared arguments x² >= 0, dimensionless (for attention: ω²r²). Negative values are
            not supported.

    Returns:
        The L+1 arrays j_l(x)/x^l for l = 0 … L, each of the shape and dtype of `x2`;
        1/(2l+1)!! at x = 0. Differentiable any number of times, also at x = 0.

    Raises:
        InputError: if `max_degree` is negative.
    """
    _check_degree(max_degree)
    return _reduced_with_derivative(max_degree, x2)


@contract
def reduced_spherical_bessel(
    max_degree: int, x2: Float[Array, "*shape"]
) -> Float[Array, "*shape {max_degree}+1"]:
    r"""Reduced spherical Bessel functions j_l(x)/x^l as functions of x², degrees last.

    Args:
        max_degree: highest degree L >= 0.
        x2: squared arguments x² >= 0, dimensionless (for attention: ω²r²). Negative values are
            not supported.

    Returns:
        j_l(x)/x^l for l = 0 … L along a new last axis, in the dtype of `x2`; 1/(2l+1)!! at
        x = 0. Differentiable any number of times, also at x = 0.

    Raises:
        InputError: if `max_degree` is negative.
    """
    _check_degree(max_degree)
    return jnp.stack(_reduced_with_derivative(max_degree, x2), axis=-1)


@contract
def spherical_bessel(
    max_degree: int, x: Float[Array, "*shape"]
) -> Float[Array, "*shape {max_degree}+1"]:
    r"""Spherical Bessel functions of the first kind j_0 … j_L, degrees last.

    Args:
        max_degree: highest degree L >= 0.
        x: arguments of any sign, dimensionless; j_l(-x) = (-1)^l j_l(x).

    Returns:
        j_l(x) for l = 0 … L along a new last axis, in the dtype of `x`. Differentiable any
        number of times, also at x = 0.

    Raises:
        InputError: if `max_degree` is negative.
    """
    _check_degree(max_degree)
    return jnp.stack(_ordinary_with_derivative(max_degree, x), axis=-1)
