"""Structures of the data sets `two_atoms` and `charge_dipole`, labelled by their formulas."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from data_pipelines.labels.potentials import charge_and_dipole, sum_over_pairs, two_atom_potential
from data_pipelines.sampling.placement import random_direction
from data_pipelines.structure import Structure
from efa_zoo.base.contracts import contract

NEAREST, FARTHEST = 1.0, 10.0
"""Range of distances in Å."""

# Placeholder elements, which only tell the two apart.
_NUMBERS = (1, 2)


def draw_two_atoms(rng: np.random.Generator, spread: float) -> Structure:
    """Draw two atoms in a random direction, the first one in a cube of 1 Å.

    Args:
        rng: Source of randomness.
        spread: Where in the range of distances they stand, 0 to 1.

    Returns:
        As of `place_two_atoms`.
    """
    first = rng.random(3)
    return place_two_atoms(first, _distance(spread) * random_direction(rng))


@contract
def place_two_atoms(
    first: Float64[np.ndarray, " 3"], vector: Float64[np.ndarray, " 3"]
) -> Structure:
    """Make the structure of two atoms.

    Args:
        first: Position of the first atom in Å.
        vector: From the first to the second atom in Å.

    Returns:
        The structure; `separation` and `coordinate` are the distance in Å.
    """
    positions = np.stack([first, first + vector])
    energy, forces = sum_over_pairs(two_atom_potential, positions)
    distance = float(np.sqrt(np.sum(vector**2)))
    return Structure(
        atomic_numbers=np.array(_NUMBERS, np.int32),
        positions=positions,
        energy=energy,
        forces=forces,
        total_charge=0,
        separation=distance,
        coordinate=distance,
    )


def draw_charge_and_dipole(rng: np.random.Generator, spread: float) -> Structure:
    """Draw a charge and a dipole in random directions, the dipole in a cube of 1 Å.

    Args:
        rng: Source of randomness.
        spread: Where in the range of distances they stand, 0 to 1.

    Returns:
        As of `place_charge_and_dipole`.
    """
    dipole = rng.random(3)
    vector = _distance(spread) * random_direction(rng)
    return place_charge_and_dipole(dipole, vector, random_direction(rng))


@contract
def place_charge_and_dipole(
    dipole: Float64[np.ndarray, " 3"],
    vector: Float64[np.ndarray, " 3"],
    direction: Float64[np.ndarray, " 3"],
) -> Structure:
    """Make the structure of a charge and a dipole.

    Args:
        dipole: Position of the dipole in Å.
        vector: From the dipole to the charge in Å.
        direction: Unit vector along the dipole.

    Returns:
        The structure, the charge first; `separation` is the distance in Å, `coordinate` the angle
        in degrees between the dipole and the vector to the charge.
    """
    charge = dipole + vector
    energy, forces = charge_and_dipole(charge, dipole, direction)
    distance = float(np.sqrt(np.sum(vector**2)))
    cosine = float(np.clip(np.sum(direction * vector) / distance, -1, 1))
    return Structure(
        atomic_numbers=np.array(_NUMBERS, np.int32),
        positions=np.stack([charge, dipole]),
        energy=energy,
        forces=forces,
        total_charge=0,
        atomic_dipoles=np.stack([np.zeros(3), direction]),
        separation=distance,
        coordinate=float(np.degrees(np.arccos(cosine))),
    )


def _distance(spread: float) -> float:
    return NEAREST + spread * (FARTHEST - NEAREST)
