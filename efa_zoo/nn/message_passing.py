"""Messages between neighbouring atoms."""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from efa_zoo.base.contracts import contract
from efa_zoo.nn.coupling import Coupling, Irreps, clebsch_gordan
from efa_zoo.nn.dense import change_irreps
from efa_zoo.nn.pairs import PairBasis
from efa_zoo.ops.chunks import chunk_size, map_chunks
from efa_zoo.ops.contractions import (
    PathBlock,
    Paths,
    make_filters,
    matrix_product,
    project_on_angles,
    sum_filtered,
    sum_over_angles,
    sum_pairs,
    sum_paths,
)
from efa_zoo.ops.sharding import all_atoms

__all__ = ["MessagePass"]

_SCALARS = Irreps(0, False)

#: Pairs of atoms of a chunk of message passing.
_CHUNK_OF_PAIRS = 1024


class MessagePass(eqx.Module):
    """Sum over neighbours of the tensor product of a radial-angular filter with their features.

    The coupling is linear in the outer product, so the neighbours are summed first and each atom
    is coupled once.

    Attributes:
        filter: `[degree + 1, num_radial, features]`, radial functions to filters.
        weights: `[paths, features]`, one per coupling path.
    """

    filter: Float[Array, "degrees num_radial features"]
    weights: Float[Array, "paths features"]
    coupling: Coupling = eqx.field(static=True)

    def __init__(
        self,
        irreps: Irreps,
        features: int,
        *,
        basis_degree: int,
        num_radial: int,
        degree: int | None = None,
        pseudotensors: bool = True,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the layer with random weights.

        Args:
            irreps: largest degree and parities of the input.
            features: number of features.
            basis_degree: largest degree of the angular functions.
            num_radial: number of radial functions.
            degree: largest degree of the output, default the larger one of input and basis.
            pseudotensors: keep pseudotensors that the product makes.
            key: of the random weights.
            dtype: of the weights.
        """
        key1, key2 = jax.random.split(key)
        self.coupling = Coupling.of(Irreps(basis_degree, False), irreps, degree, pseudotensors)
        shape = (basis_degree + 1, num_radial, features)
        scale = 1 / (math.sqrt(num_radial) * 0.8796256610342398)
        self.filter = scale * jax.random.truncated_normal(key1, -2, 2, shape, dtype)
        self.weights = self.coupling.init(features, key2, dtype)

    @property
    def irreps(self) -> Irreps:
        """Largest degree and parities of the output."""
        return self.coupling.output

    @contract
    def __call__(
        self,
        features: Float[
            Array,
            "atoms {self.coupling.second.parities} {self.coupling.second.components} "
            "{self.weights.shape[-1]}",
        ],
        pairs: PairBasis,
    ) -> Float[
        Array, "atoms {self.coupling.output.parities} {self.coupling.output.components} features"
    ]:
        """Pass messages along all pairs."""
        if self.coupling.output == _SCALARS:
            sum_neighbors, components = self._sum_to_scalars, self._scalar_parts(features)
        elif self.coupling.second == _SCALARS:
            sum_neighbors, components = self._sum_of_scalars, features
        else:
            sum_neighbors, components = self._sum_products, features
        components = all_atoms(components)
        if pairs.neighbors is None:
            return sum_neighbors(pairs, components)
        atoms, neighbors = pairs.neighbors.shape
        size = chunk_size(atoms, neighbors, _CHUNK_OF_PAIRS)
        return map_chunks(lambda chunk: sum_neighbors(chunk, components), pairs, size)

    def _sum_of_scalars(
        self, pairs: PairBasis, features: Float[Array, "all_atoms 1 1 features"]
    ) -> Float[Array, "atoms parities3 components3 features"]:
        """Neighbour sum of filters times scalars, then their coupling."""
        others = pairs.of_neighbors(features[:, 0, 0])
        sums = sum_over_angles(pairs.angular, self._radial(pairs) * others[:, :, None])
        return self.coupling.couple_channels(sums[:, None, :, None], self.weights)

    def _sum_products(
        self, pairs: PairBasis, features: Float[Array, "all_atoms parities components features"]
    ) -> Float[Array, "atoms parities3 components3 features"]:
        """Neighbour sum of filters times features, then their coupling."""

        def sum_neighbors(features: Array, radial: Array, angular: Array) -> Array:
            return sum_filtered(make_filters(radial, angular), pairs.of_neighbors(features))

        if pairs.radial.shape[0] < features.shape[0]:
            # In a chunk of a loop, derivatives of second order would store for all chunks what is
            # as large as the features of all pairs.
            sum_neighbors = jax.checkpoint(sum_neighbors, prevent_cse=False)
        sums = sum_neighbors(features, self._radial(pairs), pairs.angular)
        return self.coupling.couple_channels(sums, self.weights)

    def _radial(
        self, pairs: PairBasis, degrees: int | None = None
    ) -> Float[Array, "atoms neighbors degrees features"]:
        """Radial parts of the filters of the first degrees, default all of them."""
        radial = pairs.radial.reshape(-1, pairs.radial.shape[-1])
        weights = jnp.moveaxis(self.filter[:degrees], 0, 1)
        filters = matrix_product(radial, weights.reshape(weights.shape[0], -1))
        return filters.reshape(*pairs.radial.shape[:2], *weights.shape[1:])

    def _scalar_parts(
        self, features: Float[Array, "atoms parities components features"]
    ) -> Float[Array, "atoms components features"]:
        """Proper components that couple to a scalar with a filter, times their constants."""
        degree = min(self.coupling.first.degree, self.coupling.second.degree)
        proper = change_irreps(features, Irreps(degree, False))
        return sum_paths(proper[:, :, None], self.weights, _paths_to_scalars(self.coupling))

    def _sum_to_scalars(
        self, pairs: PairBasis, parts: Float[Array, "all_atoms components features"]
    ) -> Float[Array, "atoms 1 1 features"]:
        """Neighbour sum coupled to proper scalars, which pairs every component with itself."""
        components = parts.shape[1]
        projected = project_on_angles(pairs.angular[:, :components], pairs.of_neighbors(parts))
        radial = self._radial(pairs, math.isqrt(components))
        return sum_pairs(radial, projected)[:, None, None, :]


@functools.cache
def _paths_to_scalars(coupling: Coupling) -> Paths:
    """Each degree by itself, times what couples it with itself to a scalar."""
    first, second, _ = coupling
    degree = min(first.degree, second.degree)
    blocks = []
    for l in range(degree + 1):
        number = int(coupling.path_index[0, l, l % 2 * second.pseudotensors, l, 0, 0])
        own = (l * l, (l + 1) ** 2)
        constants = _self_coupling(l) * np.eye(2 * l + 1)
        blocks.append(PathBlock(0, (0, 1), own, constants, ((number, l * l, 2 * l + 1),)))
    components = (degree + 1) ** 2
    return Paths(tuple(blocks), 1, 1, components, len(coupling.paths), components)


def _self_coupling(degree: int) -> float:
    """The coefficient that couples a component of this degree with itself to a scalar."""
    table = clebsch_gordan(degree, degree, 0, np.dtype(np.float64))
    return float(table[-1, -1, 0])
