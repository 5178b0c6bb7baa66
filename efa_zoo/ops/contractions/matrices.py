"""Products of matrices, in the forms that are fast on a CPU.

XLA's CPU compiler has quick code for products A B and A Bᵀ. The derivative with respect to B is
Aᵀ C, which it computes several times as slowly, or by way of a transposition of C and of all that C
is the sum of. Here Aᵀ is laid out in memory first. Precision is the highest: accelerators would
round factors of float32 otherwise, and lose the symmetry.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.contractions._bilinear import bilinear, has_explicit_axes

__all__ = ["constant_product", "matrix_product"]


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
def constant_product(
    constants: Float[Array, "out inner"], stack: Float[Array, "stack inner columns"]
) -> Float[Array, "stack out columns"]:
    """Product of one matrix with every matrix of a stack.

    Args:
        constants: the common first factor.
        stack: the second factors.

    Returns:
        The products, differentiable any number of times in both modes.
    """
    return _constant_product(constants, stack)


def _multiply(first: Array, second: Array) -> Array:
    return jnp.matmul(first, second, precision=jax.lax.Precision.HIGHEST)


def _multiply_transposed(first: Array, second: Array) -> Array:
    return _multiply(first, second.T)


def _flipped(matrix: Array) -> Array:
    # Without the barrier XLA would make the transposition part of the product again.
    return jax.lax.optimization_barrier(matrix.T)


_product = bilinear(
    "matrix_product",
    _multiply,
    lambda first, second: (first[0], second[1]),
    to_first=lambda cotangent, _, second: _product_transposed(cotangent, second),
    to_second=lambda cotangent, first, _: _product(_flipped(first), cotangent),
    rows=(True, False),
)
_product_transposed = bilinear(
    "matrix_product_transposed",
    _multiply_transposed,
    lambda first, second: (first[0], second[0]),
    to_first=lambda cotangent, _, second: _product(cotangent, second),
    to_second=lambda cotangent, first, _: _product(_flipped(cotangent), first),
    rows=(True, False),
)


def _multiply_stack(constants: Array, stack: Array) -> Array:
    if has_explicit_axes(stack):  # this product lies on the devices as the stack does
        return jnp.einsum("oi,sif->sof", constants, stack, precision=jax.lax.Precision.HIGHEST)
    # One product for all of the stack would transpose the stack before and after.
    return _multiply(jnp.broadcast_to(constants, (stack.shape[0], *constants.shape)), stack)


def _constants_transposed(cotangent: Array, _: Any, stack: Array) -> Array:
    return jnp.einsum("sof,sif->oi", cotangent, stack, precision=jax.lax.Precision.HIGHEST)


_constant_product = bilinear(
    "constant_product",
    _multiply_stack,
    lambda constants, stack: (stack[0], constants[0], stack[2]),
    operands=("constants", "stack"),
    to_first=_constants_transposed,
    to_second=lambda cotangent, constants, _: _constant_product(constants.T, cotangent),
    rows=(False, True),
)
