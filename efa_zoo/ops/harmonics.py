"""Real spherical harmonics by recurrence, of JAX's arrays and of constants.

The order is e3x's: degree by degree, within one from the largest order down, for each order the
cosine before the sine; those of degree 1 are x, y, z. The solid harmonics of degree l and order ±m
are the polynomials √(2 (l − m)! / (l + m)!) · rˡ⁻ᵐ Pₗ⁽ᵐ⁾(z/r) · Re or Im (x + iy)ᵐ (Racah's
normalisation), and the spherical harmonics are their values at unit vectors.

They are those of `e3x.so3`, but trace to few operations, none of which moves data.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract

__all__ = ["constant_harmonics", "solid_harmonics", "spherical_harmonics"]

_Numbers = TypeVar("_Numbers", Array, np.ndarray)


@contract
def spherical_harmonics(
    x: Float[Array, "*shape"], y: Float[Array, "*shape"], z: Float[Array, "*shape"], degree: int
) -> list[Float[Array, "*shape"]]:
    """Evaluate the spherical harmonics of unit vectors.

    Args:
        x: first component of the unit vectors.
        y: second component.
        z: third component.
        degree: largest degree.

    Returns:
        (degree + 1)² arrays.
    """
    return _harmonics(jnp.ones_like(x), x, y, z, 1.0, degree)


@contract
def solid_harmonics(
    x: Float[Array, "*shape"], y: Float[Array, "*shape"], z: Float[Array, "*shape"], degree: int
) -> list[Float[Array, "*shape"]]:
    """Evaluate the solid harmonics rˡ Yₗₘ of vectors, polynomials without a pole at zero.

    Args:
        x: first component of the vectors.
        y: second component.
        z: third component.
        degree: largest degree.

    Returns:
        (degree + 1)² arrays.
    """
    squared = x * x + y * y + z * z if degree > 1 else 1.0
    return _harmonics(jnp.ones_like(x), x, y, z, squared, degree)


@contract
def constant_harmonics(
    directions: Float[np.ndarray, "directions 3"], degree: int
) -> Float[np.ndarray, "directions {(degree+1)**2}"]:
    """Evaluate the spherical harmonics of constant unit vectors by NumPy, in their own precision.

    Args:
        directions: the unit vectors.
        degree: largest degree.

    Returns:
        One column per harmonic.
    """
    x, y, z = directions.T
    return np.stack(_harmonics(np.ones_like(x), x, y, z, 1.0, degree), axis=-1)


def _harmonics(
    one: _Numbers, x: _Numbers, y: _Numbers, z: _Numbers, squared: _Numbers | float, degree: int
) -> list[_Numbers]:
    """All polynomials up to a degree, given r²."""
    cosines, sines = [one, x], [one, y]  # no function has the sine of order 0
    for _ in range(1, degree):
        cosine, sine = cosines[-1], sines[-1]
        cosines.append(x * cosine - y * sine)
        sines.append(x * sine + y * cosine)
    derivatives = _legendre_derivatives(z, squared, degree)
    harmonics = []
    for l in range(degree + 1):
        for m in range(l, 0, -1):
            factor = math.sqrt(2 * math.factorial(l - m) / math.factorial(l + m))
            scaled = factor * derivatives[l, m]
            harmonics += [scaled * cosines[m], scaled * sines[m]]
        harmonics.append(derivatives[l, 0] * one)
    return harmonics


def _legendre_derivatives(z: Any, squared: Any, degree: int) -> dict[tuple[int, int], Any]:
    """Polynomials rˡ⁻ᵐ Pₗ⁽ᵐ⁾(z/r) of z and r², by (l, m), with Legendre's m-th derivative."""
    found: dict[tuple[int, int], Any] = {}
    for m in range(degree + 1):
        found[m, m] = float(math.prod(range(1, 2 * m, 2)))
        if m < degree:
            found[m + 1, m] = (2 * m + 1) * found[m, m] * z
        for l in range(m + 2, degree + 1):
            below = (l + m - 1) * squared * found[l - 2, m]
            found[l, m] = ((2 * l - 1) * z * found[l - 1, m] - below) / (l - m)
    return found
