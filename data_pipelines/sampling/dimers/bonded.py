"""Geometries of two molecules joined by a hydrogen, and of the proton on its way between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_pipelines.sampling.dimers.settings import Pair
from data_pipelines.sampling.monomers import RelaxedMonomer, numbers_of
from data_pipelines.sampling.placement import (
    contact_distances,
    random_direction,
    random_rotation,
    van_der_waals,
)

BOND_LENGTHS = {6: 1.09, 7: 1.02, 8: 0.97, 9: 0.93, 17: 1.29}
"""Lengths in Å of bonds to hydrogen by atomic number of the other atom."""

_POLAR = (7, 8, 9, 17)
_SHARED_AT, _SHARED = (0.5, 0.9), (0.7, 0.0)
_TILT = 0.25
_ORIENTATIONS = 30
_FREE = 0.8


@dataclass(frozen=True)
class HydrogenBond:
    """Atoms of a hydrogen bond X-H···A between two molecules.

    Attributes:
        donor: 0 or 1, the molecule that X and H belong to.
        heavy: Index of X in the donor.
        hydrogen: Index of H in the donor.
        acceptor: Index of A in the other molecule.
        bonds: Lengths in Å of the bonds X-H and A-H.
    """

    donor: int
    heavy: int
    hydrogen: int
    acceptor: int
    bonds: tuple[float, float]


def hydrogen_bonds(
    pair: Pair, relaxed: Mapping[str, RelaxedMonomer], *, acidic: bool = False
) -> list[HydrogenBond]:
    """List the hydrogen bonds that two molecules can form.

    Args:
        pair: Names of the molecules.
        relaxed: The molecules by name.
        acidic: Only those whose hydrogen is bonded to N, O, F or Cl.

    Returns:
        A bond for each hydrogen of one and each N, O, F or Cl of the other; cations accept none.
    """
    found: list[HydrogenBond] = []
    for donor in (0, 1):
        giving, taking = relaxed[pair[donor]], relaxed[pair[1 - donor]]
        if taking.monomer.charge > 0:
            continue
        heavy = np.flatnonzero(giving.atomic_numbers > 1)
        for hydrogen in np.flatnonzero(giving.atomic_numbers == 1).tolist():
            vectors = giving.positions[heavy] - giving.positions[hydrogen]
            x = int(heavy[np.argmin(np.sum(vectors**2, axis=1))])
            bonded_to = int(giving.atomic_numbers[x])
            if acidic and bonded_to not in _POLAR:
                continue
            for a, z in enumerate(taking.monomer.atomic_numbers):
                if z in _POLAR:
                    lengths = BOND_LENGTHS[bonded_to], BOND_LENGTHS[z]
                    found.append(HydrogenBond(donor, x, hydrogen, a, lengths))
    return found


def shared_charge(
    numbers: tuple[np.ndarray, np.ndarray], molecules: tuple[np.ndarray, np.ndarray]
) -> float:
    """Say how much charge two molecules may share because they are bonded.

    A proton takes half an electron along with it: at 1.3 Å from both O and H, GFN2-xTB's charges
    of water and fluoride are both 0.4 e from the formal ones, and smooth on the way there.

    Args:
        numbers: Atomic numbers of each molecule.
        molecules: Positions in Å of each.

    Returns:
        In e, growing from 0 at 0.9 van-der-Waals distances of the closest atoms to 0.7 at 0.5.
    """
    distances = np.linalg.norm(molecules[0][:, None] - molecules[1][None], axis=-1)
    closest = float(np.min(distances / van_der_waals(*numbers)))
    return float(np.interp(closest, _SHARED_AT, _SHARED))


def place_bonded(
    pair: Pair,
    molecules: tuple[np.ndarray, np.ndarray],
    bond: HydrogenBond,
    factor: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Place two molecules so that they form a hydrogen bond, bent at random.

    Args:
        pair: Names of the molecules.
        molecules: Positions in Å of each.
        bond: The bond.
        factor: Distance H···A in contact distances.
        rng: Source of randomness.

    Returns:
        Positions in Å of each; the donor has not moved.
    """
    giving = molecules[bond.donor]
    contact = _contact(pair, bond)[bond.hydrogen, bond.acceptor]
    along = giving[bond.hydrogen] - giving[bond.heavy]
    place = giving[bond.hydrogen] + factor * contact * _bent(along, rng)
    return _ordered(bond, giving, _face(pair, molecules, bond, place, rng))


def place_transfer(
    pair: Pair,
    molecules: tuple[np.ndarray, np.ndarray],
    bond: HydrogenBond,
    stretch: float,
    progress: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Place two molecules with the proton between them somewhere on its way.

    Args:
        pair: Names of the molecules.
        molecules: Positions in Å of each.
        bond: The bond; its hydrogen moves.
        stretch: Distance X···A in Å beyond the sum of the bonds X-H and A-H.
        progress: Of the proton, 0 at its bond length from X and 1 at its bond length from A.
        rng: Source of randomness.

    Returns:
        Positions in Å of each; the donor has moved by its hydrogen alone.
    """
    giving = molecules[bond.donor].copy()
    along = giving[bond.hydrogen] - giving[bond.heavy]
    axis = _bent(along, rng)
    reach = bond.bonds[0] + bond.bonds[1] + stretch
    place = giving[bond.heavy] + reach * axis
    giving[bond.hydrogen] = giving[bond.heavy] + (bond.bonds[0] + progress * stretch) * axis
    moved = (giving, molecules[1]) if bond.donor == 0 else (molecules[0], giving)
    return _ordered(bond, giving, _face(pair, moved, bond, place, rng))


def _contact(pair: Pair, bond: HydrogenBond) -> np.ndarray:
    """Contact distances of donor and acceptor."""
    return contact_distances(numbers_of(pair[bond.donor]), numbers_of(pair[1 - bond.donor]))


def _bent(along: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    vector = along / np.sqrt(np.sum(along**2)) + _TILT * float(rng.random()) * random_direction(rng)
    return vector / np.sqrt(np.sum(vector**2))


def _face(
    pair: Pair,
    molecules: tuple[np.ndarray, np.ndarray],
    bond: HydrogenBond,
    place: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Turn the acceptor at random about its atom A until nothing else is in the way."""
    giving, taking = molecules[bond.donor], molecules[1 - bond.donor]
    contact = _contact(pair, bond)
    arms = taking - taking[bond.acceptor]
    best, widest = arms, -1.0
    for _ in range(_ORIENTATIONS):
        turned = place + arms @ random_rotation(rng).T
        ratios = np.linalg.norm(giving[:, None] - turned[None], axis=-1) / contact
        ratios[[bond.heavy, bond.hydrogen], bond.acceptor] = np.inf
        if (room := float(ratios.min())) > widest:
            best, widest = turned, room
        if room >= _FREE:
            break
    return best


def _ordered(
    bond: HydrogenBond, giving: np.ndarray, taking: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return (giving, taking) if bond.donor == 0 else (taking, giving)
