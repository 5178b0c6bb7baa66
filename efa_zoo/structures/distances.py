"""The shortest and the longest distance between atoms, also of large structures."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from efa_zoo.structures.cells import OPEN, Pbc

__all__ = ["closest", "farthest"]

#: Up to this number of atoms, looking at all pairs is quicker than a search.
_FEW_ATOMS = 100


def closest(
    positions: np.ndarray, cell: np.ndarray | None = None, pbc: Pbc = OPEN
) -> tuple[float, int, int]:
    """Find the shortest distance of a structure, in a cell also that to an image.

    Args:
        positions: `[atoms, 3]`.
        cell: lattice vectors as rows, or None.
        pbc: which directions are periodic.

    Returns:
        The distance, infinity for a single atom without images, and the indices of its two atoms
        in ascending order, twice the same one for an atom and its own image.
    """
    if cell is not None:
        return _closest_image(positions, cell, pbc)
    if len(positions) < 2:
        return float("inf"), 0, 0
    if len(positions) <= _FEW_ATOMS:
        distances = pdist(positions)
        return _pair(distances, int(distances.argmin()), len(positions))
    distances, neighbors = map(np.asarray, KDTree(positions).query(positions, k=2))
    first = int(np.argmin(distances[:, 1]))
    # Of two atoms at one place, the tree may name the atom itself second.
    second = next(atom for atom in neighbors[first, ::-1].tolist() if atom != first)
    return float(distances[first, 1]), min(first, second), max(first, second)


def _closest_image(positions: np.ndarray, cell: np.ndarray, pbc: Pbc) -> tuple[float, int, int]:
    # Imported here: vesin loads a compiled library, which `import efa_zoo` need not.
    from vesin import NeighborList

    # An atom's own image along the shortest vector is close enough to end the search.
    cutoff, end = 2.0, float(np.linalg.norm(cell[np.asarray(pbc)], axis=1).min()) * 1.001
    while True:
        reach = min(cutoff, end)
        first, second, distances = NeighborList(cutoff=reach, full_list=False).compute(
            points=np.ascontiguousarray(positions, np.float64),
            box=np.ascontiguousarray(cell, np.float64),
            periodic=list(pbc),
            quantities="ijd",
        )
        if len(distances):
            found = int(np.argmin(distances))
            pair = int(first[found]), int(second[found])
            return float(distances[found]), min(pair), max(pair)
        if reach == end:
            return end / 1.001, 0, 0
        cutoff *= 2


def _pair(distances: np.ndarray, number: int, atoms: int) -> tuple[float, int, int]:
    """A distance of `pdist`, and its two atoms in ascending order."""
    first, end = 0, atoms - 1
    while number >= end:
        first, end = first + 1, end + atoms - 2 - first
    return float(distances[number]), first, number - end + atoms


def farthest(positions: np.ndarray) -> tuple[float, int, int]:
    """Find the longest distance of a structure.

    Args:
        positions: `[atoms, 3]`.

    Returns:
        The distance, and the indices of its two atoms in ascending order.
    """
    if 2 <= len(positions) <= _FEW_ATOMS:
        distances = pdist(positions)
        return _pair(distances, int(distances.argmax()), len(positions))
    # Atoms near the middle cannot beat the distance found from the outermost atom.
    center = (positions.min(axis=0) + positions.max(axis=0)) / 2
    radii = np.linalg.norm(positions - center, axis=1)
    outermost = int(np.argmax(radii))
    distances = np.linalg.norm(positions - positions[outermost], axis=1)
    best = float(distances.max()), outermost, int(np.argmax(distances))
    candidates = np.flatnonzero(radii + radii[outermost] >= best[0])
    for atom in candidates.tolist():
        distances = np.linalg.norm(positions[candidates] - positions[atom], axis=1)
        other = int(np.argmax(distances))
        best = max(best, (float(distances[other]), atom, int(candidates[other])))
    distance, *pair = best
    first, second = sorted(pair)
    return distance, first, second
