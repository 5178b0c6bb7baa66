"""Energy and forces of one molecule; `jax.vmap` gives those of a batch."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo._typing import contract
from efa_zoo.graph import Graph, check_molecule

__all__ = ["energy", "energy_and_forces"]


@contract
def energy(model: Callable[[Graph], Float[Array, " atoms"]], graph: Graph) -> Float[Array, ""]:
    """Energy of one molecule relative to its free elements, in eV.

    Args:
        model: gives atomic energies in eV.
        graph: the molecule.

    Returns:
        The sum of the atomic energies.
    """
    return jnp.sum(_atomic_energies(model, graph))


@contract
def energy_and_forces(
    model: Callable[[Graph], Float[Array, " atoms"]], graph: Graph
) -> tuple[Float[Array, " atoms"], Float[Array, "atoms 3"]]:
    """Atomic energies (eV) and forces (eV/Å) of one molecule, zero for padding.

    Args:
        model: gives atomic energies in eV.
        graph: the molecule.

    Returns:
        Atomic energies `[atoms]` and the negative gradient of their sum `[atoms, 3]`.
    """
    check_molecule(graph)

    def total(positions: Array) -> tuple[Array, Array]:
        moved = eqx.tree_at(lambda g: g.positions, graph, positions)
        energies = _atomic_energies(model, moved)
        return jnp.sum(energies), energies

    (_, energies), gradient = jax.value_and_grad(total, has_aux=True)(jnp.asarray(graph.positions))
    return energies, -gradient


@contract
def _atomic_energies(
    model: Callable[[Graph], Float[Array, " atoms"]], graph: Graph
) -> Float[Array, " {graph.num_atoms}"]:
    """What the model gives, which its own annotations may leave open."""
    check_molecule(graph)
    return model(graph)
