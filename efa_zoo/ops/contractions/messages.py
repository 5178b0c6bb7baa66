"""Sums over neighbours, and what makes filters of radial and angular functions.

Axes are always: atoms, neighbours, degrees or components of the filters, parities, components of
the neighbours' features, features. All sums are short, and features lie next to each other.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.contractions._multilinear import (
    Derivative,
    Form,
    multilinear,
    multiply_and_sum,
    pick,
)

__all__ = [
    "copy_to_rows",
    "make_filters",
    "project_on_angles",
    "sum_filtered",
    "sum_over_angles",
    "sum_pairs",
]


@contract
def make_filters(
    radial: Float[Array, "atoms neighbors degrees features"],
    angular: Float[Array, "atoms components neighbors"],
) -> Float[Array, "atoms neighbors components features"]:
    """Multiply the radial part of each degree with the angular functions of that degree.

    Args:
        radial: of each pair and degree.
        angular: functions of degree 0 to the last one, 2 l + 1 of degree l.

    Returns:
        The filters, differentiable any number of times in both modes.
    """
    return _filters(radial, angular)


@contract
def project_on_angles(
    angular: Float[Array, "atoms components neighbors"],
    features: Float[Array, "atoms neighbors components features"],
) -> Float[Array, "atoms neighbors degrees features"]:
    """Sum over the components of each degree the products of angular functions and features.

    Args:
        angular: functions of degree 0 to the last one, 2 l + 1 of degree l.
        features: as many components for each pair.

    Returns:
        One sum per degree, differentiable any number of times in both modes.
    """
    return _projected(angular, features)


@contract
def sum_filtered(
    filters: Float[Array, "atoms neighbors components1 features"],
    others: Float[Array, "atoms neighbors parities components2 features"],
) -> Float[Array, "atoms parities components1 components2 features"]:
    """Sum over neighbours the products of a filter's components and those of features.

    Args:
        filters: of each pair.
        others: features of the other atom of each pair.

    Returns:
        The sums, differentiable any number of times in both modes.
    """
    return _sums(filters, others)


@contract
def sum_over_angles(
    angular: Float[Array, "atoms components neighbors"],
    others: Float[Array, "atoms neighbors degrees features"],
) -> Float[Array, "atoms components features"]:
    """Sum over neighbours the products of angular functions and what each degree has of them.

    Args:
        angular: functions of degree 0 to the last one, 2 l + 1 of degree l.
        others: of each pair and degree.

    Returns:
        The sums, differentiable any number of times in both modes.
    """
    return _angular_sums(angular, others)


@contract
def sum_pairs(
    first: Float[Array, "atoms neighbors degrees features"],
    second: Float[Array, "atoms neighbors degrees features"],
) -> Float[Array, "atoms features"]:
    """Sum the products of two arrays over neighbours and degrees.

    Args:
        first: of each pair and degree.
        second: likewise.

    Returns:
        The sums, differentiable any number of times in both modes.
    """
    return _pair_sums(first, second)


def _degrees(components: int) -> np.ndarray:
    degrees = np.arange(math.isqrt(components))
    return np.repeat(degrees, 2 * degrees + 1)


def _components(degree: int) -> slice:
    return slice(degree**2, (degree + 1) ** 2)


def _of_degrees(components: int) -> tuple[np.ndarray, np.ndarray]:
    """Components of each degree, filled up to the same number, and 1 where they are no filling."""
    degree = math.isqrt(components)
    numbers = np.zeros((degree, 2 * degree - 1), np.int32)
    kept = np.zeros(numbers.shape)
    for l in range(degree):
        numbers[l, : 2 * l + 1] = np.arange(l * l, (l + 1) ** 2)
        kept[l, : 2 * l + 1] = 1
    return numbers, kept


def _multiply_filters(radial: Array, angular: Array) -> Array:
    repeated = pick(radial, _degrees(angular.shape[1]), 2)
    return multiply_and_sum("ijaf,iaj->ijaf", repeated, angular)


def _multiply_filters_on_cpu(radial: Array, angular: Array) -> Array:
    moved = jnp.swapaxes(angular, 1, 2)[..., None]
    parts = [radial[:, :, l, None] * moved[:, :, _components(l)] for l in range(radial.shape[2])]
    return jnp.concatenate(parts, axis=2)


def _project(angular: Array, filters: Array) -> Array:
    numbers, kept = _of_degrees(angular.shape[1])
    own = pick(angular, numbers, 1) * jnp.asarray(kept, angular.dtype)[..., None]
    return multiply_and_sum("ilmj,ijlmf->ijlf", own, pick(filters, numbers, 2))


def _project_on_cpu(angular: Array, filters: Array) -> Array:
    found = []
    for l in range(math.isqrt(angular.shape[1])):
        own = range(l * l, (l + 1) ** 2)
        found.append(sum(angular[:, m, :, None] * filters[:, :, m] for m in own))
    return jnp.stack(found, axis=2)


def _project_radially(radial: Array, filters: Array) -> Array:
    repeated = pick(radial, _degrees(filters.shape[2]), 2)
    return jnp.swapaxes(multiply_and_sum("ijaf,ijaf->ija", repeated, filters), 1, 2)


def _project_radially_on_cpu(radial: Array, filters: Array) -> Array:
    found = [
        jnp.sum(radial[:, :, l, None] * filters[:, :, _components(l)], axis=-1)
        for l in range(radial.shape[2])
    ]
    return jnp.swapaxes(jnp.concatenate(found, axis=2), 1, 2)


def _angles_shape(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return (second[0], second[2], second[1])


_projected, _filters = multilinear(
    Form("filters", ("radial", "angular", "filters"), (4, 3, 4), (True, True, True)),
    Derivative(
        _project,
        lambda angular, filters: (*filters[:2], math.isqrt(filters[2]), filters[3]),
        _project_on_cpu,
    ),
    Derivative(_project_radially, _angles_shape, _project_radially_on_cpu),
    Derivative(
        _multiply_filters,
        lambda radial, angular: (*radial[:2], angular[1], radial[3]),
        _multiply_filters_on_cpu,
    ),
)[::2]

#: Most terms that are written out one by one. Longer sums read from too many places at a time, and
#: a number that `jax.export` leaves open cannot be written out.
_MOST_TERMS = 64


def _add(terms: list[Array]) -> Array:
    return sum(terms[1:], start=terms[0])


def _einsum(subscripts: str, *operands: Array) -> Array:
    return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)


def _sum_on_cpu(filters: Array, others: Array) -> Array:
    count = filters.shape[1]
    if not isinstance(count, int) or count > _MOST_TERMS:
        return _einsum("ijaf,ijpbf->ipabf", filters, others)
    return _add([filters[:, j, None, :, None] * others[:, j, :, None] for j in range(count)])


def _to_filters_on_cpu(others: Array, sums: Array) -> Array:
    if others.shape[2] * others.shape[3] > _MOST_TERMS:
        return _einsum("ijpbf,ipabf->ijaf", others, sums)
    return _add(
        [
            others[:, :, p, b, None] * sums[:, None, p, :, b]
            for p in range(others.shape[2])
            for b in range(others.shape[3])
        ]
    )


def _to_others_on_cpu(filters: Array, sums: Array) -> Array:
    if filters.shape[2] > _MOST_TERMS:
        return _einsum("ijaf,ipabf->ijpbf", filters, sums)
    return _add(
        [filters[:, :, a, None, None] * sums[:, None, :, a] for a in range(filters.shape[2])]
    )


_sums = multilinear(
    Form("filtered", ("filters", "others", "sums"), (4, 5, 5), (True, True, True)),
    Derivative(
        lambda others, sums: multiply_and_sum("ijpbf,ipabf->ijaf", others, sums),
        lambda others, sums: (*others[:2], sums[2], others[4]),
        _to_filters_on_cpu,
    ),
    Derivative(
        lambda filters, sums: multiply_and_sum("ijaf,ipabf->ijpbf", filters, sums),
        lambda filters, sums: (*filters[:2], sums[1], sums[3], sums[4]),
        _to_others_on_cpu,
    ),
    Derivative(
        lambda filters, others: multiply_and_sum("ijaf,ijpbf->ipabf", filters, others),
        lambda filters, others: (
            filters[0],
            others[2],
            filters[2],
            others[3],
            others[4],
        ),
        _sum_on_cpu,
    ),
)[-1]


def _sum_angles(angular: Array, others: Array) -> Array:
    repeated = pick(others, _degrees(angular.shape[1]), 2)
    return multiply_and_sum("iaj,ijaf->iaf", angular, repeated)


def _sum_angles_on_cpu(angular: Array, others: Array) -> Array:
    return jnp.concatenate(
        [
            _einsum("iaj,ijf->iaf", angular[:, _components(l)], others[:, :, l])
            for l in range(others.shape[2])
        ],
        axis=1,
    )


def _angles_of_sums(others: Array, sums: Array) -> Array:
    repeated = pick(others, _degrees(sums.shape[1]), 2)
    return jnp.swapaxes(multiply_and_sum("ijaf,iaf->ija", repeated, sums), 1, 2)


def _angles_of_sums_on_cpu(others: Array, sums: Array) -> Array:
    return jnp.concatenate(
        [
            _einsum("ijf,iaf->iaj", others[:, :, l], sums[:, _components(l)])
            for l in range(others.shape[2])
        ],
        axis=1,
    )


def _others_of_sums(angular: Array, sums: Array) -> Array:
    numbers, kept = _of_degrees(angular.shape[1])
    own = pick(angular, numbers, 1) * jnp.asarray(kept, angular.dtype)[..., None]
    return multiply_and_sum("ilmj,ilmf->ijlf", own, pick(sums, numbers, 1))


def _others_of_sums_on_cpu(angular: Array, sums: Array) -> Array:
    return jnp.stack(
        [
            _einsum("iaj,iaf->ijf", angular[:, _components(l)], sums[:, _components(l)])
            for l in range(math.isqrt(angular.shape[1]))
        ],
        axis=2,
    )


_angular_sums = multilinear(
    Form("angular_sums", ("angular", "others", "sums"), (3, 4, 3), (True, True, True)),
    Derivative(
        _angles_of_sums,
        lambda others, sums: (sums[0], sums[1], others[1]),
        _angles_of_sums_on_cpu,
    ),
    Derivative(
        _others_of_sums,
        lambda angular, sums: (
            angular[0],
            angular[2],
            math.isqrt(angular[1]),
            sums[2],
        ),
        _others_of_sums_on_cpu,
    ),
    Derivative(
        _sum_angles,
        lambda angular, others: (*angular[:2], others[3]),
        _sum_angles_on_cpu,
    ),
)[-1]


def _spread_on_cpu(factor: Array, sums: Array) -> Array:
    return factor * sums[:, None, None]


def _sum_pairs_on_cpu(first: Array, second: Array) -> Array:
    total = _add([first[:, :, l] * second[:, :, l] for l in range(first.shape[2])])
    # The sum is slow where it is fused with what it sums.
    return jnp.sum(jax.lax.optimization_barrier(total), axis=1)


def _spread(factor: Array, sums: Array) -> Array:
    return multiply_and_sum("ijlf,if->ijlf", factor, sums)


_pair_sums = multilinear(
    Form("pair_sums", ("first", "second", "sums"), (4, 4, 2), (True, True, True)),
    Derivative(_spread, lambda second, sums: second, _spread_on_cpu),
    Derivative(_spread, lambda first, sums: first, _spread_on_cpu),
    Derivative(
        lambda first, second: multiply_and_sum("ijlf,ijlf->if", first, second),
        lambda first, second: (first[0], first[3]),
        _sum_pairs_on_cpu,
    ),
)[-1]


@contract
def copy_to_rows(
    features: Float[Array, "atoms *rest"], rows: int
) -> Float[Array, "{rows} atoms *rest"]:
    """Repeat an array along a new first axis.

    Args:
        features: the array.
        rows: how often.

    Returns:
        The copies, differentiable any number of times in both modes.
    """
    copies = _copies(features.reshape(features.shape[0], -1), rows=rows)
    return copies.reshape(rows, *features.shape)


def _copy(features: Array, *, rows: int) -> Array:
    return jax.lax.broadcast_in_dim(features, (rows, *features.shape), (1, 2))


_copies = multilinear(
    Form("copies", ("features", "copies"), (2, 3), (True, True), by_row=False),
    Derivative(
        lambda copies, rows: jnp.sum(copies, axis=0),
        lambda copies, rows: copies[1:],
        lambda copies, rows: jnp.sum(jax.lax.optimization_barrier(copies), axis=0),
    ),
    Derivative(
        _copy,
        lambda features, rows: (rows, *features),
        lambda features, rows: _copy(jax.lax.optimization_barrier(features), rows=rows),
    ),
)[-1]
