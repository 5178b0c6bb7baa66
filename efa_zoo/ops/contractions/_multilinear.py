"""Multilinear operations whose derivatives are operations of the same kind, in both modes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType
from jaxtyping import Array

from efa_zoo.base.errors import InputError

__all__ = ["Derivative", "Form", "multilinear", "multiply_and_sum", "pick"]

Operation = Callable[..., Array]
Shape = tuple[int, ...]


class Derivative(NamedTuple):
    """Derivative of a form with respect to one of its arrays, linear in each of the others.

    Attributes:
        compute: the derivative, from `(*others, **static)`, in few operations that read no array
            more often than they must: for compilers that fuse them.
        shape: of the result, from the shapes of the others.
        on_cpu: the same in the form that XLA's CPU compiler makes fast; None is `compute`.
    """

    compute: Operation
    shape: Callable[..., Shape]
    on_cpu: Operation | None = None


class Form(NamedTuple):
    """A number that is linear in each of several arrays.

    Attributes:
        name: traced programs show it with the array that an operation results in.
        arrays: names of the arrays.
        axes: number of axes of each array.
        rows: which of the arrays begin with an axis of rows. If `jax.vmap` maps over just these,
            they get more axes in front: arrays that are shared, such as weights, are not copied,
            and the operation keeps its form.
        by_row: each row of a result needs the same row of the other arrays only.
    """

    name: str
    arrays: tuple[str, ...]
    axes: tuple[int, ...]
    rows: tuple[bool, ...]
    by_row: bool = True


def multilinear(form: Form, *derivatives: Derivative) -> tuple[Operation, ...]:
    """Make the derivatives of a form: a number that is linear in each of several arrays.

    Each derivative is an operation on all arrays but one, in their order, and its own derivatives
    are the other ones. A derivative rule of one's own (`jax.custom_vjp`) would end forward mode,
    and with it `jax.hessian`; primitives with their transposes keep every mode and order.

    What a program computes is chosen where it is lowered, by the platform that it is lowered for.

    Within `jax.shard_map` all arrays are made to vary over the axes that any varies over, as JAX's
    own operations do, so that the derivative of what is shared is summed over the devices. Where
    axes of a mesh are explicit, the result is computed by JAX's operations themselves, which know
    how products over a divided axis are laid out.

    Args:
        form: whose derivatives they are.
        derivatives: one for each array.

    Returns:
        The operations, one for each array that they result in. They raise an `InputError` where the
        dtypes of the arrays differ.
    """
    primitives = [Primitive(f"{form.name}_{array}") for array in form.arrays]

    def bind(result: int, *operands: Array, **static: Any) -> Array:
        dtypes = [operand.dtype for operand in operands]
        if any(dtype != dtypes[0] for dtype in dtypes):
            named = [array for number, array in enumerate(form.arrays) if number != result]
            found = " and ".join(f"{a} of {d}" for a, d in zip(named, dtypes, strict=True))
            raise InputError(f"{form.name}: got {found}, expected one dtype")
        if any(_has_explicit_axes(operand) for operand in operands):
            return derivatives[result].compute(*operands, **static)
        return primitives[result].bind(*_varying_alike(*operands), **static)

    for result, derivative in enumerate(derivatives):
        others = [number for number in range(len(derivatives)) if number != result]
        primitive = primitives[result]
        each = _register(primitive, form, result, derivative)
        tangents = [functools.partial(_replaced, primitive, n) for n in range(len(others))]
        ad.defjvp(primitive, *tangents)
        ad.primitive_transposes[primitive] = functools.partial(_transposed, bind, result, others)
        batching.primitive_batchers[primitive] = functools.partial(
            _batched, primitive, form, result, each
        )
    return tuple(functools.partial(bind, result) for result in range(len(derivatives)))


def _register(primitive: Primitive, form: Form, result: int, derivative: Derivative) -> Operation:
    """Evaluation, shapes and lowerings; returns the operation by JAX's own ones."""
    rows = [has_rows for number, has_rows in enumerate(form.rows) if number != result]
    axes = [count for number, count in enumerate(form.axes) if number != result]

    def in_front(operands: Sequence[Any]) -> int:
        """Number of axes that `jax.vmap` has put in front of the rows."""
        return max(
            (x.ndim - count for x, count, own in zip(operands, axes, rows, strict=True) if own),
            default=0,
        )

    def merged(compute: Operation, *operands: Array, **static: Any) -> Array:
        """The operation with the axes in front merged into the rows."""
        count = in_front(operands)
        if count == 0:
            return compute(*operands, **static)
        flat = [
            x.reshape(-1, *x.shape[count + 1 :]) if own else x
            for x, own in zip(operands, rows, strict=True)
        ]
        sizes = next(x.shape[: count + 1] for x, own in zip(operands, rows, strict=True) if own)
        found = compute(*flat, **static)
        return found.reshape(*sizes, *found.shape[1:]) if form.rows[result] else found

    def mapped(compute: Operation, *operands: Array, **static: Any) -> Array:
        """The operation over all axes in front, which needs no other shapes."""
        compute = functools.partial(compute, **static)
        for _ in range(in_front(operands)):
            compute = jax.vmap(compute, [0 if own else None for own in rows])
        return compute(*operands)

    fused = functools.partial(mapped if form.rows[result] else merged, derivative.compute)

    on_cpu = functools.partial(
        merged if form.by_row else mapped, derivative.on_cpu or derivative.compute
    )

    def result_shape(operands: Sequence[Any], static: dict[str, Any]) -> Shape:
        count = in_front(operands)
        own = [x.shape[count:] if has else x.shape for x, has in zip(operands, rows, strict=True)]
        shape = derivative.shape(*own, **static)
        if not form.rows[result]:
            return shape
        first = next(x for x, has in zip(operands, rows, strict=True) if has)
        return (*first.shape[:count], *shape)

    @functools.cache
    def called(**static: Any) -> Any:
        @functools.partial(jax.jit, static_argnums=0)
        def call(shapes: tuple[Shape, ...], *operands: Array) -> Array:
            whole = [x.reshape(shape) for x, shape in zip(operands, shapes, strict=True)]
            with set_xla_metadata(inlineable="true"):
                return _without_ones(on_cpu(*whole, **static))

        return call

    def apart(*operands: Array, **static: Any) -> Array:
        # XLA's CPU compiler would compute again what it fuses with several others: it forgets
        # barriers before it fuses, but fuses nothing with a function that stays one. What comes
        # and goes has no axes of length 1, whose order in memory would be a reason for copies.
        shapes = tuple(operand.shape for operand in operands)
        with set_xla_metadata(inlineable="false"):
            found = called(**static)(shapes, *map(_without_ones, operands))
        return found.reshape(result_shape(operands, static))

    def each(*operands: Array, **static: Any) -> Array:
        common = functools.partial(fused, **static)
        if derivative.on_cpu is None:
            return common(*operands)
        cpu = functools.partial(on_cpu, **static)
        return jax.lax.platform_dependent(*operands, cpu=cpu, default=common)

    @functools.cache
    def compiled(**static: Any) -> Any:
        return jax.jit(functools.partial(primitive.bind, **static))

    @functools.cache
    def traced(**static: Any) -> Any:
        return jax.jit(functools.partial(fused, **static))

    def abstract(*operands: ShapedArray, **static: Any) -> ShapedArray:
        if not all(operand.sharding.mesh.empty for operand in operands):
            # How the result is spread over a mesh, JAX's own operations know.
            return traced(**static).trace(*operands).jaxpr.out_avals[0]
        return ShapedArray(result_shape(operands, static), operands[0].dtype)

    primitive.def_impl(lambda *operands, **static: compiled(**static)(*operands))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(fused, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(apart, multiple_results=False), "cpu")
    return each


