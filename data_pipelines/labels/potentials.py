"""Energies with a closed form, in float64, with their exact forces.

Lengths are in Å and energies in eV; the numbers in the formulas are taken in these units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.special
from jaxtyping import Float64

from efa_zoo.base.contracts import contract

COULOMB = 14.399645478425668
"""e²/(4πε₀) in eV·Å (CODATA 2018)."""

PairPotential = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Energy and its derivative as functions of distances in Å."""


@contract
def two_atom_potential(
    r: Float64[np.ndarray, "*pairs"],
) -> tuple[Float64[np.ndarray, "*pairs"], Float64[np.ndarray, "*pairs"]]:
    """V(r) = 12/11 (r⁻¹² − r⁻¹) in eV: a wall, and an attraction of long range."""
    scale = 12 / 11
    return scale * (r**-12 - r**-1), scale * (-12 * r**-13 + r**-2)


@contract
def cluster_potential(
    r: Float64[np.ndarray, "*pairs"],
) -> tuple[Float64[np.ndarray, "*pairs"], Float64[np.ndarray, "*pairs"]]:
    """V(r) = 2 (r⁻⁶ − r⁻¹) in eV."""
    return 2 * (r**-6 - r**-1), 2 * (-6 * r**-7 + r**-2)


@contract
def inverse_potential(
    r: Float64[np.ndarray, "*pairs"],
) -> tuple[Float64[np.ndarray, "*pairs"], Float64[np.ndarray, "*pairs"]]:
    """V(r) = r⁻¹ in eV."""
    return r**-1, -(r**-2)


@contract
def damped_coulomb_potential(
    r: Float64[np.ndarray, "*pairs"],
) -> tuple[Float64[np.ndarray, "*pairs"], Float64[np.ndarray, "*pairs"]]:
    """V(r) = e²/(4πε₀) erf(r/2)/r in eV: two unit charges, finite where they meet."""
    energy = COULOMB * scipy.special.erf(r / 2) / r
    gaussian = COULOMB * np.exp(-(r**2) / 4) / np.sqrt(np.pi)
    return energy, (gaussian - energy) / r


@contract
def sum_over_pairs(
    potential: PairPotential,
    positions: Float64[np.ndarray, "atoms 3"],
    charges: Float64[np.ndarray, " atoms"] | None = None,
) -> tuple[float, Float64[np.ndarray, "atoms 3"]]:
    """Sum a pair potential over all pairs of atoms.

    Args:
        potential: Energy and derivative by distance.
        positions: In Å, all different.
        charges: The potential of a pair is multiplied by the product of its two charges; None
            multiplies it by 1.

    Returns:
        The energy in eV and the forces in eV/Å.
    """
    first, second = np.triu_indices(len(positions), 1)
    vectors = positions[first] - positions[second]
    distances = np.sqrt(np.sum(vectors**2, axis=-1))
    energies, derivatives = potential(distances)
    if charges is not None:
        product = charges[first] * charges[second]
        energies, derivatives = product * energies, product * derivatives
    on_first = -(derivatives / distances)[:, None] * vectors
    forces = np.stack(
        [
            np.bincount(first, on_first[:, axis], len(positions))
            - np.bincount(second, on_first[:, axis], len(positions))
            for axis in range(3)
        ],
        axis=-1,
    )
    return float(energies.sum()), forces


@contract
def charge_and_dipole(
    charge: Float64[np.ndarray, " 3"],
    dipole: Float64[np.ndarray, " 3"],
    direction: Float64[np.ndarray, " 3"],
) -> tuple[float, Float64[np.ndarray, "2 3"]]:
    """Energy of a charge and a dipole, V = r⁻³ − cos θ / r² in eV.

    r is their distance and θ the angle between the dipole and the vector from the dipole to the
    charge: the dipole likes to point to the charge.

    Args:
        charge: Position of the charge in Å.
        dipole: Position of the dipole in Å.
        direction: Unit vector along the dipole.

    Returns:
        The energy in eV, and the forces in eV/Å on the charge and on the dipole.
    """
    vector = charge - dipole
    r = np.sqrt(np.sum(vector**2))
    along = np.sum(direction * vector)
    energy = r**-3 - along * r**-3
    gradient = (-3 + 3 * along) * r**-5 * vector - direction * r**-3
    return float(energy), np.stack([-gradient, gradient])
