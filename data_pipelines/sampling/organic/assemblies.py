"""How molecules are put together: pairs and triples at any distance, and solutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse.csgraph
from jaxtyping import Bool, Float64, Int32

from data_pipelines.sampling.monomers import MASSES
from data_pipelines.sampling.organic.molecules import Species
from data_pipelines.sampling.placement import (
    contact_distances,
    draw_separation,
    random_direction,
    random_rotation,
    separation_at_contact,
)

CHARGE_TOLERANCES = ((2.5, 0.15), (3.0, 0.05), (4.0, 0.01))
"""Distances in Å, and how much charge in e molecules that are further from all others may lack or
have too much. Closer ones share charge in truth; of pairs that GFN2-xTB gets right, half are within
a tenth of this."""

_WALL = 0.65
_PACKED = (0.85, 1.0)


@dataclass(frozen=True)
class Assembly:
    """Molecules side by side.

    Attributes:
        species: The molecules.
        geometries: Positions in Å of each, float64 `[atoms, 3]`.
    """

    species: tuple[Species, ...]
    geometries: tuple[Float64[np.ndarray, "_ 3"], ...]

    @property
    def atomic_numbers(self) -> Int32[np.ndarray, " atoms"]:
        """Of all molecules, one after the other."""
        return np.concatenate([one.numbers for one in self.species])

    @property
    def positions(self) -> Float64[np.ndarray, "atoms 3"]:
        """Of all molecules in Å."""
        return np.concatenate(self.geometries)

    @property
    def charge(self) -> int:
        """Total charge in e."""
        return sum(one.charge for one in self.species)

    @property
    def membership(self) -> Int32[np.ndarray, " atoms"]:
        """For each atom the number of its molecule."""
        sizes = [len(one.atomic_numbers) for one in self.species]
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)


def center_of_mass(
    numbers: Int32[np.ndarray, " atoms"], positions: Float64[np.ndarray, "atoms 3"]
) -> Float64[np.ndarray, " 3"]:
    """Compute the centre of mass of atoms in Å."""
    masses = np.array([MASSES[int(z)] for z in numbers])
    return masses @ positions / masses.sum()


def scatter(
    species: Sequence[Species],
    geometries: Sequence[Float64[np.ndarray, "_ 3"]],
    rng: np.random.Generator,
) -> Assembly:
    """Put molecules next to each other, each in a random orientation and direction.

    Each one's distance from those before it is drawn by `draw_separation`: from contact to 15 Å
    between centres of mass.

    Args:
        species: The molecules.
        geometries: Positions in Å of each.
        rng: Source of randomness.

    Returns:
        The molecules in place.
    """
    placed = [_turned(species[0], geometries[0], rng)]
    for i in range(1, len(species)):
        before = Assembly(tuple(species[:i]), tuple(placed))
        center = center_of_mass(before.atomic_numbers, before.positions)
        placed = [positions - center for positions in placed]
        added = _turned(species[i], geometries[i], rng)
        direction = random_direction(rng)
        # Equal charges only repel: nothing is to be learnt from pressing them together.
        alike = species[i].charge * before.charge > 0
        separation = draw_separation(
            np.concatenate(placed),
            added,
            direction,
            contact_distances(before.atomic_numbers, species[i].numbers),
            rng,
            wall=1.0 if alike else _WALL,
        )
        placed.append(added + separation * direction)
    return Assembly(tuple(species), tuple(placed))


def pack(
    species: Sequence[Species],
    geometries: Sequence[Float64[np.ndarray, "_ 3"]],
    rng: np.random.Generator,
) -> Assembly:
    """Put molecules around the first one, each as close as it goes in a random direction.

    Args:
        species: The molecules.
        geometries: Positions in Å of each.
        rng: Source of randomness.

    Returns:
        The molecules in place: a droplet.
    """
    placed = [_turned(species[0], geometries[0], rng)]
    for i in range(1, len(species)):
        added = _turned(species[i], geometries[i], rng)
        direction = random_direction(rng)
        before = Assembly(tuple(species[:i]), tuple(placed))
        contacts = contact_distances(before.atomic_numbers, species[i].numbers)
        distance = separation_at_contact(
            before.positions, added, direction, contacts * rng.uniform(*_PACKED)
        )
        placed.append(added + distance * direction)
    return Assembly(tuple(species), tuple(placed))


def _turned(
    species: Species, positions: Float64[np.ndarray, "atoms 3"], rng: np.random.Generator
) -> Float64[np.ndarray, "atoms 3"]:
    """Turn at random, with the centre of mass at the origin."""
    center = center_of_mass(species.numbers, positions)
    return (positions - center) @ random_rotation(rng).T


def distances_between(
    positions: Float64[np.ndarray, "atoms 3"], membership: Int32[np.ndarray, " atoms"]
) -> Float64[np.ndarray, "molecules molecules"]:
    """Compute the closest contact of every two molecules.

    Args:
        positions: In Å.
        membership: For each atom the number of its molecule.

    Returns:
        In Å, 0 for a molecule with itself.
    """
    count = int(membership.max()) + 1
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    starts = np.searchsorted(membership, np.arange(count))
    rows = np.minimum.reduceat(distances, starts, axis=0)
    return np.minimum.reduceat(rows, starts, axis=1)


def charges_keep(
    charges: Float64[np.ndarray, " atoms"],
    formal_charges: Int32[np.ndarray, " molecules"],
    positions: Float64[np.ndarray, "atoms 3"],
    membership: Int32[np.ndarray, " atoms"],
) -> bool:
    """Say whether molecules that stand apart carry their formal charges.

    GFN2-xTB lets charge leak between distant molecules (self-interaction error); such labels are
    wrong, however well they converged. Molecules closer than each distance of `CHARGE_TOLERANCES`
    count as one.

    Args:
        charges: Atomic charges in e.
        formal_charges: Of the molecules in e.
        positions: In Å.
        membership: For each atom the number of its molecule.

    Returns:
        True if no group of molecules deviates by more than the tolerance.
    """
    found = np.bincount(membership, charges, len(formal_charges))
    distances = distances_between(positions, membership)
    for threshold, tolerance in CHARGE_TOLERANCES:
        linked: Bool[np.ndarray, "molecules molecules"] = distances < threshold
        count, group = scipy.sparse.csgraph.connected_components(linked, directed=False)
        excess = np.bincount(group, found - formal_charges, count)
        if np.any(np.abs(excess) > tolerance):
            return False
    return True
