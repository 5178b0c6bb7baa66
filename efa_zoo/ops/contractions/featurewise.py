"""Products of small matrices, one for each feature, with features last in memory.

Libraries of matrix products want the two axes of the matrices last, so features would have to be
moved to the front and back. Here the axis that is summed over is short, and its terms are added one
by one, each a product of features that lie next to each other.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.contractions._bilinear import bilinear

__all__ = ["featurewise_product"]


@contract
def featurewise_product(
    first: Float[Array, "rows inner left features"],
    second: Float[Array, "rows inner right features"],
) -> Float[Array, "rows left right features"]:
    """Σ_k first[i, k, a, f] second[i, k, b, f], differentiable any number of times in both modes.

    Args:
        first: for each row and feature the first factor.
        second: for each row and feature the transpose of the second factor.

    Returns:
        The products.
    """
    return _product(first, second, subscripts="ka,kb->ab")


#: Most terms that are written out one by one. Longer sums read from too many places at a time, and
#: a number that `jax.export` leaves open cannot be written out.
_MOST_TERMS = 64


def _compute(first: Array, second: Array, *, subscripts: str) -> Array:
    """Sums over the letter that the result lacks; each factor has one letter of the result."""
    inputs, result = subscripts.split("->")
    (inner,) = set(inputs) - set(result) - {","}
    count = first.shape[1 + inputs.index(inner)]
    if not isinstance(count, int) or count > _MOST_TERMS:
        left, right = inputs.split(",")
        subscripts = f"i{left}f,i{right}f->i{result}f"
        return jnp.einsum(subscripts, first, second, precision=jax.lax.Precision.HIGHEST)
    terms = []
    for k in range(count):
        factors = []
        for factor, letters in zip((first, second), inputs.split(","), strict=True):
            part = factor[:, k] if letters[0] == inner else factor[:, :, k]
            kept = letters.replace(inner, "")
            factors.append(part[:, :, None] if result[0] == kept else part[:, None])
        terms.append(factors[0] * factors[1])
    return sum(terms[1:], start=terms[0])


def _shape(first: tuple[int, ...], second: tuple[int, ...], *, subscripts: str) -> tuple[int, ...]:
    inputs, result = subscripts.split("->")
    sizes = dict(zip(inputs.replace(",", ""), (*first[1:3], *second[1:3]), strict=True))
    return (first[0], sizes[result[0]], sizes[result[1]], first[3])


def _to_first(cotangent: Array, _: Any, second: Array, *, subscripts: str) -> Array:
    inputs, result = subscripts.split("->")
    own, other = inputs.split(",")
    return _product(cotangent, second, subscripts=f"{result},{other}->{own}")


def _to_second(cotangent: Array, first: Array, _: Any, *, subscripts: str) -> Array:
    inputs, result = subscripts.split("->")
    other, own = inputs.split(",")
    return _product(first, cotangent, subscripts=f"{other},{result}->{own}")


_product = bilinear(
    "featurewise_product",
    _compute,
    _shape,
    to_first=_to_first,
    to_second=_to_second,
    rows=(True, True),
)
