"""Weighted sums over coupling paths, and their derivatives.

What the paths make of the products of two features' components are weighted and added up to the
components of the result,

    y[i, c, f] = Σ_n κ_n w[path_n, f] x[i, source_n, f]  over all terms n with target_n = c,

where κ are constants. The derivatives are the two other contractions of the same arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

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

__all__ = ["PathBlock", "Paths", "sum_paths"]


class PathBlock(NamedTuple):
    """A block of the products, and what some paths make of it.

    Attributes:
        channel: parity channel of the second factor.
        first: components of the first factor, from one to before another.
        second: the same of the second factor.
        constants: from the block's products to the components of all its paths, one after the
            other; None if these are the products themselves.
        paths: for each path its number, the first component of the result that it is added to, and
            how many components it has.
    """

    channel: int
    first: tuple[int, int]
    second: tuple[int, int]
    constants: np.ndarray | None
    paths: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Paths:
    """All paths of a coupling, one object for each.

    Attributes:
        blocks: of the products, which do not overlap.
        channels: parity channels of the second factor.
        first: number of components of the first factor.
        second: of the second factor, in one channel.
        num_paths: number of paths that have weights.
        num_outputs: number of components of the result.
    """

    blocks: tuple[PathBlock, ...]
    channels: int
    first: int
    second: int
    num_paths: int
    num_outputs: int

    def __repr__(self) -> str:
        return f"<{self.num_paths} paths>"

    @functools.cached_property
    def terms(self) -> np.ndarray:
        """Source, path and target of every term that is not zero, `[terms, 3]`."""
        return self._terms_and_constants[0]

    @functools.cached_property
    def constants(self) -> np.ndarray:
        """The constant of every term."""
        return self._terms_and_constants[1]

    @functools.cached_property
    def _terms_and_constants(self) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(self.channels * self.first * self.second)
        numbers = numbers.reshape(self.channels, self.first, self.second)
        terms, constants = [], []
        for block in self.blocks:
            source = numbers[block.channel, slice(*block.first), slice(*block.second)].ravel()
            matrix = np.eye(len(source)) if block.constants is None else block.constants
            paths = np.repeat([path for path, _, _ in block.paths], [p[2] for p in block.paths])
            targets = np.concatenate([np.arange(t, t + size) for _, t, size in block.paths])
            rows, columns = np.nonzero(matrix)
            terms.append(np.stack([source[columns], paths[rows], targets[rows]], axis=1))
            constants.append(matrix[rows, columns])
        return np.concatenate(terms), np.concatenate(constants)

    def grouped(self, column: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
        """Terms by their source (0), path (1) or target (2).

        Returns:
            `[most, groups, 3]` terms, each group filled up to the same number of them, and their
            constants `[most, groups]`, zero for those that are filled in.
        """
        belongs = [np.flatnonzero(self.terms[:, column] == group) for group in range(groups)]
        most = max(map(len, belongs))
        terms, constants = np.zeros((most, groups, 3), np.int32), np.zeros((most, groups))
        for group, numbers in enumerate(belongs):
            terms[: len(numbers), group] = self.terms[numbers]
            constants[: len(numbers), group] = self.constants[numbers]
        return terms, constants

    @functools.cached_property
    def by_source(self) -> tuple[np.ndarray, np.ndarray]:
        """Terms by their source."""
        return self.grouped(0, self.channels * self.first * self.second)

    @functools.cached_property
    def by_path(self) -> tuple[np.ndarray, np.ndarray]:
        """Terms by their path."""
        return self.grouped(1, self.num_paths)

    @functools.cached_property
    def by_target(self) -> tuple[np.ndarray, np.ndarray]:
        """Terms by their target."""
        return self.grouped(2, self.num_outputs)


@contract
def sum_paths(
    products: Float[Array, "rows {paths.channels} {paths.first} {paths.second} features"],
    weights: Float[Array, "{paths.num_paths} features"],
    paths: Paths,
) -> Float[Array, "rows {paths.num_outputs} features"]:
    """Weight what every path makes of the products, and add it up.

    Args:
        products: of the components of two factors, or sums of such products.
        weights: one per path and feature.
        paths: where they lead.

    Returns:
        The sums, differentiable any number of times in both modes.
    """
    return _outputs(products, weights, paths=paths)


def _merged(products: Array) -> Array:
    return products.reshape(products.shape[0], -1, products.shape[-1])


def _weighted(weights: Array, terms: np.ndarray, constants: np.ndarray) -> Array:
    return pick(weights, terms[..., 1], 0) * jnp.asarray(constants, weights.dtype)[..., None]


def _compute_outputs(products: Array, weights: Array, *, paths: Paths) -> Array:
    terms, constants = paths.by_target
    factors = _weighted(weights, terms, constants)
    return multiply_and_sum("inkf,nkf->ikf", pick(_merged(products), terms[..., 0], 1), factors)


def _compute_products(weights: Array, outputs: Array, *, paths: Paths) -> Array:
    terms, constants = paths.by_source
    factors = _weighted(weights, terms, constants)
    found = multiply_and_sum("inkf,nkf->ikf", pick(outputs, terms[..., 2], 1), factors)
    return found.reshape(-1, paths.channels, paths.first, paths.second, outputs.shape[-1])


def _compute_weights(products: Array, outputs: Array, *, paths: Paths) -> Array:
    terms, constants = paths.by_path
    return multiply_and_sum(
        "inkf,inkf,nk->kf",
        pick(_merged(products), terms[..., 0], 1),
        pick(outputs, terms[..., 2], 1),
        jnp.asarray(constants, outputs.dtype),
    )


def _constant_product(constants: np.ndarray, stack: Array) -> Array:
    # One product for all of the stack would transpose the stack before and after.
    matrix = jnp.asarray(constants, stack.dtype)
    matrix = jnp.broadcast_to(matrix, (stack.shape[0], *matrix.shape))
    return jnp.matmul(matrix, stack, precision=jax.lax.Precision.HIGHEST)


def _components(products: Array, block: PathBlock) -> Array:
    """Components of all paths of a block."""
    part = products[:, block.channel, slice(*block.first), slice(*block.second)]
    part = _merged(part)
    return part if block.constants is None else _constant_product(block.constants, part)


def _outputs_on_cpu(products: Array, weights: Array, *, paths: Paths) -> Array:
    sums: dict[int, Array] = {}
    for block in paths.blocks:
        components, at = _components(products, block), 0
        for path, start, size in block.paths:
            part = components[:, at : at + size] * weights[path][None, None]
            sums[start] = sums[start] + part if start in sums else part
            at += size
    zero = jnp.zeros_like(products[:, 0, 0, :1])
    return _side_by_side(sums, paths.num_outputs, 1, lambda size: jnp.repeat(zero, size, axis=1))


def _side_by_side(
    parts: dict[int, Array], size: int, axis: int, zeros: Callable[[int], Array]
) -> Array:
    """Put parts together that begin at some places of an axis."""
    found, filled = [], 0
    for start in [*sorted(parts), size]:
        if start > filled:
            found.append(zeros(start - filled))
            filled = start
        if start in parts:
            found.append(parts[start])
            filled += parts[start].shape[axis]
    return found[0] if len(found) == 1 else jnp.concatenate(found, axis=axis)


def _products_on_cpu(weights: Array, outputs: Array, *, paths: Paths) -> Array:
    rows, _, features = outputs.shape

    def zeros(*shape: int) -> Array:
        return jnp.zeros((rows, *shape, features), outputs.dtype)

    channels = []
    for channel in range(paths.channels):
        by_first: dict[int, dict[int, Array]] = {}
        sizes: dict[int, int] = {}
        for block in paths.blocks:
            if block.channel != channel:
                continue
            weighted = [
                outputs[:, start : start + size] * weights[path][None, None]
                for path, start, size in block.paths
            ]
            components = weighted[0] if len(weighted) == 1 else jnp.concatenate(weighted, axis=1)
            if block.constants is not None:
                components = _constant_product(block.constants.T, components)
            start, end = block.first
            part = components.reshape(rows, end - start, -1, features)
            by_first.setdefault(start, {})[block.second[0]] = part
            sizes[start] = end - start
        complete = {
            start: _side_by_side(parts, paths.second, 2, functools.partial(zeros, sizes[start]))
            for start, parts in by_first.items()
        }
        channels.append(
            _side_by_side(complete, paths.first, 1, lambda size: zeros(size, paths.second))
        )
    return jnp.stack(channels, axis=1)


def _weights_on_cpu(products: Array, outputs: Array, *, paths: Paths) -> Array:
    sums, numbers = [], []
    for block in paths.blocks:
        own = [outputs[:, start : start + size] for _, start, size in block.paths]
        others = own[0] if len(own) == 1 else jnp.concatenate(own, axis=1)
        # The sum over rows is slow where it is fused with what it sums.
        product = jax.lax.optimization_barrier(_components(products, block) * others)
        sums.append(jnp.sum(product, axis=0))
        numbers += [path for path, _, size in block.paths for _ in range(size)]
    belongs = np.arange(paths.num_paths)[:, None] == np.asarray(numbers)
    summed = jnp.concatenate(sums)
    return jnp.matmul(
        jnp.asarray(belongs, summed.dtype), summed, precision=jax.lax.Precision.HIGHEST
    )


_outputs = multilinear(
    Form("paths", ("products", "weights", "outputs"), (5, 2, 3), (True, False, True)),
    Derivative(
        _compute_products,
        lambda weights, outputs, paths: (
            outputs[0],
            paths.channels,
            paths.first,
            paths.second,
            outputs[2],
        ),
        _products_on_cpu,
    ),
    Derivative(
        _compute_weights,
        lambda products, outputs, paths: (paths.num_paths, outputs[2]),
        _weights_on_cpu,
    ),
    Derivative(
        _compute_outputs,
        lambda products, weights, paths: (
            products[0],
            paths.num_outputs,
            products[4],
        ),
        _outputs_on_cpu,
    ),
)[-1]
