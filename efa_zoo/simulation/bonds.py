"""Which bonds a simulation made or broke, judged by distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["changed_bonds"]

#: Two atoms are bonded below the first multiple of the sum of their covalent radii and apart above
#: the second; between them nothing is said.
_BONDED, _APART = 1.25, 1.5


def changed_bonds(before: Atoms, after: Atoms) -> tuple[str, ...]:
    """Compare the bonds of two structures of the same atoms.

    Args:
        before: the first structure.
        after: the second one, atoms in the same order.

    Returns:
        Sentences such as "N0-H1 broken" and "H1-O5 made", in the order of the atoms.
    """
    first, last = _pairs(before, _BONDED), _pairs(after, _BONDED)
    broken = dict.fromkeys(first - _pairs(after, _APART), "broken")
    made = dict.fromkeys(last - _pairs(before, _APART), "made")
    symbols = before.get_chemical_symbols()
    return tuple(
        f"{symbols[i]}{i}-{symbols[j]}{j} {what}"
        for (i, j), what in sorted({**broken, **made}.items())
    )


def _pairs(atoms: Atoms, factor: float) -> set[tuple[int, int]]:
    """Find the pairs of atoms closer than a multiple of the sum of their covalent radii."""
    from ase.data import covalent_radii
    from scipy.spatial import KDTree

    radii = factor * covalent_radii[atoms.numbers]
    places = atoms.get_positions()
    if atoms.pbc.any():
        from ase.neighborlist import neighbor_list

        found = zip(*neighbor_list("ij", atoms, list(radii)), strict=True)
        return {(int(i), int(j)) for i, j in found if i < j}
    pairs = KDTree(places).query_pairs(2 * float(radii.max()), output_type="ndarray")
    distances = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    near = pairs[distances < radii[pairs].sum(axis=1)]
    return {(int(i), int(j)) for i, j in near}
