"""Products of matrices: one for all rows, or one for each degree of equivariant features.

XLA's CPU compiler has quick code for products A B and A Bᵀ. The derivative with respect to B is
Aᵀ C, which it computes several times as slowly, or by way of a transposition of C and of all that C
is the sum of. There Aᵀ is laid out in memory first. Precision is the highest: accelerators would
round factors of float32 otherwise, and lose the symmetry.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.contractions._multilinear import Derivative, Form, multilinear, pick

__all__ = ["degreewise_product", "matrix_product"]


@contract
def matrix_product(
    first: Float[Array, "rows inner"], second: Float[Array, "inner columns"]
) -> Float[Array, "rows columns"]:
    """Product of two matrices, the second of which the molecules of a batch may share.

    Args:
        first: many rows.
        second: usually weights.

    Returns:
        The product, differentiable any number of times in both modes.
    """
    return _product(first, second)


@contract
def degreewise_product(
    features: Float[Array, "rows parities components inner"],
    weights: Float[Array, "parities degrees inner outer"],
) -> Float[Array, "rows parities components outer"]:
    """Multiply the features of each parity and degree with a matrix of their own.

    Args:
        features: of (degree + 1)² components, as e3x sorts them.
        weights: the matrices, which the molecules of a batch may share.

    Returns:
        The products, differentiable any number of times in both modes.
    """
    return _degreewise(features, weights)


def _multiply(first: Array, second: Array) -> Array:
    return jnp.matmul(first, second, precision=jax.lax.Precision.HIGHEST)


def _einsum(subscripts: str, *operands: Array) -> Array:
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)


def _flipped(matrices: Array) -> Array:
    # Without the barrier XLA would make the transposition part of the product again.
    return jax.lax.optimization_barrier(jnp.swapaxes(matrices, -2, -1))


_product = multilinear(
    Form("matrix_product", ("first", "second", "result"), (2, 2, 2), (True, False, True)),
    Derivative(
        lambda second, result: _multiply(result, second.T),
        lambda second, result: (result[0], second[0]),
    ),
    Derivative(
        lambda first, result: _multiply(first.T, result),
        lambda first, result: (first[1], result[1]),
        lambda first, result: _multiply(_flipped(first), result),
    ),
    Derivative(_multiply, lambda first, second: (first[0], second[1])),
)[-1]


def _degrees(components: int) -> np.ndarray:
    degrees = np.arange(math.isqrt(components))
    return np.repeat(degrees, 2 * degrees + 1)


def _to_features(weights: Array, result: Array) -> Array:
    return _einsum("rpco,pcio->rpci", result, pick(weights, _degrees(result.shape[2]), 1))


def _to_weights(features: Array, result: Array) -> Array:
    degrees = _degrees(features.shape[2])
    of_components = _einsum("rpci,rpco->cpio", features, result)
    belongs = jnp.asarray(np.arange(degrees[-1] + 1)[:, None] == degrees, features.dtype)
    return _einsum("lc,cpio->plio", belongs, of_components)


def _to_result(features: Array, weights: Array) -> Array:
    return _einsum("rpci,pcio->rpco", features, pick(weights, _degrees(features.shape[2]), 1))


def _by_degree(array: Array) -> list[Array]:
    """`[parities, rows, features]` of each degree, where features still lie next to each other."""
    ends = np.arange(1, math.isqrt(array.shape[2])) ** 2
    parts = [jnp.moveaxis(part, 1, 0) for part in jnp.split(array, ends, axis=2)]
    return [part.reshape(array.shape[1], -1, array.shape[3]) for part in parts]


def _from_degrees(parts: list[Array], rows: int) -> Array:
    moved = [jnp.moveaxis(x.reshape(len(x), rows, -1, x.shape[-1]), 0, 1) for x in parts]
    return jnp.concatenate(moved, axis=2)


def _to_features_on_cpu(weights: Array, result: Array) -> Array:
    transposed = jnp.swapaxes(weights, 2, 3)
    parts = [_multiply(part, transposed[:, l]) for l, part in enumerate(_by_degree(result))]
    return _from_degrees(parts, result.shape[0])


def _to_weights_on_cpu(features: Array, result: Array) -> Array:
    parts = zip(_by_degree(features), _by_degree(result), strict=True)
    return jnp.stack([_multiply(_flipped(x), y) for x, y in parts], axis=1)


def _to_result_on_cpu(features: Array, weights: Array) -> Array:
    parts = [_multiply(part, weights[:, l]) for l, part in enumerate(_by_degree(features))]
    return _from_degrees(parts, features.shape[0])


_degreewise = multilinear(
    Form("degreewise_product", ("features", "weights", "result"), (4, 4, 4), (True, False, True)),
    Derivative(
        _to_features,
        lambda weights, result: (*result[:3], weights[2]),
        _to_features_on_cpu,
    ),
    Derivative(
        _to_weights,
        lambda features, result: (
            features[1],
            math.isqrt(features[2]),
            features[3],
            result[3],
        ),
        _to_weights_on_cpu,
    ),
    Derivative(
        _to_result,
        lambda features, weights: (*features[:3], weights[3]),
        _to_result_on_cpu,
    ),
)[-1]
