"""Which atoms are bonded, judged by distances, and what every atom is bonded to."""

from __future__ import annotations

import functools
from collections.abc import Set

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from efa_zoo.structures.cells import OPEN, Pbc
from efa_zoo.structures.domain import Environment
from efa_zoo.structures.elements import COVALENT_RADII

__all__ = ["bonded_pairs", "environments", "unknown_environments"]

#: Two atoms closer than the first multiple of the sum of their covalent radii are bonded; what is
#: stretched or on its way is still known where it is by one of the others.
_FACTORS = (1.15, 1.25, 1.35)

#: Up to this number of atoms, looking at all pairs is quicker than a search.
_FEW_ATOMS = 100

_RADII = np.asarray(COVALENT_RADII)


def bonded_pairs(
    numbers: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray | None = None,
    pbc: Pbc = OPEN,
    *,
    factor: float,
) -> np.ndarray:
    """Find the pairs of atoms closer than a multiple of the sum of their covalent radii.

    Args:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å.
        cell: lattice vectors in Å as rows, or None.
        pbc: which directions are periodic.
        factor: the multiple.

    Returns:
        `[pairs, 2]`, indices of the atoms, each pair once, an atom with several images of another
        as often as there are.
    """
    radii = factor * _RADII[numbers]
    if cell is not None:
        first, second, distances = _pairs_of_images(positions, cell, pbc, 2 * float(radii.max()))
    elif len(numbers) <= _FEW_ATOMS:
        first, second = _all_pairs(len(numbers))
        distances = pdist(positions)
    else:
        found = KDTree(positions).query_pairs(2 * float(radii.max()), output_type="ndarray")
        first, second = found.T
        distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    near = np.flatnonzero(distances < radii[first] + radii[second])
    return np.stack([first[near], second[near]], axis=1)


@functools.lru_cache(maxsize=_FEW_ATOMS + 1)
def _all_pairs(atoms: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(atoms, 1)


def _pairs_of_images(
    positions: np.ndarray, cell: np.ndarray, pbc: Pbc, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Imported here: vesin loads a compiled library, which `import efa_zoo` need not.
    from vesin import NeighborList

    first, second, distances = NeighborList(cutoff=reach, full_list=False).compute(
        points=np.ascontiguousarray(positions, np.float64),
        box=np.ascontiguousarray(cell, np.float64),
        periodic=list(pbc),
        quantities="ijd",
    )
    return first.astype(np.int64), second.astype(np.int64), distances


def environments(
    numbers: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray | None = None,
    pbc: Pbc = OPEN,
    *,
    factor: float = _FACTORS[0],
) -> list[Environment]:
    """Tell what every atom of a structure is bonded to.

    Args:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å.
        cell: lattice vectors in Å as rows, or None.
        pbc: which directions are periodic.
        factor: as for `bonded_pairs`.

    Returns:
        Of every atom its element and those of its partners.
    """
    elements: list[int] = numbers.tolist()
    partners: list[list[int]] = [[] for _ in elements]
    for i, j in bonded_pairs(numbers, positions, cell, pbc, factor=factor).tolist():
        partners[i].append(elements[j])
        partners[j].append(elements[i])
    return [(z, *sorted(others)) for z, others in zip(elements, partners, strict=True)]


def unknown_environments(
    known: Set[Environment],
    numbers: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray | None = None,
    pbc: Pbc = OPEN,
) -> dict[int, Environment]:
    """Find atoms whose bonds are not known, whether those that are stretched count or not.

    Args:
        known: what atoms may be bonded to.
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å.
        cell: lattice vectors in Å as rows, or None.
        pbc: which directions are periodic.

    Returns:
        What such atoms are bonded to, by their index in ascending order.
    """
    unknown = dict(enumerate(environments(numbers, positions, cell, pbc)))
    unknown = {atom: found for atom, found in unknown.items() if found not in known}
    for factor in _FACTORS[1:]:
        if not unknown:
            break
        looser = environments(numbers, positions, cell, pbc, factor=factor)
        unknown = {atom: found for atom, found in unknown.items() if looser[atom] not in known}
    return unknown
