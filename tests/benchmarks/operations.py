"""How many floating-point operations a function takes, counted where it was traced.

XLA's own count takes the body of a loop once, and cannot look into the libraries it calls for
matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

__all__ = ["count_operations"]

#: Primitives that move numbers without computing.
_FREE: tuple[str, ...] = (
    "broadcast_in_dim", "concatenate", "convert_element_type", "copies_copies", "copy",
    "dynamic_slice",
    "dynamic_update_slice", "expand_dims", "gather", "iota", "pad", "pvary", "reshape", "rev",
    "scatter", "select_n", "slice", "squeeze", "stop_gradient", "transpose",
)  # fmt: skip

#: This library's own primitives, their arrays and how many axes these have; they are named after
#: the array that they result in.
_CONTRACTIONS = {
    "matrix_product": {"first": 2, "second": 2, "result": 2},
    "degreewise_product": {"features": 4, "weights": 4, "result": 4},
    "paths": {"products": 5, "weights": 2, "outputs": 3},
    "filters": {"radial": 4, "angular": 3, "filters": 4},
    "filtered": {"filters": 4, "others": 5, "sums": 5},
    "angular_sums": {"angular": 3, "others": 4, "sums": 3},
    "pair_sums": {"first": 4, "second": 4, "sums": 2},
}


def count_operations(jaxpr: Any) -> float:
    """Operations of a traced function: products and sums of matrix products, else one per number.

    Args:
        jaxpr: as `jax.jit(function).trace(...).jaxpr` gives it.

    Returns:
        The number of operations. Of loops without a known length one turn is counted, of
        branches the most expensive one.
    """
    total = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        inner = [count_operations(part) for part in _parts(equation.params)]
        name = equation.primitive.name
        form, _, result = name.rpartition("_")
        if name == "scan":
            total += equation.params["length"] * sum(inner)
        elif name == "cond":
            total += max(inner)
        elif inner and not name.startswith(("reduce", "scatter", "argm", "cum", "sort")):
            total += sum(inner)
        elif name == "dot_general":
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * _contracted(equation)
        elif form in _CONTRACTIONS:
            total += 2.0 * _multiplied(form, result, equation)
        elif name.startswith(("reduce", "argm", "scatter-add", "scatter_add")):
            total += math.prod(equation.invars[-1 if "scatter" in name else 0].aval.shape)
        elif name not in _FREE:
            total += sum(math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars)
    return total


def _contracted(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    return math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)


def _parts(params: dict[str, Any]) -> Iterator[Any]:
    """Functions inside an equation's parameters."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if hasattr(getattr(item, "jaxpr", item), "eqns"):
                yield item


def _multiplied(form: str, result: str, equation: Any) -> int:
    """Products of two numbers in this library's own primitives."""
    arrays = _CONTRACTIONS[form]
    order = [*(array for array in arrays if array != result), result]
    variables = (*equation.invars, *equation.outvars)
    shapes = {array: x.aval.shape for array, x in zip(order, variables, strict=True)}
    first, second, third = (_merged(shapes[array], count) for array, count in arrays.items())
    if form == "matrix_product":
        return math.prod(third) * first[1]
    if form == "degreewise_product":
        return math.prod(third) * first[3]
    if form == "paths":
        return third[0] * third[2] * len(equation.params["paths"].constants)
    if form == "filtered":
        return math.prod(third) * first[1]
    if form == "angular_sums":
        return math.prod(third) * second[1]
    return max(math.prod(first), math.prod(third))


def _merged(shape: tuple[int, ...], axes: int) -> tuple[int, ...]:
    """A shape whose first axes are merged to leave as many as are given."""
    merged = len(shape) - axes + 1
    return (math.prod(shape[:merged]), *shape[merged:])
