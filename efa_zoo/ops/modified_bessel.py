r"""Modified spherical Bessel functions, scaled, with exact derivatives of every order.

:math:`\hat\imath_l(x) = e^{-x}\,i_l(x)` with :math:`i_l(x) = \sqrt{\pi/2x}\;I_{l+1/2}(x)` are what
a Gaussian window makes of a wave's Fourier transform. They are not negative and never overflow.

.. math::
    \hat\imath_0 = \frac{1 - e^{-2x}}{2x}, \qquad
    \frac{d\hat\imath_l}{dx} = \frac{l\,\hat\imath_{l-1} + (l+1)\,\hat\imath_{l+1}}{2l+1}
    - \hat\imath_l,

and the latter is the derivative rule given to JAX. Above a switching point the recurrence runs
upward; below it the ratios :math:`\rho_l = i_{l+1}/(x\,i_l)` come from their continued fraction
:math:`\rho_{l-1} = 1/(2l + 1 + x^2 \rho_l)`, all of whose terms are positive. (NIST Digital Library
of Mathematical Functions, sections 10.49 and 10.51.)
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError

__all__ = ["scaled_modified_spherical_bessel"]


def _switching_point(max_degree: int) -> float:
    """The argument from which on upward recurrence to `max_degree` is accurate."""
    return float(max(1, max_degree * (max_degree + 1)))


def _first_ratio(max_degree: int, limit: float, precision: float) -> int:
    """The number of the ratio that may be taken for zero, for 0 <= x <= limit."""

    def last(start: int) -> float:
        ratio = 0.0
        for degree in range(start, max_degree - 1, -1):
            ratio = 1 / (2 * degree + 1 + limit**2 * ratio)
        return ratio

    start = max_degree + 1
    while abs(last(start) / last(start + 8) - 1) > 0.1 * precision:
        start += 4
    return start


def _values(max_degree: int, x: Array) -> tuple[Array, ...]:
    """The functions of degree 0 ... L for x >= 0."""
    limit = _switching_point(max_degree)
    positive = jnp.where(x > 0, x, 1.0)
    lowest = jnp.where(x > 0, -0.5 * jnp.expm1(-2.0 * positive) / positive, 1.0)
    if max_degree == 0:
        return (lowest,)
    small = jnp.minimum(x, limit)
    ratio, ratios = jnp.zeros_like(x), []
    for degree in range(_first_ratio(max_degree, limit, float(jnp.finfo(x.dtype).eps)), 0, -1):
        ratio = 1.0 / ((2 * degree + 1) + small**2 * ratio)
        if degree <= max_degree:
            ratios.append(ratio)
    near = [lowest]
    for ratio in reversed(ratios):
        near.append(near[-1] * (small * ratio))
    large = jnp.maximum(x, limit)
    inverse = 1.0 / large
    far = [lowest, (0.5 + 0.5 * jnp.exp(-2.0 * large)) * inverse - lowest * inverse]
    for degree in range(1, max_degree):
        far.append(far[-2] - (2 * degree + 1) * inverse * far[-1])
    return tuple(jnp.where(x < limit, a, b) for a, b in zip(near, far, strict=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _with_derivative(max_degree: int, x: Array) -> tuple[Array, ...]:
    return _values(max_degree, x)


@_with_derivative.defjvp
def _jvp(
    max_degree: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    (x,), (dx,) = primals, tangents
    values = _with_derivative(max_degree + 1, x)
    slopes = [values[1] - values[0]]
    for degree in range(1, max_degree + 1):
        neighbors = degree * values[degree - 1] + (degree + 1) * values[degree + 1]
        slopes.append(neighbors * (1.0 / (2 * degree + 1)) - values[degree])
    return values[:-1], tuple(slope * dx for slope in slopes)


@contract
def scaled_modified_spherical_bessel(
    max_degree: int, x: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], ...]:
    """Modified spherical Bessel functions of the first kind times exp(-x), one array per degree.

    Args:
        max_degree: highest degree L >= 0.
        x: arguments >= 0, dimensionless. Negative values are not supported.

    Returns:
        The L+1 arrays exp(-x) i_l(x), each of the shape and dtype of `x`. Differentiable any number
        of times, also at x = 0.

    Raises:
        InputError: if `max_degree` is negative.
    """
    if max_degree < 0:
        raise InputError(f"max_degree is {max_degree}, expected an integer >= 0")
    return _with_derivative(max_degree, x)
