"""A model as an energy function of JAX-MD: of positions, differentiable, for `jax.jit`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import DTypeLike

from efa_zoo.base.errors import InputError
from efa_zoo.models.energy import energy
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inputs.checks import OutOfRange, as_float_dtype, check_structure
from efa_zoo.models.potential import Potential, cast
from efa_zoo.structures.graph import pack_one

if TYPE_CHECKING:
    from ase import Atoms

    from efa_zoo.structures.graph import Graph

__all__ = ["EnergyFunction", "energy_function"]

#: Energy in eV of positions in Å; `neighbor` is a list of neighbours of JAX-MD, or None.
EnergyFunction: TypeAlias = Callable[..., Float[Array, ""]]


def energy_function(
    model: Potential | str | PathLike[str],
    structure: Atoms | Graph,
    *,
    charge: int | None = None,
    multiplicity: int | None = None,
    dtype: DTypeLike = "float32",
    out_of_range: OutOfRange = "error",
) -> EnergyFunction:
    """Make the energy function of one molecule, as `jax_md.simulate` takes it.

    Lengths are in Å, energies in eV; with masses in u, `jax_md.units.metal_unit_system()` has the
    rest. Space is free: a structure in a cell is refused. What a model knows is checked at the
    given positions only, and not where a simulation goes.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        structure: the molecule: its elements, charge and multiplicity count, and its positions are
            checked.
        charge: as for `efa_zoo.predict`.
        multiplicity: as for `efa_zoo.predict`.
        dtype: floating-point type to compute in; float64 needs JAX's 64-bit mode.
        out_of_range: as for `efa_zoo.predict`.

    Returns:
        The function. It takes positions `[atoms, 3]` and, where not all pairs shall be looked at,
        `neighbor`: a list of JAX-MD in the format `Dense`, made with at least the model's cutoff.
        Further arguments by name, which JAX-MD hands to every energy function, do nothing. Energies
        are relative to those of the elements (`card.energies_of_elements`), which keeps the digits
        of float32.

    Raises:
        InputError: the structure is invalid, in a cell, or outside what the model knows; or the
            type is not one that JAX has enabled.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    kind = as_float_dtype(dtype)
    potential = load(model)
    card = potential.card
    molecule = check_structure(structure, card, charge, out_of_range, multiplicity=multiplicity)
    if molecule.cell is not None:
        raise InputError("cell: got a periodic structure, expected a molecule in free space")
    network = cast(potential.network, kind)
    atoms = molecule.num_atoms
    graph = pack_one(molecule, atoms, atoms, reach=math.inf, dtype=kind)
    cutoff = card.model.message_passing.cutoff

    def energy_of(
        positions: Float[Array, "atoms 3"], neighbor: Any = None, **_: object
    ) -> Float[Array, ""]:
        centered = positions - jnp.mean(positions, axis=0)
        moved = dataclasses.replace(graph, positions=centered.astype(kind))
        if neighbor is not None:
            known = neighbor.idx < atoms  # the others pad
            moved = dataclasses.replace(
                moved,
                neighbors=jnp.where(known, neighbor.idx, jnp.arange(atoms)[:, None]),
                neighbor_mask=known,
                reach=cutoff,
            )
        return energy(network, moved)

    return energy_of
