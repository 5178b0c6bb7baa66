"""Radial and angular functions of the pairs of neighbouring atoms."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efa_zoo.base.config import MessagePassingConfig
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.nn.radial import radial_functions
from efa_zoo.ops.contractions import copy_to_rows
from efa_zoo.ops.harmonics import spherical_harmonics
from efa_zoo.ops.sharding import all_atoms, atom_shards
from efa_zoo.structures.graph import Graph, check_graph

__all__ = ["PairBasis", "pair_basis"]


class PairBasis(eqx.Module):
    """Basis functions of every pair, zero where the pair is padding.

    Attributes:
        radial: `[atoms, neighbors, num_radial]`, with the cutoff function.
        angular: `[atoms, (degree + 1)², neighbors]`, spherical harmonics of the unit vector from
            the atom to its neighbour, in Racah's normalisation.
        neighbors: `[atoms, neighbors]`, or None if neighbour j of every atom is atom j.
    """

    radial: Float[Array, "atoms neighbors num_radial"]
    angular: Float[Array, "atoms components neighbors"]
    neighbors: Int[Array, "atoms neighbors"] | None

    def of_neighbors(
        self, features: Float[Array, "all_atoms *rest"]
    ) -> Float[Array, "atoms neighbors *rest"]:
        """Features of the other atom of every pair."""
        if self.neighbors is not None:
            return features[self.neighbors]
        return copy_to_rows(features, self.radial.shape[0])


@contract
def pair_basis(graph: Graph, config: MessagePassingConfig) -> PairBasis:
    """Evaluate the basis functions of message passing.

    Small molecules are laid out as all pairs of atoms, which needs no gather and no scatter;
    large ones by their neighbour matrix. Both give the same sums.

    Args:
        graph: one molecule.
        config: cutoff, degree and radial functions.

    Returns:
        The basis functions, zero for pairs that are not closer than the cutoff.

    Raises:
        InputError: the graph does not list all pairs within the cutoff.
    """
    check_graph(graph)
    if graph.reach < config.cutoff:
        raise InputError(
            f"graph: lists neighbours up to {graph.reach:g} Å, expected at least the cutoff of "
            f"{config.cutoff:g} Å"
        )
    positions, neighbors = jnp.asarray(graph.positions), jnp.asarray(graph.neighbors)
    mask = jnp.asarray(graph.neighbor_mask)
    atoms = graph.num_atoms
    dense = (
        graph.cell is None
        and atom_shards() == 1
        and _all_pairs_are_cheaper(atoms, graph.num_neighbors)
    )
    if dense:
        atom = jnp.arange(atoms, dtype=neighbors.dtype)
        mask = jnp.any((neighbors[:, :, None] == atom) & mask[:, :, None], axis=1)
        displacements = positions[None, :, :] - positions[:, None, :]
    else:
        displacements = graph.displacements(all_atoms(positions))
    # Lists may hold more pairs than those within the cutoff.
    mask = mask & (jnp.sum(displacements**2, axis=-1) < config.cutoff**2)
    # Padding pairs get a unit vector, so that no derivative of the norm is singular.
    displacements = jnp.where(mask[..., None], displacements, jnp.eye(3, dtype=positions.dtype)[0])
    distances = jnp.sqrt(jnp.sum(displacements**2, axis=-1))
    unit = displacements / distances[..., None]
    radial = radial_functions(distances, config)
    angular = spherical_harmonics(unit[..., 0], unit[..., 1], unit[..., 2], config.degree)
    return PairBasis(
        jnp.where(mask[..., None], radial, 0),
        jnp.stack(angular, axis=1),
        None if dense else neighbors,
    )


def _all_pairs_are_cheaper(atoms: int, neighbors: int) -> bool:
    # Sizes that `jax.export` leaves open are no integers, and cannot be compared.
    return isinstance(atoms, int) and isinstance(neighbors, int) and atoms <= 1.5 * neighbors
