"""Bilinear operations whose derivatives are operations of the same kind, in both modes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

__all__ = ["bilinear"]

Operation = Callable[..., Array]


def bilinear(
    name: str,
    compute: Operation,
    shape: Callable[..., tuple[int, ...]],
    *,
    to_first: Operation,
    to_second: Operation,
    rows: tuple[bool, bool],
) -> Operation:
    """Make an operation that is linear in each of two arrays.

    A derivative rule of one's own (`jax.custom_vjp`) would end forward mode, and with it
    `jax.hessian`; a primitive with its two transposes keeps every mode and order.

    Args:
        name: of the operation, as traced programs show it.
        compute: the operation, from `(first, second, **static)`.
        shape: of its result, from the shapes of the two.
        to_first: its transpose with respect to the first array, from
            `(cotangent, first, second, **static)`, where `first` is not known.
        to_second: the same with respect to the second one.
        rows: which of the arrays begin with an axis of rows, as then the result does, too. If
            `jax.vmap` maps over just these, it makes them longer: arrays that are shared, such as
            weights, are not copied, and the operation keeps its form.

    Returns:
        The operation.
    """
    primitive = Primitive(name)

    @functools.cache
    def compiled(**static: Any) -> Operation:
        return jax.jit(lambda first, second: compute(first, second, **static))

    def evaluate(first: Array, second: Array, **static: Any) -> Array:
        return compiled(**static)(first, second)

    def abstract(first: ShapedArray, second: ShapedArray, **static: Any) -> ShapedArray:
        return ShapedArray(shape(first.shape, second.shape, **static), first.dtype)

    def batch(
        arrays: tuple[Array, Array], axes: tuple[int | None, int | None], **static: Any
    ) -> tuple[Array, int]:
        if any(rows) and rows == tuple(axis is not None for axis in axes):
            moved = [
                x if axis is None else jnp.moveaxis(x, axis, 0)
                for x, axis in zip(arrays, axes, strict=True)
            ]
            sizes = next(x.shape[:2] for x, has_rows in zip(moved, rows, strict=True) if has_rows)
            merged = [
                x.reshape(-1, *x.shape[2:]) if has_rows else x
                for x, has_rows in zip(moved, rows, strict=True)
            ]
            result = primitive.bind(*merged, **static)
            return result.reshape(*sizes, *result.shape[1:]), 0
        return jax.vmap(lambda x, y: compute(x, y, **static), axes)(*arrays), 0

    def apart(first: Array, second: Array, **static: Any) -> Array:
        return jax.lax.optimization_barrier(compute(first, second, **static))

    primitive.def_impl(evaluate)
    primitive.def_abstract_eval(abstract)
    ad.defbilinear(primitive, to_first, to_second)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(apart, multiple_results=False))
    return primitive.bind
