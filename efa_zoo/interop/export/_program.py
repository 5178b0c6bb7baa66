"""A network as StableHLO, for batches of any size."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.export
import numpy as np
from jaxtyping import Array

from efa_zoo.base.config import AttentionConfig, ModelConfig
from efa_zoo.base.errors import InputError
from efa_zoo.models.energy import outputs_in_cell
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.potential import Predictor
from efa_zoo.structures.graph import Graph


def with_evaluation(predictor: Predictor, evaluation: str | None) -> Predictor:
    """The network with a fixed evaluation of attention: the choice by size needs a size."""
    network = predictor.network
    config = network.config
    if config.attention is None or evaluation is None:
        return predictor
    changes: dict[str, Any] = {"evaluation": evaluation}
    if evaluation == "exact":  # which takes no grid
        changes |= {"grid": None, "tolerance": AttentionConfig.tolerance}
    fixed = dataclasses.replace(config, attention=dataclasses.replace(config.attention, **changes))
    like = eqx.filter_eval_shape(EnergyModel, fixed, key=jax.random.key(0))
    network = jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(network))
    return Predictor(network, predictor.calibration)


def in_cells(card: Card) -> bool:
    """Tell whether the program is for structures in cells, as the model was trained on.

    Raises:
        InputError: the model knows structures both with and without cells, which take different
            inputs, or such as are periodic in one or two directions.
    """
    known = (0,) if card.domain is None else card.domain.periodic_directions
    if known not in ((0,), (3,)):
        raise InputError(
            f"periodic_directions of {card.name}: got {list(known)}, expected [0] or [3], because "
            "a program is for structures without cells or in cells"
        )
    return known == (3,)


def inputs(
    config: ModelConfig, dtype: np.dtype, *, cells: bool
) -> list[tuple[str, tuple[str, ...], str, str]]:
    """Name, shape, type and unit of every input of the program."""
    atoms, neighbors = ("molecules", "atoms"), ("molecules", "atoms", "neighbors")
    arguments: list[tuple[str, tuple[str, ...], str, str]] = [
        ("atomic_numbers", atoms, "int32", "0 marks a padding atom"),
        ("positions", (*atoms, "3"), dtype.name, "Å"),
        ("neighbors", neighbors, "int32", "index of each neighbour; padding points to the atom"),
        ("neighbor_mask", neighbors, "bool", "True for a neighbour within the cutoff"),
        ("total_charge", ("molecules",), "int32", "e"),
    ]
    if config.dipole_embedding:
        arguments.append(("atomic_dipoles", (*atoms, "3"), dtype.name, "e·Å"))
    if config.spin_embedding:
        arguments.append(("unpaired_electrons", ("molecules",), "int32", "2S"))
    if cells:
        arguments.append(("cell", ("molecules", "3", "3"), dtype.name, "Å, rows"))
        shifts = "cells that a neighbour is away along each lattice vector"
        arguments.append(("shifts", (*neighbors, "3"), "int32", shifts))
        if _attends(config):
            waves = "integers n of wave vectors 2π n · (cell⁻¹)ᵀ, zeros for padding"
            arguments.append(("waves", ("molecules", "waves", "3"), "int32", waves))
    return arguments


def _attends(config: ModelConfig) -> bool:
    return config.attention is not None and not config.emulate_attention


def results(
    config: ModelConfig, dtype: np.dtype, *, cells: bool, calibrated: bool
) -> list[tuple[str, tuple[str, ...], str, str]]:
    """Name, shape, type and unit of every result of the program, fields of `Outputs`."""
    atoms = ("molecules", "atoms")
    energies = "eV, relative to the card's reference energies"
    found: list[tuple[str, tuple[str, ...], str, str]] = [
        ("atomic_energies", atoms, dtype.name, energies),
        ("forces", (*atoms, "3"), dtype.name, "eV/Å"),
    ]
    if config.atomic_charges:
        found.append(("charges", atoms, dtype.name, "e"))
    if config.atomic_charges and not cells:
        about = "e·Å, about the mean of the positions"
        found.append(("dipole", ("molecules", "3"), dtype.name, about))
    if cells:
        order = "eV/Å³: xx, yy, zz, yz, xz, xy"
        found.append(("stress", ("molecules", "6"), dtype.name, order))
    if calibrated:
        found += [
            ("energy_uncertainty", ("molecules",), dtype.name, "eV, standard deviation"),
            ("force_uncertainty", atoms, dtype.name, "eV/Å, standard deviation of a component"),
            ("extrapolation", atoms, dtype.name, "1 is the limit of known surroundings"),
        ]
    return found


def make_program(
    predictor: Predictor, dtype: np.dtype, platforms: Sequence[str], cells: bool
) -> bytes:
    """What is computed of a batch of any size, serialised."""
    config, calibrated = predictor.network.config, predictor.calibration is not None
    names = [name for name, *_ in results(config, dtype, cells=cells, calibrated=calibrated)]

    # As `energy_and_forces`, whose contracts cannot handle sizes that are left open.
    def molecule(positions: Array, graph: Graph) -> Outputs:
        if graph.cell is not None:
            return outputs_in_cell(functools.partial(deformed, graph), positions, graph.cell)  # type: ignore[arg-type]

        def total(moved: Array) -> tuple[Array, Outputs]:
            outputs = predictor(eqx.tree_at(lambda g: g.positions, graph, moved))
            return outputs.energy, outputs

        (_, outputs), gradient = jax.value_and_grad(total, has_aux=True)(positions)
        return dataclasses.replace(outputs, forces=-gradient)

    def deformed(graph: Graph, positions: Array, cell: Array) -> tuple[Array, Outputs]:
        moved = eqx.tree_at(lambda g: (g.positions, g.cell), graph, (positions, cell))
        outputs = predictor(moved)
        return outputs.energy, outputs

    def batch(*leaves: Array) -> tuple[Array, ...]:
        graphs = jax.tree.unflatten(layout, leaves)
        outputs = jax.vmap(molecule)(graphs.positions, graphs)
        return tuple(getattr(outputs, name) for name in names)

    layout = jax.tree.structure(_one_atom(predictor.network, cells))
    scope = jax.export.SymbolicScope()
    shapes = [
        jax.ShapeDtypeStruct(
            jax.export.symbolic_shape(f"({','.join(shape)},)", scope=scope), np.dtype(kind)
        )
        for _, shape, kind, _ in inputs(config, dtype, cells=cells)
    ]
    with _source_files_without_folders():
        return bytes(jax.export.export(jax.jit(batch), platforms=platforms)(*shapes).serialize())


def _one_atom(network: EnergyModel, cells: bool) -> Graph:
    """A graph with the leaves that the program takes, in their order."""
    config = network.config
    return Graph.from_arrays(
        [1],
        [[0.0, 0.0, 0.0]],
        config.message_passing.cutoff if cells else None,
        cell=10 * np.eye(3) if cells else None,
        wave_reach=network.wave_reach if cells else 0.0,
        atomic_dipoles=np.zeros((1, 3)) if config.dipole_embedding else None,
        multiplicity=2 if config.spin_embedding else None,
    )


@contextmanager
def _source_files_without_folders() -> Generator[None]:
    """Keep this machine's folders out of the program, which names the source of every operation."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, "^.*/")
    try:
        yield
    finally:
        jax.config.update(option, before)
