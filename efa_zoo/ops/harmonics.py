"""Real spherical harmonics by recurrence."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract

__all__ = ["spherical_harmonics"]


@contract
def spherical_harmonics(
    x: Float[Array, "*shape"], y: Float[Array, "*shape"], z: Float[Array, "*shape"], degree: int
) -> list[Float[Array, "*shape"]]:
    """Real spherical harmonics of unit vectors in Racah's normalisation.

    The order is e3x's: degree by degree, within one from the largest order down, for each order
    the cosine before the sine; that of degree 1 is x, y, z. The functions of degree l and order
    ±m are √(2 (l − m)! / (l + m)!) · dᵐPₗ(z)/dzᵐ · Re or Im (x + iy)ᵐ.

    They are the same polynomials as `e3x.so3.spherical_harmonics`, but trace to few operations,
    none of which moves data.

    Args:
        x: first component of the unit vectors.
        y: second component.
        z: third component.
        degree: largest degree.

    Returns:
        (degree + 1)² arrays.
    """
    one = jnp.ones_like(x)
    cosines, sines = [one], [jnp.zeros_like(x)]
    for _ in range(degree):
        cosine, sine = cosines[-1], sines[-1]
        cosines.append(x * cosine - y * sine)
        sines.append(x * sine + y * cosine)
    derivatives = _legendre_derivatives(z, degree)
    harmonics = []
    for l in range(degree + 1):
        for m in range(l, 0, -1):
            factor = math.sqrt(2 * math.factorial(l - m) / math.factorial(l + m))
            scaled = factor * derivatives[l, m]
            harmonics += [scaled * cosines[m], scaled * sines[m]]
        harmonics.append(derivatives[l, 0] * one)
    return harmonics


def _legendre_derivatives(z: Array, degree: int) -> dict[tuple[int, int], Array | float]:
    """Derivatives dᵐPₗ(z)/dzᵐ of Legendre polynomials, by (l, m)."""
    found: dict[tuple[int, int], Array | float] = {}
    for m in range(degree + 1):
        found[m, m] = float(math.prod(range(1, 2 * m, 2)))
        if m < degree:
            found[m + 1, m] = (2 * m + 1) * found[m, m] * z
        for l in range(m + 2, degree + 1):
            lower = (2 * l - 1) * z * found[l - 1, m] - (l + m - 1) * found[l - 2, m]
            found[l, m] = lower / (l - m)
    return found
