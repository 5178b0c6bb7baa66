r"""Boys functions with exact derivatives of every order, and the Coulomb fields made of them.

The Boys functions are

.. math::
    F_n(t) = \int_0^1 u^{2n}\,e^{-t u^2}\,du, \qquad
    F_0(t) = \tfrac{1}{2}\sqrt{\pi/t}\;\operatorname{erf}\sqrt{t}, \qquad
    \frac{d F_n}{dt} = -F_{n+1},

smooth at :math:`t = 0`. Coulomb's law of a charge that is a Gaussian of width :math:`\sigma`, with
:math:`a = 1/(\sqrt{2}\,\sigma)`, and the fields of its multipoles are

.. math::
    h_0(r^2) = \frac{\operatorname{erf}(a r)}{r}, \qquad
    R_{lm}(-\nabla)\,h_0 = h_l(r^2)\,R_{lm}(r), \qquad
    h_l(t) = \frac{2a}{\sqrt{\pi}}\,(2a^2)^l\,F_l(a^2 t) = \Big(\!-2\frac{d}{dt}\Big)^{\!l}\,h_0,

with the solid harmonics :math:`R_{lm}`. So :math:`h_l \to (2l-1)!!/r^{2l+1}` far away, and nothing
is singular where atoms coincide.

As for the spherical Bessel functions (`efa_zoo.ops.bessel`) the identity of the derivative is the
rule given to JAX, and nothing is ever differentiated through the choice between the two formulas
below. Above a switching point the recurrence
:math:`F_n = ((2n-1) F_{n-1} - e^{-t}) / 2t` runs upward from the error function; below it, where
that would lose digits, the highest order comes from a series and the recurrence runs downward, both
sums of positive terms. (NIST Digital Library of Mathematical Functions, sections 8.7 and 8.8.)
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError

__all__ = ["boys", "boys_by_order", "coulomb_fields"]


def _switching_point(max_order: int) -> float:
    """The argument from which on upward recurrence to `max_order` is accurate."""
    return max(1.0, 0.75 * max_order)


def _series(order: int, t: Array, limit: float) -> Array:
    """Series Σ_i (2t)^i / ((2n+1) (2n+3) … (2n+2i+1)) = F_n(t) exp(t) for 0 <= t <= limit."""
    tolerance = 0.1 * float(jnp.finfo(t.dtype).eps)
    terms = 1
    term = 2.0 * limit / (2 * order + 3)
    while term > tolerance:
        terms += 1
        term *= 2.0 * limit / (2 * (order + terms) + 1)
    value = jnp.ones_like(t)
    for i in range(terms, 0, -1):
        value = 1.0 + (2.0 / (2 * (order + i) + 1)) * t * value
    return value * (1.0 / (2 * order + 1))


def _values(max_order: int, t: Array) -> tuple[Array, ...]:
    """F_0 ... F_n for t >= 0."""
    if max_order == 0:
        # The quotient is accurate down to any t > 0.
        x = jnp.sqrt(jnp.where(t > 0, t, 1.0))
        return (jnp.where(t > 0, 0.5 * math.sqrt(math.pi) * jax.lax.erf(x) / x, 1.0),)
    limit = _switching_point(max_order)
    low = t < limit
    exponential = jnp.exp(-t)
    small = jnp.minimum(t, limit)
    near = [_series(max_order, small, limit) * exponential]
    for order in range(max_order, 0, -1):
        near.append((2.0 * small * near[-1] + exponential) * (1.0 / (2 * order - 1)))
    large = jnp.maximum(t, limit)
    x = jnp.sqrt(large)
    inverse = 1.0 / large
    far = [0.5 * math.sqrt(math.pi) * jax.lax.erf(x) * (x * inverse)]
    for order in range(1, max_order + 1):
        far.append(((order - 0.5) * far[-1] - 0.5 * exponential) * inverse)
    return tuple(jnp.where(low, a, b) for a, b in zip(reversed(near), far, strict=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _with_derivative(max_order: int, t: Array) -> tuple[Array, ...]:
    return _values(max_order, t)


@_with_derivative.defjvp
def _jvp(
    max_order: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    (t,), (dt,) = primals, tangents
    values = _with_derivative(max_order + 1, t)
    return values[:-1], tuple(-value * dt for value in values[1:])


def _check_order(name: str, order: int) -> None:
    if order < 0:
        raise InputError(f"{name} is {order}, expected an integer >= 0")


@contract
def boys_by_order(max_order: int, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], ...]:
    """Boys functions, one array per order.

    The form to use on large arrays: XLA fuses each order with what consumes it and drops the orders
    nobody reads.

    Args:
        max_order: highest order n >= 0.
        t: arguments >= 0, dimensionless. Negative values are not supported.

    Returns:
        F_0(t) … F_n(t), each of the shape and dtype of `t`; 1/(2n+1) at t = 0. Differentiable any
        number of times, also at t = 0.

    Raises:
        InputError: if `max_order` is negative.
    """
    _check_order("max_order", max_order)
    return _with_derivative(max_order, t)


@contract
def boys(max_order: int, t: Float[Array, "*shape"]) -> Float[Array, "*shape {max_order}+1"]:
    """Boys functions, orders last.

    Args:
        max_order: highest order n >= 0.
        t: arguments >= 0, dimensionless. Negative values are not supported.

    Returns:
        F_0(t) … F_n(t) along a new last axis, in the dtype of `t`; 1/(2n+1) at t = 0.
        Differentiable any number of times, also at t = 0.

    Raises:
        InputError: if `max_order` is negative.
    """
    _check_order("max_order", max_order)
    return jnp.stack(_with_derivative(max_order, t), axis=-1)


@contract
def coulomb_fields(
    max_degree: int, squared_distances: Float[Array, "*#shape"], widths: Float[Array, "*#shape"]
) -> tuple[Float[Array, "..."], ...]:
    """Radial parts h_l of the fields of Gaussian multipoles, one array per degree.

    The potential of a unit charge of width σ is h_0(r²) = erf(r/√2σ)/r, that of a multipole of
    degree l is h_l(r²) R_lm(r).

    Args:
        max_degree: highest degree L >= 0.
        squared_distances: r² >= 0, in Å².
        widths: σ > 0 in Å, of a shape that broadcasts with that of the distances.

    Returns:
        The L+1 arrays h_l(r²), in Å^-(2l+1). Differentiable any number of times by both arguments,
        also at r = 0.

    Raises:
        InputError: if `max_degree` is negative.
    """
    _check_order("max_degree", max_degree)
    squared = 0.5 / widths**2  # a²
    functions = _with_derivative(max_degree, squared * squared_distances)
    factor = math.sqrt(2 / math.pi) / widths
    fields: list[Array] = []
    for function in functions:
        fields.append(factor * function)
        factor = factor * (2.0 * squared)
    return tuple(fields)
