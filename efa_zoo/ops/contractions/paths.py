"""Weighted sums over coupling paths, and their derivatives.

The components that the paths make of two features are weighted and added up to those of the result,
y[i, c, f] = Σ_k w[path_k, f] x[i, k, f] over all components k with c_k = c. The derivatives are the
two other contractions of the same three arrays: the three operations are transposes of each other.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.contractions._bilinear import bilinear

__all__ = ["PathSegments", "sum_paths"]


@dataclass(frozen=True, eq=False)
class PathSegments:
    """Where the components of every path go, one object for each coupling.

    Attributes:
        paths: for each path its number, the first component of the result that it is added to, and
            how many components it has; in the order in which the components lie.
        num_paths: number of paths that have weights.
        num_outputs: number of components of the result.
    """

    paths: tuple[tuple[int, int, int], ...]
    num_paths: int
    num_outputs: int

    def __repr__(self) -> str:
        return f"<{len(self.paths)} paths>"

    @functools.cached_property
    def num_components(self) -> int:
        """Number of components of all paths."""
        return sum(size for _, _, size in self.paths)

    @functools.cached_property
    def path_of_component(self) -> np.ndarray:
        """The path of every component."""
        return np.repeat(*np.asarray([(path, size) for path, _, size in self.paths], np.int32).T)

    @functools.cached_property
    def output_of_component(self) -> np.ndarray:
        """The component of the result that every component is added to."""
        parts = [np.arange(start, start + size) for _, start, size in self.paths]
        return np.concatenate(parts).astype(np.int32)


@contract
def sum_paths(
    components: Float[Array, "rows {segments.num_components} features"],
    weights: Float[Array, "{segments.num_paths} features"],
    segments: PathSegments,
) -> Float[Array, "rows {segments.num_outputs} features"]:
    """Weight the components of all paths and add them up.

    Args:
        components: of the paths.
        weights: one per path and feature.
        segments: where they go.

    Returns:
        The sums, differentiable any number of times in both modes.
    """
    return _outputs(components, weights, segments=segments)


def _compute_outputs(components: Array, weights: Array, *, segments: PathSegments) -> Array:
    sizes = {start: size for _, start, size in segments.paths}
    sums: dict[int, Array] = {}
    at = 0
    for path, start, size in segments.paths:
        part = components[:, at : at + size] * weights[path][None, None]
        sums[start] = sums[start] + part if start in sums else part
        at += size
    found, filled = [], 0
    for start in [*sorted(sums), segments.num_outputs]:
        if start > filled:
            # Zeros that lie on the devices of a mesh as the components do.
            zero = jnp.zeros_like(components[:, :1])
            found.append(jnp.repeat(zero, start - filled, axis=1))
        if start in sums:
            found.append(sums[start])
            filled = start + sizes[start]
    return jnp.concatenate(found, axis=1)


def _compute_components(outputs: Array, weights: Array, *, segments: PathSegments) -> Array:
    return outputs[:, segments.output_of_component] * weights[segments.path_of_component][None]


def _compute_weights(components: Array, outputs: Array, *, segments: PathSegments) -> Array:
    # The sum over rows is slow where it is fused with what it sums.
    product = jax.lax.optimization_barrier(components * outputs[:, segments.output_of_component])
    summed = jnp.sum(product, axis=0)
    belongs = segments.path_of_component == np.arange(segments.num_paths)[:, None]
    return jnp.matmul(
        jnp.asarray(belongs, summed.dtype), summed, precision=jax.lax.Precision.HIGHEST
    )


_outputs = bilinear(
    "sum_paths",
    _compute_outputs,
    lambda components, weights, segments: (components[0], segments.num_outputs, components[2]),
    operands=("components", "weights"),
    to_first=lambda y, _, w, segments: _components(y, w, segments=segments),
    to_second=lambda y, x, _, segments: _weights(x, y, segments=segments),
    rows=(True, False),
)
_components = bilinear(
    "sum_paths_to_components",
    _compute_components,
    lambda outputs, weights, segments: (outputs[0], segments.num_components, outputs[2]),
    operands=("outputs", "weights"),
    to_first=lambda x, _, w, segments: _outputs(x, w, segments=segments),
    to_second=lambda x, y, _, segments: _weights(x, y, segments=segments),
    rows=(True, False),
)
_weights = bilinear(
    "sum_paths_to_weights",
    _compute_weights,
    lambda components, outputs, segments: (segments.num_paths, outputs[2]),
    operands=("components", "outputs"),
    to_first=lambda w, _, y, segments: _components(y, w, segments=segments),
    to_second=lambda w, x, _, segments: _outputs(x, w, segments=segments),
    rows=(False, False),
)
