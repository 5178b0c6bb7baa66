"""A network as StableHLO, for batches of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from efa_zoo.base.config import AttentionConfig, ModelConfig
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.structures.graph import Graph


def with_evaluation(network: EnergyModel, evaluation: str | None) -> EnergyModel:
    """The network with a fixed evaluation of attention: the choice by size needs a size."""
    config = network.config
    if config.attention is None or evaluation is None:
        return network
    changes: dict[str, Any] = {"evaluation": evaluation}
    if evaluation == "exact":  # which takes no grid
        changes |= {"grid": None, "tolerance": AttentionConfig.tolerance}
    fixed = dataclasses.replace(config, attention=dataclasses.replace(config.attention, **changes))
    like = eqx.filter_eval_shape(EnergyModel, fixed, key=jax.random.key(0))
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(network))


def inputs(config: ModelConfig, dtype: np.dtype) -> list[tuple[str, tuple[str, ...], str, str]]:
    """Name, shape, type and unit of every input of the program."""
    atoms, neighbors = ("molecules", "atoms"), ("molecules", "atoms", "neighbors")
    arguments = [
        ("atomic_numbers", atoms, "int32", "0 marks a padding atom"),
        ("positions", (*atoms, "3"), dtype.name, "Å"),
        ("neighbors", neighbors, "int32", "index of each neighbour; padding points to the atom"),
        ("neighbor_mask", neighbors, "bool", "True for a neighbour within the cutoff"),
        ("total_charge", ("molecules",), "int32", "e"),
    ]
    if config.dipole_embedding:
        arguments.append(("atomic_dipoles", (*atoms, "3"), dtype.name, "e·Å"))
    return arguments


def make_program(network: EnergyModel, dtype: np.dtype, platforms: Sequence[str]) -> bytes:
    """Atomic energies and forces of a batch of any size, serialised."""

    def molecule(
        numbers: Array, positions: Array, neighbors: Array, mask: Array, charge: Array,
        dipoles: Array | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        # As `energy_and_forces`, whose contracts cannot handle sizes that are left open.
        def total(moved: Array) -> tuple[Array, Array]:
            energies = network(Graph(numbers, moved, neighbors, mask, charge, dipoles))
            return jnp.sum(energies), energies

        (_, energies), gradient = jax.value_and_grad(total, has_aux=True)(positions)
        return energies, -gradient

    scope = jax.export.SymbolicScope()
    shapes = [
        jax.ShapeDtypeStruct(
            jax.export.symbolic_shape(f"({','.join(shape)},)", scope=scope), np.dtype(kind)
        )
        for _, shape, kind, _ in inputs(network.config, dtype)
    ]
    batch = jax.jit(jax.vmap(molecule))
    with _source_files_without_folders():
        return bytes(jax.export.export(batch, platforms=platforms)(*shapes).serialize())


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
