"""Energy and forces of one molecule and of a batch."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.chunks import map_chunks, on_cpu
from efa_zoo.structures.graph import Graph, check_molecule

__all__ = [
    "batch_energy_and_forces",
    "energy",
    "energy_and_forces",
    "molecules_at_once",
]


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
def batch_energy_and_forces(
    model: Callable[[Graph], Float[Array, " atoms"]], graphs: Graph
) -> tuple[Float[Array, "molecules atoms"], Float[Array, "molecules atoms 3"]]:
    """Atomic energies (eV) and forces (eV/Å) of a batch.

    The same as `jax.vmap` of `energy_and_forces`, but on a CPU the molecules are taken a few at a
    time: this is faster and needs less memory.

    Args:
        model: gives atomic energies in eV.
        graphs: the molecules, with one more leading axis on every leaf.

    Returns:
        Atomic energies `[molecules, atoms]` and forces `[molecules, atoms, 3]`.
    """
    function = jax.vmap(lambda graph: energy_and_forces(model, graph))
    size = molecules_at_once(graphs)
    return map_chunks(function, graphs, size, remat=False)


#: Pairs of atoms of the molecules that are computed together on a CPU, and of all molecules of a
#: batch from which on it pays to cut it.
_PAIRS_AT_ONCE = 256
_PAIRS_WORTH_CUTTING = 1024


def molecules_at_once(graphs: Graph) -> int:
    """Number of molecules that are computed together.

    Args:
        graphs: the molecules, with one more leading axis on every leaf.

    Returns:
        The number; all of them on an accelerator, or where their number is open (`jax.export`).
    """
    molecules, atoms, neighbors = graphs.neighbors.shape
    if not all(isinstance(size, int) for size in (molecules, atoms, neighbors)) or not on_cpu():
        return molecules
    pairs = atoms * max(neighbors, 1)
    if molecules * pairs < _PAIRS_WORTH_CUTTING:
        return molecules
    return max(1, _PAIRS_AT_ONCE // pairs)


@contract
def _atomic_energies(
    model: Callable[[Graph], Float[Array, " atoms"]], graph: Graph
) -> Float[Array, " {graph.num_atoms}"]:
    """What the model gives, which its own annotations may leave open."""
    check_molecule(graph)
    return model(graph)
