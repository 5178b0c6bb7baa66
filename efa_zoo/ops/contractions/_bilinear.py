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
from jax.sharding import AxisType
from jaxtyping import Array

from efa_zoo.base.errors import InputError

__all__ = ["bilinear", "has_explicit_axes"]

Operation = Callable[..., Array]


def bilinear(
    name: str,
    compute: Operation,
    shape: Callable[..., tuple[int, ...]],
    *,
    operands: tuple[str, str] = ("first", "second"),
    to_first: Operation,
    to_second: Operation,
    rows: tuple[bool, bool],
) -> Operation:
    """Make an operation that is linear in each of two arrays.

    A derivative rule of one's own (`jax.custom_vjp`) would end forward mode, and with it
    `jax.hessian`; a primitive with its two transposes keeps every mode and order.

    Within `jax.shard_map` both arrays are made to vary over the axes that either varies over, as
    JAX's own operations do, so that the derivative of what is shared is summed over the devices.
    Where axes of a mesh are explicit, the result is computed by JAX's operations themselves, which
    know how products over a divided axis are laid out.

    Args:
        name: of the operation, as traced programs show it.
        compute: the operation, from `(first, second, **static)`.
        shape: of its result, from the shapes of the two.
        operands: what errors call the two arrays.
        to_first: its transpose with respect to the first array, from
            `(cotangent, first, second, **static)`, where `first` is not known.
        to_second: the same with respect to the second one.
        rows: which of the arrays begin with an axis of rows, as then the result does, too. If
            `jax.vmap` maps over just these, it makes them longer: arrays that are shared, such as
            weights, are not copied, and the operation keeps its form.

    Returns:
        The operation. It raises an `InputError` where the dtypes of the two arrays differ.
    """
    primitive = Primitive(name)

    @functools.cache
    def compiled(**static: Any) -> jax.stages.Wrapped:
        return jax.jit(lambda first, second: compute(first, second, **static))

    def evaluate(first: Array, second: Array, **static: Any) -> Array:
        return compiled(**static)(first, second)

    def operation(first: Array, second: Array, **static: Any) -> Array:
        if first.dtype != second.dtype:
            raise InputError(
                f"{name}: got {operands[0]} of {first.dtype} and {operands[1]} of {second.dtype}, "
                "expected one dtype"
            )
        if has_explicit_axes(first) or has_explicit_axes(second):
            return compute(first, second, **static)
        return primitive.bind(*_varying_alike(first, second), **static)

    def abstract(first: ShapedArray, second: ShapedArray, **static: Any) -> ShapedArray:
        if not (first.sharding.mesh.empty and second.sharding.mesh.empty):
            # How the result is spread over a mesh, JAX's own operations know.
            return compiled(**static).trace(first, second).jaxpr.out_avals[0]
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
    return operation


def has_explicit_axes(array: Array) -> bool:
    """Whether the layout of an array over the devices of a mesh is part of its type."""
    return AxisType.Explicit in jax.typeof(array).sharding.mesh.axis_types


def _varying_alike(*arrays: Array) -> list[Array]:
    """Arrays that vary over the same manual axes of a mesh."""
    axes = [_varying_axes(array) for array in arrays]
    every = frozenset[Any]().union(*axes)
    return [
        jax.lax.pcast(array, tuple(every - own), to="varying") if every - own else array
        for array, own in zip(arrays, axes, strict=True)
    ]


def _varying_axes(array: Array) -> frozenset[Any]:
    """The manual axes over which `jax.shard_map` says that an array varies."""
    kind: Any = jax.typeof(array)
    # Up to JAX 0.10.0 they were an attribute of the type itself.
    return kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying
