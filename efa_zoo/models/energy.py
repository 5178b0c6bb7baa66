"""Energy and forces of one molecule and of a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efa_zoo.attention.reciprocal import invertible
from efa_zoo.base.contracts import contract
from efa_zoo.models.outputs import Outputs
from efa_zoo.ops.chunks import map_chunks
from efa_zoo.ops.platforms import by_platform, on_cpu
from efa_zoo.structures.graph import Graph, check_graph

__all__ = [
    "Network",
    "batch_energy_and_forces",
    "energy",
    "energy_and_forces",
    "molecules_at_once",
    "outputs_in_cell",
]

#: Atomic energies of a molecule (eV), and whatever else a network gives but derivatives.
Network: TypeAlias = Callable[[Graph], Outputs]


@contract
def energy(model: Network, graph: Graph) -> Float[Array, ""]:
    """Compute the energy of one molecule relative to its free elements, in eV.

    Args:
        model: gives atomic energies in eV.
        graph: the molecule.

    Returns:
        The sum of the atomic energies.
    """
    check_graph(graph)
    return _total(jnp.asarray(graph.positions), model, graph)[0]


@contract
def energy_and_forces(model: Network, graph: Graph, *, features: bool = False) -> Outputs:
    """Compute what a network gives for one molecule, and forces; in a cell stress too.

    Args:
        model: gives atomic energies in eV.
        graph: the molecule.
        features: whether the result keeps the atoms' features, which are many numbers.

    Returns:
        The outputs with forces, the negative gradient of the sum of the atomic energies, and in a
        cell with stress, its derivative by a symmetric strain over the volume.
    """
    check_graph(graph)
    return by_platform(functools.partial(_energy_and_forces, features=features), model, graph)


def _energy_and_forces(model: Network, graph: Graph, *, features: bool) -> Outputs:
    if graph.cell is not None:
        positions, cell = jnp.asarray(graph.positions), jnp.asarray(graph.cell)
        outputs = outputs_in_cell(
            lambda moved, deformed: _total(
                moved, model, eqx.tree_at(lambda g: g.cell, graph, deformed)
            ),
            positions,
            cell,
        )
    else:
        differentiated = jax.value_and_grad(_total, has_aux=True)
        (_, outputs), gradient = differentiated(jnp.asarray(graph.positions), model, graph)
        outputs = dataclasses.replace(outputs, forces=-gradient)
    return outputs if features else dataclasses.replace(outputs, features=None)


def outputs_in_cell(
    total: Callable[[Array, Array], tuple[Array, Outputs]], positions: Array, cell: Array
) -> Outputs:
    """Differentiate the energy of one periodic structure.

    Args:
        total: energy in eV and outputs at positions and cell. Everything must be made of these
            two, displacements to images and wave vectors too.
        positions: `[atoms, 3]` in Å.
        cell: `[3, 3]`, lattice vectors in Å as rows.

    Returns:
        The outputs with forces and stress.
    """
    cell = invertible(cell)

    def strained(positions: Array, strain: Array) -> tuple[Array, Outputs]:
        deformation = jnp.eye(3, dtype=cell.dtype) + 0.5 * (strain + strain.T)
        with jax.default_matmul_precision("highest"):
            return total(positions @ deformation, cell @ deformation)

    differentiated = jax.value_and_grad(strained, argnums=(0, 1), has_aux=True)
    (_, outputs), (gradient, virial) = differentiated(positions, jnp.zeros_like(cell))
    stress = virial[_VOIGT] / jnp.abs(jnp.linalg.det(cell))
    return dataclasses.replace(outputs, forces=-gradient, stress=stress)


#: Rows and columns of a stress in Voigt's order.
_VOIGT = np.asarray([0, 1, 2, 1, 0, 0], np.int32), np.asarray([0, 1, 2, 2, 2, 1], np.int32)


def _total(positions: Array, model: Network, graph: Graph) -> tuple[Array, Outputs]:
    """Sum of the atomic energies at some positions."""
    outputs = model(eqx.tree_at(lambda g: g.positions, graph, positions))
    _check_energies(graph.atomic_numbers, outputs.atomic_energies)
    return outputs.energy, outputs


@contract
def _check_energies(
    atomic_numbers: Int[Array | np.ndarray, " atoms"], atomic_energies: Float[Array, " atoms"]
) -> None:
    """The contract of a network's outputs, which its own annotations may leave open."""


@contract
def batch_energy_and_forces(model: Network, graphs: Graph, *, features: bool = False) -> Outputs:
    """Compute what a network gives for a batch, and forces; in cells stress too.

    The same as `jax.vmap` of `energy_and_forces`, but on a CPU the molecules are taken a few at a
    time: this is faster and needs less memory.

    Args:
        model: gives atomic energies in eV.
        graphs: the molecules, with one more leading axis on every leaf.
        features: as for `energy_and_forces`.

    Returns:
        The outputs, with one more leading axis on every leaf.
    """

    def evaluate(model: Network, graphs: Graph) -> Outputs:
        function = jax.vmap(functools.partial(energy_and_forces, model, features=features))
        size = molecules_at_once(graphs)
        molecules = graphs.atomic_numbers.shape[0]
        if not isinstance(molecules, int) or size >= molecules:
            return function(graphs)
        return map_chunks(function, graphs, size, remat=False)

    return by_platform(evaluate, model, graphs)


#: Pairs of atoms of the molecules that are computed together on a CPU, and of all molecules of a
#: batch from which on it pays to cut it.
_PAIRS_AT_ONCE = 256
_PAIRS_WORTH_CUTTING = 1024


def molecules_at_once(graphs: Graph) -> int:
    """Decide how many molecules are computed together.

    Args:
        graphs: the molecules, with one more leading axis on every leaf.

    Returns:
        The number; all of them on an accelerator, or where their number is open (`jax.export`).
    """
    molecules, atoms, neighbors = graphs.neighbors.shape
    if not all(isinstance(size, int) for size in (molecules, atoms, neighbors)) or not on_cpu():
        return molecules
    waves = 0 if graphs.waves is None else graphs.waves.shape[1]
    pairs = atoms * max(neighbors, waves, 1)
    if molecules * pairs < _PAIRS_WORTH_CUTTING:
        return molecules
    return max(1, _PAIRS_AT_ONCE // pairs)
