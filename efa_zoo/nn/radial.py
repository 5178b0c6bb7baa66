"""Radial basis functions and cutoffs of a distance, those of e3x by name."""

from __future__ import annotations

import functools
import math

import e3x
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.config import MessagePassingConfig
from efa_zoo.base.contracts import contract

__all__ = ["bernstein", "radial_functions"]


@contract
def radial_functions(
    distances: Float[Array, "*shape"], config: MessagePassingConfig
) -> Float[Array, "*shape {config.num_radial}"]:
    """Radial basis functions times the cutoff function.

    The Bernstein polynomials are our own: e3x 1.0.2 takes their binomials from `betaln`, which JAX
    computes to 4e-7 even in float64, so that e3x's derivative is not that of its values. Names that
    begin with `e3x_` give e3x's, for networks that were trained with them.

    Args:
        distances: in Å, positive.
        config: kind and number of functions, their scale, and the cutoff.

    Returns:
        The functions along a new last axis.
    """
    name, num = config.radial_basis, config.num_radial
    kind = name.removeprefix("e3x_")
    limit = config.cutoff if config.radial_scale is None else config.radial_scale
    gamma = 1.0 if config.radial_scale is None else config.radial_scale
    # e3x mixes weak and strong dtypes in its radial functions.
    with jax.numpy_dtype_promotion("standard"):
        if name == "basic_bernstein":
            radial = bernstein(distances / limit, num)
        elif name == "exponential_bernstein":
            radial = bernstein(1 - e3x.nn.exponential_mapping(distances, gamma), num)
        elif name == "reciprocal_bernstein":
            radial = bernstein(1 - e3x.nn.reciprocal_mapping(distances), num)
        elif kind.startswith("exponential"):
            radial = getattr(e3x.nn, kind)(distances, num, gamma=gamma)
        elif kind.startswith("reciprocal"):
            radial = getattr(e3x.nn, kind)(distances, num)
        else:
            radial = getattr(e3x.nn, kind)(distances, num, limit=limit)
        if config.cutoff_function != "none":
            cut = getattr(e3x.nn, config.cutoff_function)(distances, cutoff=config.cutoff)
            radial = radial * cut[..., None]
        return radial.astype(distances.dtype)


def bernstein(x: Float[Array, "*shape"], num: int) -> Float[Array, "*shape num"]:
    """Bernstein polynomials of degree n = num - 1, C(n, k) x^k (1 - x)^(n - k) for k = 0 … n.

    Args:
        x: points; outside of 0 to 1 the values at the nearer end are given.
        num: number of polynomials.

    Returns:
        The polynomials along a new last axis. Derivatives of every order are exact, by the
        recursion B'_{n,k} = n (B_{n-1,k-1} - B_{n-1,k}).
    """
    return _bernstein(x, num)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _bernstein(x: Array, num: int) -> Array:
    degree, powers = num - 1, np.arange(num)
    logarithms = np.asarray([math.log(math.comb(degree, k)) for k in range(num)])
    inside = (x > 0) & (x < 1)
    safe = jnp.where(inside, x, 0.5)[..., None]
    exponents = (
        jnp.asarray(logarithms, x.dtype)
        + jnp.asarray(powers, x.dtype) * jnp.log(safe)
        + jnp.asarray(degree - powers, x.dtype) * jnp.log1p(-safe)
    )
    at_end = jnp.where(x[..., None] > 0.5, powers == degree, powers == 0).astype(x.dtype)
    return jnp.where(inside[..., None], jnp.exp(exponents), at_end)


@_bernstein.defjvp
def _bernstein_jvp(num: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    values = _bernstein(x, num)
    if num == 1:
        return values, jnp.zeros_like(values)
    lower = _bernstein(x, num - 1)
    zero = jnp.zeros_like(lower[..., :1])
    difference = jnp.concatenate([zero, lower], -1) - jnp.concatenate([lower, zero], -1)
    return values, (num - 1) * difference * dx[..., None]
