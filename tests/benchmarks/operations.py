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
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "dynamic_slice",
    "dynamic_update_slice", "expand_dims", "gather", "iota", "pad", "pvary", "reshape", "rev",
    "scatter", "select_n", "slice", "squeeze", "stop_gradient", "transpose",
)  # fmt: skip


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
        if name == "scan":
            total += equation.params["length"] * sum(inner)
        elif name == "cond":
            total += max(inner)
        elif inner and not name.startswith(("reduce", "scatter", "argm", "cum", "sort")):
            total += sum(inner)
        elif name == "dot_general":
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * _contracted(equation)
        elif name.startswith(("matrix_product", "constant_product", "featurewise", "sum_paths")):
            total += 2.0 * _multiplied(equation)
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


def _multiplied(equation: Any) -> int:
    """Products of two numbers in this library's own primitives."""
    first, second, result = (x.aval.shape for x in (*equation.invars, *equation.outvars))
    name = equation.primitive.name
    if name.startswith(("matrix_product", "constant_product")):
        return math.prod(result) * first[1]
    if name.startswith("sum_paths"):
        return max(math.prod(shape) for shape in (first, second, result))
    inputs, _ = equation.params["subscripts"].split("->")
    middle = dict(zip(inputs.replace(",", ""), (*first[1:3], *second[1:3]), strict=True))
    return first[0] * math.prod(middle.values()) * first[3]