def _without_ones(array: Array) -> Array:
    """An array without its axes of length 1."""
    return array.reshape([n for n in array.shape if not (isinstance(n, int) and n == 1)])


def _replaced(
    primitive: Primitive, number: int, tangent: Array, *operands: Array, **static: Any
) -> Array:
    """The operation with the tangent of one operand instead of itself."""
    return primitive.bind(*operands[:number], tangent, *operands[number + 1 :], **static)


def _transposed(
    bind: Operation,
    result: int,
    others: list[int],
    cotangent: Any,
    *operands: Any,
    **static: Any,
) -> list[Array | None]:
    """The cotangent of the operand that is not known, by its own operation of the form."""
    (unknown,) = (n for n, operand in enumerate(operands) if ad.is_undefined_primal(operand))
    if isinstance(cotangent, ad.Zero):
        return [None] * len(operands)
    given = {result: cotangent, **dict(zip(others, operands, strict=True))}
    del given[others[unknown]]
    found = bind(others[unknown], *(given[number] for number in sorted(given)), **static)
    return [found if n == unknown else None for n in range(len(operands))]


def _batched(
    primitive: Primitive,
    form: Form,
    result: int,
    each: Operation,
    operands: Sequence[Array],
    axes: Sequence[int | None],
    **static: Any,
) -> tuple[Array, int]:
    """More axes in front if just the operands with rows are mapped over, else each by itself."""
    rows = [has_rows for number, has_rows in enumerate(form.rows) if number != result]
    if form.rows[result] and any(rows) and rows == [axis is not None for axis in axes]:
        moved = [
            x if axis is None else jnp.moveaxis(x, axis, 0)
            for x, axis in zip(operands, axes, strict=True)
        ]
        return primitive.bind(*moved, **static), 0

    return jax.vmap(functools.partial(each, **static), tuple(axes))(*operands), 0


