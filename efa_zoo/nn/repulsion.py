"""A fixed repulsion of nuclei at short range, so that nothing collapses where data end."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.sharding import all_atoms
from efa_zoo.structures.elements import COVALENT_RADII
from efa_zoo.structures.graph import Graph, check_graph

__all__ = ["screened_repulsion"]

#: e²/(4πε₀) in eV Å.
_COULOMB = 14.3996454784255

#: The universal screening function of Ziegler, Biersack and Littmark (The Stopping and Range of
#: Ions in Solids, 1985): amplitudes and exponents, and its length a = 0.46850 Å / (Z₁^p + Z₂^p).
_AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
_EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)
_LENGTH, _POWER = 0.46850, 0.23

#: Power of the envelope that ends the repulsion at the sum of the covalent radii.
_ENVELOPE = 6


@contract
def screened_repulsion(graph: Graph) -> Float[Array, " atoms"]:
    """Compute the repulsion of screened nuclei (ZBL), half of each pair's to both atoms.

    A polynomial envelope, smooth in two derivatives, ends it at the sum of the two covalent radii,
    so that bonds are hardly touched.

    Args:
        graph: one molecule that lists all pairs closer than the largest sum of covalent radii.

    Returns:
        Energies in eV, zero for padding.
    """
    check_graph(graph)
    positions, neighbors = jnp.asarray(graph.positions), jnp.asarray(graph.neighbors)
    numbers = jnp.asarray(graph.atomic_numbers)
    dtype = positions.dtype
    displacements = graph.displacements(all_atoms(positions))
    squared = jnp.sum(displacements**2, axis=-1)
    radii = jnp.asarray(np.asarray(COVALENT_RADII), dtype)[numbers]
    ends = radii[:, None] + all_atoms(radii)[neighbors]
    inside = jnp.asarray(graph.neighbor_mask) & (squared < ends**2) & (squared > 0)
    # Pairs that do not count get a distance where every derivative is finite.
    distance = jnp.sqrt(jnp.where(inside, squared, 1))
    charges = numbers.astype(dtype)
    # A padding atom has charge zero, whose power has no derivative to ask for.
    powers = jnp.maximum(charges, 1) ** _POWER
    reduced = distance * (powers[:, None] + all_atoms(powers)[neighbors]) / _LENGTH
    screening = sum(
        amplitude * jnp.exp(-exponent * reduced)
        for amplitude, exponent in zip(_AMPLITUDES, _EXPONENTS, strict=True)
    )
    # 1 - (p + 1)(p + 2)/2 x^p + p (p + 2) x^(p + 1) - p (p + 1)/2 x^(p + 2), factored: its terms
    # nearly cancel at bonds, which would cost float32 half its digits.
    x = distance / jnp.where(inside, ends, 1)
    envelope = (1 - x) ** 3 * sum((k + 1) * (k + 2) / 2 * x**k for k in range(_ENVELOPE))
    products = charges[:, None] * all_atoms(charges)[neighbors]
    energies = _COULOMB * products / distance * screening * envelope
    return 0.5 * jnp.sum(jnp.where(inside, energies, 0), axis=-1)