def _has_explicit_axes(array: Array) -> bool:
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


def pick(array: Array, numbers: np.ndarray, axis: int) -> Array:
    """Take constant numbers along an axis, `[...]` to `[..., *numbers.shape, ...]`."""
    shape, added = array.shape, numbers.ndim - 1
    dimensions = jax.lax.GatherDimensionNumbers(
        offset_dims=tuple(a if a < axis else a + added for a in range(len(shape)) if a != axis),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
    )
    sizes = tuple(1 if a == axis else size for a, size in enumerate(shape))
    places = numbers[..., None].astype(np.int32)
    return jax.lax.gather(array, places, dimensions, sizes, mode="promise_in_bounds")


def multiply_and_sum(subscripts: str, *operands: Array) -> Array:
    """What `jnp.einsum` gives, as one product of all operands and one sum over its axes.

    For sums of few terms whose factors are shared by many of the results: a matrix product would
    have features moved to its front and back, while this is a single loop over the result.

    Args:
        subscripts: as einsum has them, every letter of an operand once.
        operands: the factors, of one dtype.

    Returns:
        The sums, exact to the precision of the dtype on every platform.
    """
    inputs, result = subscripts.split("->")
    letters = inputs.split(",")
    sizes = {
        letter: size
        for own, operand in zip(letters, operands, strict=True)
        for letter, size in zip(own, operand.shape, strict=True)
    }
    summed = "".join(letter for letter in sizes if letter not in result)
    # Axes that are summed stand where they do in the first array that has them.
    own = next((own for own in letters if set(summed) & set(own)), "")
    before = own[: own.index(next(letter for letter in own if letter in summed))] if summed else ""
    place = max((result.index(letter) + 1 for letter in before), default=0)
    order = result[:place] + summed + result[place:]
    shape = tuple(sizes[letter] for letter in order)
    factors = []
    for own, operand in zip(letters, operands, strict=True):
        sorted_own = sorted(own, key=order.index)
        moved = jax.lax.transpose(operand, [own.index(letter) for letter in sorted_own])
        places = [order.index(letter) for letter in sorted_own]
        whole = moved.shape == shape
        factors.append(moved if whole else jax.lax.broadcast_in_dim(moved, shape, places))
    product = math.prod(factors[1:], start=factors[0])
    return jnp.sum(product, axis=tuple(range(place, place + len(summed)))) if summed else product
